# bench_projection: history into rows, beside SQLite doing the same UPSERTs where it is installed.
add_executable(bench_projection ${CMAKE_CURRENT_LIST_DIR}/bench_projection.c
    ${CMAKE_CURRENT_LIST_DIR}/bench_store_events.c ${CMAKE_CURRENT_LIST_DIR}/bench_store_system.c)
target_link_libraries(bench_projection PRIVATE quipu_flags quipu_engine Threads::Threads m)
pkg_check_modules(SQLITE QUIET IMPORTED_TARGET sqlite3)
if(SQLITE_FOUND)
    target_sources(bench_projection PRIVATE ${CMAKE_CURRENT_LIST_DIR}/bench_projection_sqlite.c)
    target_link_libraries(bench_projection PRIVATE PkgConfig::SQLITE)
    target_compile_definitions(bench_projection PRIVATE QUIPU_BENCH_SQLITE)
endif()
