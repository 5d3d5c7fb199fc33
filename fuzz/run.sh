#!/bin/bash
# Fuzzes every target, or those that are named, for SECONDS_EACH seconds (600).
#
# Needs no nightly compiler: the coverage instrumentation is asked of LLVM directly. Memory is
# limited to 512 MB and a single input to 10 seconds, so that an unbounded allocation or an endless
# loop is a finding too.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${SECONDS_EACH:-600}
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(object btf btf_ext signature certificate key lskel bundle)

export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"
host=$(rustc -vV | sed -n 's/^host: //p')
cargo build --quiet --release --target "$host"

# What the fuzzer starts from: the files of the tests.
seed() {
    case $1 in
        object) find ../testdata/objects -name '*.o' ;;
        signature) find ../testdata/keys -name '*.der' ;;
        certificate) find ../testdata/keys -name '*.cert.*' ;;
        key) find ../testdata/keys -name '*.pem' ;;
    esac
}

for target in "${targets[@]}"; do
    corpus=corpus/$target
    mkdir -p "$corpus" artifacts
    seed "$target" | while read -r file; do
        cp -n "$file" "$corpus/$(echo "$file" | tr -c 'a-zA-Z0-9\n' _)"
    done
    if [ "$target" = btf ] || [ "$target" = btf_ext ]; then
        section=.BTF
        [ "$target" = btf_ext ] && section=.BTF.ext
        find ../testdata/objects -name '*.o' | while read -r file; do
            objcopy -O binary --only-section=$section --set-section-flags $section=alloc \
                "$file" "$corpus/$(echo "$file" | tr -c 'a-zA-Z0-9\n' _)" 2>/dev/null || true
        done
    fi
    echo "== $target: $seconds s"
    "target/$host/release/$target" "$corpus" -max_total_time="$seconds" -rss_limit_mb=512 \
        -timeout=10 -max_len=65536 -artifact_prefix=artifacts/ -print_final_stats=1 \
        2>&1 | grep -E "^stat::|SUMMARY|ERROR|panicked|Done" || true
done
if [ -n "$(ls artifacts 2>/dev/null)" ]; then
    echo "findings are in fuzz/artifacts"
    exit 1
fi
