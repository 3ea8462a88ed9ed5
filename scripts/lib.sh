# shellcheck shell=bash
# What the scripts share: a line per step, a build by preset. Sourced from the tree's root, never run.

quipu_started=$SECONDS

# step NAME: says what comes next and how long it has been going.
step() {
    printf '\n== %s (after %d s)\n' "$1" "$((SECONDS - quipu_started))"
}

# build PRESET [TARGET]: configures where needed and builds; its output is shown only if it fails.
build() {
    local preset=$1 target=${2:-all} log
    log=$(mktemp)
    if ! { cmake --preset "$preset" && cmake --build --preset "$preset" --target "$target"; } \
        >"$log" 2>&1; then
        tail -n 60 "$log" >&2
        rm -f "$log"
        printf 'build of preset %s failed\n' "$preset" >&2
        return 1
    fi
    rm -f "$log"
    printf 'built: %s\n' "build/$preset"
}
