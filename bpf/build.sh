#!/bin/sh
# Compiles the fixtures into testdata/objects, for both byte orders.
#
# Needs clang and llvm-strip for BPF; CLANG and STRIP name others. The committed objects were made
# with clang 19. DWARF is stripped, BTF is kept.
set -eu
cd "$(dirname "$0")"
CLANG=${CLANG:-clang}
STRIP=${STRIP:-llvm-strip}
OUT=${OUT:-../testdata/objects}

compile() { # input, target, output, options
    input=$1 target=$2 output=$3
    shift 3
    "$CLANG" -O2 -g "--target=$target" -mcpu=v3 -Wall -Wno-unused-function \
        -Wno-unused-const-variable -Wno-unused-variable "$@" -c "$input" -o "$output"
    "$STRIP" -g "$output"
}

mkdir -p "$OUT/big-endian" "$OUT/refused"
for source in *.bpf.c; do
    object=${source%.c}.o
    options=
    [ "$source" = plain.bpf.c ] && options=-g0
    compile "$source" bpfel "$OUT/$object" $options
    compile "$source" bpfeb "$OUT/big-endian/$object" $options
done
for source in refused/*.bpf.c; do
    compile "$source" bpfel "$OUT/${source%.c}.o" -Wno-everything
done
