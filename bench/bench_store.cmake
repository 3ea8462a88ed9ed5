# bench_store: the durable log beside its peers. SQLite and RocksDB are peers where they are
# installed; the program says so where they are not.
add_executable(bench_store ${CMAKE_CURRENT_LIST_DIR}/bench_store.c
    ${CMAKE_CURRENT_LIST_DIR}/bench_store_events.c ${CMAKE_CURRENT_LIST_DIR}/bench_store_lmdb.c
    ${CMAKE_CURRENT_LIST_DIR}/bench_store_measure.c ${CMAKE_CURRENT_LIST_DIR}/bench_store_plot.c
    ${CMAKE_CURRENT_LIST_DIR}/bench_store_quipu.c ${CMAKE_CURRENT_LIST_DIR}/bench_store_raw.c
    ${CMAKE_CURRENT_LIST_DIR}/bench_store_report.c ${CMAKE_CURRENT_LIST_DIR}/bench_store_system.c)
target_link_libraries(bench_store PRIVATE quipu_flags quipu_engine PkgConfig::LMDB Threads::Threads m)
pkg_check_modules(SQLITE QUIET IMPORTED_TARGET sqlite3)
if(SQLITE_FOUND)
    target_sources(bench_store PRIVATE ${CMAKE_CURRENT_LIST_DIR}/bench_store_sqlite.c)
    target_link_libraries(bench_store PRIVATE PkgConfig::SQLITE)
    target_compile_definitions(bench_store PRIVATE QUIPU_BENCH_SQLITE)
endif()
# Debian's librocksdb-dev ships no .pc file.
find_path(ROCKSDB_INCLUDE rocksdb/c.h)
find_library(ROCKSDB_LIBRARY rocksdb)
mark_as_advanced(ROCKSDB_INCLUDE ROCKSDB_LIBRARY)
if(ROCKSDB_INCLUDE AND ROCKSDB_LIBRARY)
    target_sources(bench_store PRIVATE ${CMAKE_CURRENT_LIST_DIR}/bench_store_rocksdb.c)
    target_include_directories(bench_store SYSTEM PRIVATE ${ROCKSDB_INCLUDE})
    target_link_libraries(bench_store PRIVATE ${ROCKSDB_LIBRARY})
    target_compile_definitions(bench_store PRIVATE QUIPU_BENCH_ROCKSDB)
endif()
