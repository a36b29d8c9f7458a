"""Narrow towers as many exporters and quantisers write them, and what ONNX Runtime computes with each.

    python tests/golden/towers.py        (in an environment with models/requirements.txt and tests/golden/requirements.txt)

Makes tests/data/towers: one ONNX file a way of writing, and golden.json with the inputs' seeds and the
embeddings of each file by ONNX Runtime. All image towers but the patch sizes are of one shape and have the same
seeded random weights, so that what differs is how they are written.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPVisionConfig, CLIPVisionModelWithProjection

OUT = Path(__file__).parents[1] / "data" / "towers"
SEED, SIZE, DIM, WIDTH, HEADS, LAYERS = 1, 16, 24, 32, 2, 1
VOCABULARY, CONTEXT, END = 40, 12, 39
SEEDS = (1, 2, 3)
MEAN, STD = 0.5, 0.25


def pixels(seed: int) -> np.ndarray:
    """[SIZE, SIZE, 3] bytes that the Rust test makes as well."""
    at = np.arange(SIZE * SIZE * 3, dtype=np.uint64)
    return ((at * 2654435761 + seed * 40503 * at * at) >> 7 & 255).astype(np.uint8).reshape(SIZE, SIZE, 3)


def pixel_values(seed: int) -> np.ndarray:
    return ((pixels(seed).astype(np.float32) / 255 - MEAN) / STD).transpose(2, 0, 1)[None]


class Only(nn.Module):
    """A tower that gives one of its outputs."""

    def __init__(self, tower: nn.Module, output: str):
        super().__init__()
        self.tower, self.output = tower, output

    def forward(self, x: Tensor) -> Tensor:
        return getattr(self.tower(x), self.output)


class OpenClip(nn.Module):
    """As OpenCLIP writes it: torch's own attention with one projection for all, LayerScale, mean pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, 8, 8, bias=False)
        self.norm_1, self.norm_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.scale = nn.Parameter(torch.ones(WIDTH))
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(approximate="tanh"), nn.Linear(2 * WIDTH, WIDTH))
        self.projection = nn.Parameter(torch.ones(WIDTH, DIM))

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        y = self.norm_1(x)
        x = x + self.scale * self.attention(y, y, y, need_weights=False)[0]
        x = x + self.mlp(self.norm_2(x))
        return x.mean(1) @ self.projection


class Residual(nn.Module):
    """Convolutions with batch norm and shortcuts, a depthwise one among them, as residual networks have them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.wide = nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 12, 3, 1, 1), nn.BatchNorm2d(12))
        self.past = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(8, 12, 1))
        self.depthwise = nn.Conv2d(12, 12, 3, 1, 1, groups=12)
        self.head = nn.Linear(12, DIM)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.relu(self.past(x) + self.wide(x))
        x = torch.relu(self.depthwise(x))
        return self.head(x.mean((2, 3)))


@torch.no_grad()
def randomised(tower: nn.Module) -> nn.Module:
    noise = torch.Generator().manual_seed(SEED)
    for name, parameter in tower.named_parameters():
        values = torch.randn(parameter.shape, generator=noise)
        wide = parameter.ndim > 1
        parameter.copy_(values * (1.4 * parameter[0].numel() ** -0.5 if wide else 0.2) + (0 if wide or not name.endswith("weight") else 1))
    return tower.eval()


def vision(activation: str, attention: str) -> nn.Module:
    config = CLIPVisionConfig(
        hidden_size=WIDTH, intermediate_size=2 * WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS, image_size=SIZE, patch_size=8,
        projection_dim=DIM, hidden_act=activation, attn_implementation=attention,
    )  # fmt: skip
    return Only(randomised(CLIPVisionModelWithProjection(config)), "image_embeds")


def text() -> nn.Module:
    config = CLIPTextConfig(
        hidden_size=WIDTH, intermediate_size=2 * WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS, vocab_size=VOCABULARY,
        max_position_embeddings=CONTEXT, projection_dim=DIM, hidden_act="quick_gelu", bos_token_id=END - 1, eos_token_id=END,
    )  # fmt: skip
    return Only(randomised(CLIPTextModelWithProjection(config)), "text_embeds")


def export(tower: nn.Module, name: str, opset: int, dynamo: bool = False) -> Path:
    """Writes a tower by torch's older exporter, or by the one of dynamo."""
    is_text = name.startswith("text")
    example = torch.tensor([[END - 1, 5, 6, END]] * 2) if is_text else torch.zeros(2, 3, SIZE, SIZE)
    inputs, outputs = (["input_ids"], ["text_embeds"]) if is_text else (["pixel_values"], ["image_embeds"])
    file = OUT / f"{name}.onnx"
    if dynamo:
        free = torch.export.Dim.AUTO
        shapes = ({0: free, 1: free} if is_text else {0: free},)
        torch.onnx.export(tower, (example,), file, input_names=inputs, output_names=outputs, opset_version=opset, dynamo=True, dynamic_shapes=shapes, external_data=False)
        model = onnx.load(file)
        for node in model.graph.node:  # where in Python each node comes from
            del node.metadata_props[:]
        onnx.save(model, file)
    else:
        free = {0: "n", 1: "l"} if is_text else {0: "n"}
        axes = {inputs[0]: free, outputs[0]: {0: "n"}}
        torch.onnx.export(tower, (example,), str(file), input_names=inputs, output_names=outputs, opset_version=opset, dynamic_axes=axes, dynamo=False)
    return file


def to_half(source: Path, name: str) -> None:
    """All floats of a graph as half floats, its input and output as well."""
    model = onnx.load(source)
    half, single = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    for tensor in model.graph.initializer:
        if tensor.data_type == single:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "to" and attribute.i == single:
                attribute.i = half
            if attribute.HasField("t") and attribute.t.data_type == single:
                attribute.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(attribute.t).astype(np.float16)))
    for value in [*model.graph.input, *model.graph.output]:
        if value.type.tensor_type.elem_type == single:
            value.type.tensor_type.elem_type = half
    del model.graph.value_info[:]
    onnx.save(model, OUT / f"{name}.onnx")


class Pictures(CalibrationDataReader):
    """What the static quantiser looks at."""

    def __init__(self) -> None:
        self.left = [{"pixel_values": pixel_values(seed)} for seed in range(10, 20)]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self.left.pop() if self.left else None


def quantise(source: Path, residual: Path) -> None:
    # With all its operators: this takes the ReLUs away, which quantising does as well.
    quantize_static(residual, OUT / "vision-residual-qdq.onnx", Pictures(), quant_format=QuantFormat.QDQ, per_channel=True, weight_type=QuantType.QInt8)
    for name, kind, per_channel in [("dynamic-u8", QuantType.QUInt8, False), ("dynamic-i8", QuantType.QInt8, True)]:
        quantize_dynamic(source, OUT / f"vision-{name}.onnx", weight_type=kind, per_channel=per_channel)
    quantize_static(source, OUT / "vision-qdq.onnx", Pictures(), quant_format=QuantFormat.QDQ, per_channel=True, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Conv"])


def embeddings(file: Path) -> list[list[float]]:
    """By ONNX Runtime, one for each of SEEDS; texts are of that many tokens and four more."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    rows = []
    for seed in SEEDS:
        if file.name.startswith("text"):
            inputs = np.array([[END - 1, *((7 * np.arange(seed + 2) + seed) % (END - 1)), END]])
        else:
            inputs = pixel_values(seed)
            inputs = inputs.astype(np.float16) if file.name == "vision-half.onnx" else inputs
        rows.append([round(float(value), 6) for value in session.run(None, {session.get_inputs()[0].name: inputs})[0][0]])
    return rows


def main() -> None:
    warnings.simplefilter("ignore")
    OUT.mkdir(parents=True, exist_ok=True)
    export(vision("quick_gelu", "eager"), "vision-opset11", 11)
    plain = export(vision("gelu", "eager"), "vision-opset14", 14)
    export(vision("gelu", "sdpa"), "vision-opset17", 17)
    export(vision("quick_gelu", "sdpa"), "vision-dynamo", 18, dynamo=True)
    export(randomised(OpenClip()), "vision-openclip", 17)
    residual = export(randomised(Residual()), "vision-residual", 17)
    export(text(), "text-opset14", 14)
    to_half(plain, "vision-half")
    quantise(plain, residual)
    golden = {file.stem: embeddings(file) for file in sorted(OUT.glob("*.onnx"))}
    (OUT / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
