/*
 * A C++ program links against the installed libquipu: the headers give its functions C linkage.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <quipu/engine.h>

#include <cstdio>

int main(int argc, char **argv)
{
    quipu_store *store = nullptr;
    quipu_engine *engine = nullptr;
    quipu_error err = quipu_error();
    if (argc != 2 || quipu_store_open(argv[1], nullptr, &store, &err) != QUIPU_OK ||
        quipu_engine_open(store, nullptr, &engine, &err) != QUIPU_OK) {
        std::fprintf(stderr, "consumer_cxx: %s\n", err.message);
        return 1;
    }
    quipu_engine_close(&engine);
    quipu_store_close(&store);
    std::puts("consumer_cxx: a store, opened and closed");
    return 0;
}
