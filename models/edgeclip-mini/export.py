"""Writes a trained pair of towers as a model bundle: vision.onnx, text.onnx, tokenizer.json, model.toml.

`edgeclip model import OUT BUNDLE` then adds golden embeddings to it.

Weights are stored as fp16 and cast to float inside the graph, so that every runtime computes in
float from the same values. `python export.py CHECKPOINT TOKENIZER OUT` exports a checkpoint.
"""

import hashlib
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

from captions import END
from towers import Clip, Shape
from words import LETTER_FACTS

OPSET = 17
# Tensors smaller than this stay float: they cost nothing and include exact constants.
HALF_FROM = 64

MANIFEST = """\
format = 1
name = "edgeclip-mini"
licence = "research use: the training photographs (tiny-imagenet) are research data, see CARD.md"
source = "trained in this repository, see CARD.md"
embedding_dim = {embedding_dim}
logit_scale = {logit_scale}
logit_bias = 0.0
score = "softmax"

[vision]
file = "vision.onnx"
sha256 = "{vision}"
image_size = {image_size}
resize = "shortest-edge"
filter = "bicubic"
mean = [0.48145466, 0.4578275, 0.40821073]
std = [0.26862954, 0.26130258, 0.27577711]

[text]
file = "text.onnx"
sha256 = "{text}"
tokenizer = "tokenizer.json"
tokenizer_sha256 = "{tokenizer}"
context_length = {context_length}
pad = "none"

[prompts]
templates = ["a photo of a {{}}", "a picture of a {{}}", "a close-up photo of a {{}}", "an image of a {{}}", "a {{}}"]
"""


def to_graph(tower: torch.nn.Module, example: torch.Tensor, file: Path, names: tuple[str, str], free: dict[int, str]) -> None:
    """One tower as an ONNX graph with fp16 weights; `free` names the input's free dimensions."""
    torch.onnx.export(
        tower, (example,), str(file), input_names=[names[0]], output_names=[names[1]],
        dynamic_axes={names[0]: free, names[1]: {0: "n"}}, opset_version=OPSET, dynamo=False,
    )  # fmt: skip
    model = onnx.load(str(file))
    halve_weights(model.graph)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(file))


def halve_weights(graph: onnx.GraphProto) -> None:
    """Stores large float initialisers as fp16, each followed by a Cast to float."""
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= HALF_FROM:
            name, half = tensor.name, numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.f16"))
            casts.append(helper.make_node("Cast", [f"{name}.f16"], [name], name=f"{name}.cast", to=TensorProto.FLOAT))
    nodes = casts + list(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def export(model: Clip, shape: Shape, tokenizer: Path, out: Path) -> None:
    """Writes the bundle; the model is in evaluation mode on the CPU, and its projections are folded."""
    out.mkdir(parents=True, exist_ok=True)
    for tower in (model.image, model.text):
        tower.projection = tower.projection.folded()
    vision, text = out / "vision.onnx", out / "text.onnx"
    to_graph(model.image, torch.zeros(2, 3, shape.image_size, shape.image_size), vision, ("pixel_values", "image_embeds"), {0: "n"})
    ids = torch.zeros(2, 8, dtype=torch.int64)
    ids[:, -1] = model.text.end_id
    to_graph(model.text, ids, text, ("input_ids", "text_embeds"), {0: "n", 1: "l"})
    if tokenizer.resolve() != (out / "tokenizer.json").resolve():
        shutil.copy(tokenizer, out / "tokenizer.json")
    manifest = MANIFEST.format(
        embedding_dim=shape.embedding_dim,
        logit_scale=round(float(model.log_scale.detach().exp()), 4),
        image_size=shape.image_size,
        context_length=shape.context_length,
        vision=digest(vision),
        text=digest(text),
        tokenizer=digest(out / "tokenizer.json"),
    )
    (out / "model.toml").write_text(manifest)


if __name__ == "__main__":
    saved = torch.load(sys.argv[1], map_location="cpu", weights_only=False)
    shape = Shape(**saved["shape"])
    clip = Clip(shape, Tokenizer.from_file(sys.argv[2]).token_to_id(END), LETTER_FACTS)
    clip.load_state_dict(saved["average"])
    export(clip.eval(), shape, Path(sys.argv[2]), Path(sys.argv[3]))
