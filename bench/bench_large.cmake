# bench_large: a store of many events, from the first append to the last look-up.
add_executable(bench_large ${CMAKE_CURRENT_LIST_DIR}/bench_large.c
    ${CMAKE_CURRENT_LIST_DIR}/bench_store_events.c ${CMAKE_CURRENT_LIST_DIR}/bench_store_system.c)
target_link_libraries(bench_large PRIVATE quipu_flags quipu_engine Threads::Threads)
