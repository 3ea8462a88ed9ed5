# bench_age: age files beside libsodium's bare AEAD over the same chunks, and beside the program age
# where it is installed.
add_executable(bench_age ${CMAKE_CURRENT_LIST_DIR}/bench_age.c)
target_link_libraries(bench_age PRIVATE quipu_flags quipu_airgap)
