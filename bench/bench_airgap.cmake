# bench_airgap: export and import, plain and encrypted, beside libsodium's bare AEAD over the same
# bytes and beside the program age where it is installed.
add_executable(bench_airgap ${CMAKE_CURRENT_LIST_DIR}/bench_airgap.c)
target_link_libraries(bench_airgap PRIVATE quipu_flags quipu_airgap PkgConfig::SODIUM Threads::Threads)
