"""Smaller versions of a graph, as Optimum and transformers.js' scripts/quantize.py write them beside it."""

from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.transformers.float16 import convert_float_to_float16

# Values that share a scale in a 4-bit matrix.
BLOCK = 32
VARIANTS = ("fp16", "quantized", "int8", "uint8", "q4", "q4f16")


def write_variant(file: Path, variant: str) -> Path:
    """Writes FILE_VARIANT.onnx."""
    out = file.with_name(f"{file.stem}_{variant}.onnx")
    if variant in ("quantized", "int8", "uint8"):
        kind = QuantType.QUInt8 if variant == "uint8" or variant == "quantized" and has_convolution(file) else QuantType.QInt8
        quantize_dynamic(file, out, weight_type=kind, per_channel=False, reduce_range=False, extra_options={"EnableSubgraph": True, "MatMulConstBOnly": True})
        return out
    model = onnx.load(file)
    if variant.startswith("q4"):
        quantizer = MatMulNBitsQuantizer(model, block_size=BLOCK, is_symmetric=True)
        quantizer.process()
        model = quantizer.model.model
    if variant.endswith("f16") or variant == "fp16":
        model = convert_float_to_float16(model, keep_io_types=True)
    onnx.save(model, out)
    return out


def has_convolution(file: Path) -> bool:
    """Whether `_quantized` has unsigned weights: onnxruntime-web has no convolution of signed ones."""
    return any(node.op_type == "Conv" for node in onnx.load(file, load_external_data=False).graph.node)
