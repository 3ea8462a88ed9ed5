#!/usr/bin/env bash
# Installs into a folder, moves that folder, and from there builds and runs a small program that embeds
# quipu, as a stranger would: by find_package or by pkg-config. In C, and in C++.
#   consumer.sh find_package|pkg_config with|without BUILD_FOLDER C_COMPILER CXX_COMPILER
# with: libquipu-jetstream is there; without: it must not be.
set -euo pipefail
finder=$1 jetstream=$2 build=$3 cc=$4 cxx=$5
here=$(cd "$(dirname "$0")" && pwd)
work=$(realpath "$(mktemp -d)")
trap 'rm -rf "$work"' EXIT

quietly() {
    "$@" >"$work/log" 2>&1 || {
        cat "$work/log" >&2
        echo "failed: $*" >&2
        exit 1
    }
}

quietly cmake --install "$build" --prefix "$work/first"
mv "$work/first" "$work/prefix"
prefix=$work/prefix
libdir=$(dirname "$(find "$prefix" -name libquipu.so)")

if grep -rIl "$work/first\|$build" "$prefix"; then
    echo "the files above name the folder they were installed to or built in" >&2
    exit 1
fi
wanted=(libquipu.so.0)
[ "$jetstream" = with ] && wanted+=(libquipu-jetstream.so.0)
for name in "${wanted[@]}"; do
    [ -e "$libdir/$name" ] || {
        echo "$name is not installed" >&2
        exit 1
    }
done
if [ "$jetstream" = without ] && find "$prefix" -name '*jetstream*' | grep .; then
    echo "built without jetstream, installed all the same" >&2
    exit 1
fi

programs=(consumer consumer_cxx)
[ "$jetstream" = with ] && programs+=(consumer_jetstream)
case $finder in
find_package)
    quietly cmake -S "$here/consumer" -B "$work/consumer" -DCMAKE_PREFIX_PATH="$prefix" \
        -DCMAKE_C_COMPILER="$cc" -DCMAKE_CXX_COMPILER="$cxx" -DCONSUMER_JETSTREAM="$jetstream"
    quietly cmake --build "$work/consumer"
    if [ "$jetstream" = without ] && cmake -S "$here/consumer" -B "$work/refused" \
        -DCMAKE_PREFIX_PATH="$prefix" -DCONSUMER_JETSTREAM=with >"$work/log" 2>&1; then
        echo "COMPONENTS jetstream was found where it is not" >&2
        exit 1
    fi
    ;;
pkg_config)
    mkdir "$work/consumer"
    # Only ours: an embedder needs the .pc files of no other library.
    export PKG_CONFIG_LIBDIR=$libdir/pkgconfig
    flags() {
        pkg-config --cflags --libs "$1"
    }
    # shellcheck disable=SC2046 # flags are words
    {
        quietly "$cc" -std=c11 -Wall -Wextra -Werror -o "$work/consumer/consumer" \
            "$here/consumer/consumer.c" $(flags quipu) -Wl,-rpath,"$libdir"
        quietly "$cxx" -std=c++11 -Wall -Wextra -Werror -o "$work/consumer/consumer_cxx" \
            "$here/consumer/consumer_cxx.cc" $(flags quipu) -Wl,-rpath,"$libdir"
        if [ "$jetstream" = with ]; then
            quietly "$cc" -std=c11 -Wall -Wextra -Werror -o "$work/consumer/consumer_jetstream" \
                "$here/consumer/consumer_jetstream.c" $(flags quipu-jetstream) -Wl,-rpath,"$libdir"
        fi
    }
    ;;
esac
for program in "${programs[@]}"; do
    "$work/consumer/$program" "$work/$program.quipu"
    # The library of the moved folder, not one that happens to be on this machine.
    loaded=$(ldd "$work/consumer/$program")
    grep -qF "libquipu.so.0 => $libdir/" <<<"$loaded" || {
        printf '%s loads another libquipu:\n%s\n' "$program" "$loaded" >&2
        exit 1
    }
done

# The program that is installed finds its library by itself.
if [ -e "$prefix/bin/quipu" ]; then
    "$prefix/bin/quipu" version
    "$prefix/bin/quipu" verify --store "$work/consumer.quipu"
fi
