# The libraries of Debian that quipu stands on, each as an imported target. LMDB ships a .pc file on
# Debian; Criterion's is used by tests/ only.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(LMDB REQUIRED IMPORTED_TARGET lmdb)
pkg_check_modules(SODIUM REQUIRED IMPORTED_TARGET libsodium)
# 3.0: public keys are made of their numbers, which is how signatures by ECDSA and RSA are checked.
pkg_check_modules(CRYPTO REQUIRED IMPORTED_TARGET libcrypto>=3.0)
if(QUIPU_WITH_JETSTREAM)
    pkg_check_modules(NATS REQUIRED IMPORTED_TARGET libnats)
endif()
