#!/usr/bin/env bash
# Counts the Arm instructions of one frame of a model's image tower, of edgeclip and of ONNX Runtime:
#     benches/arm/count.sh MODEL_DIR COUNTS_DIR
# COUNTS_DIR gets what ran how often, for report.py; runs that are there already are not repeated, unless
# the program has changed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
model=$(realpath "$1") counts=$(realpath -m "$2")
prefix=$("$here/setup.sh" rival)
. "$here/emulate.sh"
mkdir -p "$counts"

cd "$here/../.."
program() { # file script
    local built
    built=$(build_frames "$2")
    if ! cmp -s "$built" "$counts/$1"; then
        rm -f "$counts"/edgeclip.*
        cp "$built" "$counts/$1"
    fi
}
program frames .ci/aarch64.sh
program frames32 .ci/armv7.sh
git describe --always --dirty >"$counts/commit"

# Runs of 1 and of 4 frames differ by three.
count() { # file architecture cpu sysroot command...
    for frames in 1 4; do emulate "$counts/$1.$frames" "${@:2}"; done
}

edgeclip() { # cpu kernel
    count "edgeclip.$1.$2" aarch64 "$1" /usr/aarch64-linux-gnu "$counts/frames" "$model" FRAMES "$2"
}
edgeclip neoverse-n1 dotprod
edgeclip neoverse-v1 i8mm
edgeclip cortex-a72 neon
for kernel in neon scalar; do
    count edgeclip.cortex-a7.$kernel arm cortex-a7 /usr/arm-linux-gnueabihf "$counts/frames32" "$model" FRAMES $kernel
done

if [ ! -s "$counts/int8.onnx" ]; then
    "$prefix/python/bin/python3" - "$model/vision.onnx" "$counts/int8.part" <<'END'
import sys
from onnxruntime.quantization import QuantType, quantize_dynamic
quantize_dynamic(*sys.argv[1:], op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8)
END
    mv "$counts/int8.part" "$counts/int8.onnx"
fi
for cpu in neoverse-n1 neoverse-v1 cortex-a72; do
    count "onnxruntime.$cpu" aarch64 "$cpu" "$prefix/rival/sys" "$prefix/rival/sys/usr/bin/python3.11" -S "$here/rival.py" "$counts/int8.onnx" FRAMES
done
