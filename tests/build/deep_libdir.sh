#!/usr/bin/env bash
# Where LIBDIR is lib/<triplet>, as Debian has it, the .pc file lies a folder deeper and must still find
# its prefix. Only configures: what is installed is the other tests' business.
#   deep_libdir.sh SOURCE_FOLDER C_COMPILER
set -euo pipefail
source=$1 compiler=$2
work=$(realpath "$(mktemp -d)")
trap 'rm -rf "$work"' EXIT

for libdir in lib lib/some-triplet lib/a/b; do
    cmake -S "$source" -B "$work/build" -DCMAKE_C_COMPILER="$compiler" -DCMAKE_INSTALL_LIBDIR="$libdir" \
        -DCMAKE_INSTALL_PREFIX="$work/prefix" -DQUIPU_WITH_JETSTREAM=OFF -DQUIPU_BUILD_TESTS=OFF \
        -DQUIPU_BUILD_BENCH=OFF -DQUIPU_BUILD_EXAMPLES=OFF >"$work/log" 2>&1 || {
        cat "$work/log" >&2
        exit 1
    }
    mkdir -p "$work/moved/$libdir/pkgconfig" "$work/moved/include"
    cp "$work/build/quipu.pc" "$work/moved/$libdir/pkgconfig/"
    export PKG_CONFIG_PATH="$work/moved/$libdir/pkgconfig"
    for pair in "includedir=include" "libdir=$libdir"; do
        said=$(pkg-config --variable="${pair%%=*}" quipu)
        if [ "$(realpath "$said")" != "$work/moved/${pair#*=}" ]; then
            echo "LIBDIR $libdir: ${pair%%=*} is $said" >&2
            exit 1
        fi
    done
done
echo "the .pc file finds its prefix from lib, lib/some-triplet and lib/a/b"
