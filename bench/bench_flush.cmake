# bench_flush: from a store to JetStream and back, beside a plain libnats program (which takes the texts
# of the messages from the module) and the official client, where tests/interop has installed it.
add_executable(bench_flush
    ${CMAKE_CURRENT_LIST_DIR}/bench_flush.c ${CMAKE_CURRENT_LIST_DIR}/bench_flush_bare.c
    ${CMAKE_CURRENT_LIST_DIR}/bench_flush_server.c)
target_link_libraries(bench_flush PRIVATE quipu_flags quipu_jetstream PkgConfig::NATS Threads::Threads)
target_include_directories(bench_flush PRIVATE ${CMAKE_CURRENT_LIST_DIR}/../jetstream/src
    ${CMAKE_CURRENT_LIST_DIR}/../base/internal)
target_compile_definitions(bench_flush PRIVATE QUIPU_BENCH_DIR="${CMAKE_CURRENT_LIST_DIR}")
