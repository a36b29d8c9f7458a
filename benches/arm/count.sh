#!/usr/bin/env bash
# Counts the AArch64 instructions of one frame of a model's image tower, of edgeclip and of ONNX Runtime:
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
program=$(build_frames .ci/aarch64.sh)
if ! cmp -s "$program" "$counts/frames"; then
    rm -f "$counts"/edgeclip.*
    cp "$program" "$counts/frames"
fi
git describe --always --dirty >"$counts/commit"

# Runs of 1 and of 4 frames differ by three.
count() { # file cpu sysroot command...
    for frames in 1 4; do emulate "$counts/$1.$frames" aarch64 "${@:2}"; done
}

edgeclip() { # cpu kernel
    count "edgeclip.$1.$2" "$1" /usr/aarch64-linux-gnu "$counts/frames" "$model" FRAMES "$2"
}
edgeclip neoverse-n1 dotprod
edgeclip neoverse-v1 i8mm
edgeclip cortex-a72 neon

if [ ! -s "$counts/int8.onnx" ]; then
    "$prefix/python/bin/python3" - "$model/vision.onnx" "$counts/int8.part" <<'END'
import sys
from onnxruntime.quantization import QuantType, quantize_dynamic
quantize_dynamic(*sys.argv[1:], op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8)
END
    mv "$counts/int8.part" "$counts/int8.onnx"
fi
for cpu in neoverse-n1 neoverse-v1 cortex-a72; do
    count "onnxruntime.$cpu" "$cpu" "$prefix/rival/sys" "$prefix/rival/sys/usr/bin/python3.11" -S "$here/rival.py" "$counts/int8.onnx" FRAMES
done
