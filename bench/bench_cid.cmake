# bench_cid: content addressing beside its peers. libcbor is one where it is installed.
add_executable(bench_cid
    ${CMAKE_CURRENT_LIST_DIR}/bench_cid.c ${CMAKE_CURRENT_LIST_DIR}/bench_cid_event.c
    ${CMAKE_CURRENT_LIST_DIR}/bench_cid_js.c ${CMAKE_CURRENT_LIST_DIR}/bench_cid_peers.c ${CMAKE_CURRENT_LIST_DIR}/bench_cid_run.c)
target_link_libraries(bench_cid PRIVATE quipu_flags quipu_cid)
# The engines of sha256_lanes.h are measured one by one.
target_include_directories(bench_cid PRIVATE ${CMAKE_CURRENT_LIST_DIR}/../cid/src)
target_compile_definitions(bench_cid PRIVATE QUIPU_BENCH_DIR="${CMAKE_CURRENT_LIST_DIR}")
pkg_check_modules(LIBCBOR QUIET IMPORTED_TARGET libcbor)
if(LIBCBOR_FOUND)
    target_link_libraries(bench_cid PRIVATE PkgConfig::LIBCBOR)
    target_compile_definitions(bench_cid PRIVATE QUIPU_BENCH_LIBCBOR)
endif()
