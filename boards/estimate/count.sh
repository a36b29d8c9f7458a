#!/usr/bin/env bash
# Counts the instructions of one frame of models at their true size, and writes counts.csv:
#     boards/estimate/count.sh FOLDER
# FOLDER gets the models, with random weights (5 GB), and what ran how often. What is there already is not made again,
# unless the program has changed. PYTHON has models/requirements.txt. Two hours of one CPU core.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$(realpath -m "$1")
python=${PYTHON:-python3}
families=(tinyclip-8m-16 mobileclip2-s0 mobileclip-s2 tinyclip-39m-16 tinyclip-61m-32 clip-rn50 clip-vit-b-32 clip-vit-b-16 siglip-base-16-224)
mkdir -p "$folder"
prefix=$(benches/arm/setup.sh)
. benches/arm/emulate.sh

# Counts depend on a model's shapes, not on its weights. The size of those is of float32, the built-in model's of float16.
cargo build --release
for family in "${families[@]}"; do
    [ -d "$folder/$family" ] && continue
    rm -rf "$folder/export" "$folder/part"
    "$python" models/export.py --random "$family" "$folder/export" --as-drawn
    cat "$folder"/export/onnx/vision_model.onnx* | wc -c | awk '{ print int($1 / 4) }' >"$folder/$family.weights"
    target/release/edgeclip model import "$folder/export" "$folder/part"
    rm -r "$folder/export"
    mv -T "$folder/part" "$folder/$family"
done
ln -sfn "$PWD/models/edgeclip-mini" "$folder/edgeclip-mini"
stat -c %s models/edgeclip-mini/vision.onnx | awk '{ print int($1 / 2) }' >"$folder/edgeclip-mini.weights"

program() { # architecture runner...
    local built
    built=$(build_frames "${@:2}")
    if ! cmp -s "$built" "$folder/frames-$1"; then
        rm -f "$folder"/*."$1".*
        cp "$built" "$folder/frames-$1"
    fi
}
program aarch64 .ci/aarch64.sh
program x86_64 env
git describe --always --dirty >"$folder/commit"

count() { # model architecture cpu sysroot kernel
    # Two runs differ by the second frame: the first one still asks for memory.
    for frames in 1 2; do
        emulate "$folder/$1.$2.$5.$frames" "$2" "$3" "$4" "$folder/frames-$2" "$folder/$1" FRAMES "$5"
    done
}
for model in edgeclip-mini "${families[@]}"; do
    count "$model" x86_64 max / avx2
    count "$model" aarch64 neoverse-n1 /usr/aarch64-linux-gnu dotprod
    count "$model" aarch64 cortex-a72 /usr/aarch64-linux-gnu neon
    case $model in # which no board here has
        edgeclip-mini | tinyclip-8m-16 | clip-vit-b-32) count "$model" aarch64 neoverse-v1 /usr/aarch64-linux-gnu i8mm ;;
    esac
done
boards/estimate/counts.py "$folder"
