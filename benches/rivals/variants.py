"""The models that are compared: each is one file in the work folder, which prepare.py writes and run.py measures."""

from dataclasses import dataclass
from itertools import product

PICTURE, PIXELS = "picture.png", "pixels.f32"
IMAGE_SIZE = 224
EXECUTORCH = {"fp32": "executorch-fp32.pte", "int8": "executorch-int8.pte"}


@dataclass(frozen=True)
class Quantised:
    """A way to quantise the graph with ONNX Runtime's `quantize_dynamic`; `fused` tells whether its transformer optimizer runs before."""

    weights: str
    per_channel: bool
    with_conv: bool
    fused: bool = False

    @property
    def operators(self) -> list[str]:
        return ["MatMul", "Conv"] if self.with_conv else ["MatMul"]

    @property
    def name(self) -> str:
        granularity = "per channel" if self.per_channel else "per tensor"
        return f"{self.weights} {granularity}, {' + '.join(self.operators)}{', fused' if self.fused else ''}"

    @property
    def file(self) -> str:
        return f"{self.name.lower().replace(',', '').replace(' + ', ' ').replace(' ', '-')}.onnx"


PLAIN = [Quantised(*choice) for choice in product(["QInt8", "QUInt8"], [False, True], [False, True])]
FUSED = [Quantised("QInt8", per_channel, with_conv=False, fused=True) for per_channel in [False, True]]
FUSED_FLOAT = "fp32-fused.onnx"
