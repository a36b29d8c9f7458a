"""CLIP towers of published shapes with seeded random weights, as a model bundle: for speed, memory and exactness, never for answers.

    python models/random_clip.py vit-b-32 OUT --tokenizer TOKENIZER.json

TOKENIZER is CLIP's own, of 49,408 entries. Needs torch, transformers and onnx (models/requirements.txt).
Sizes are those of OpenAI's CLIP (Radford et al. 2021, table 19) and of TinyCLIP's configuration files
(github.com/microsoft/Cream, TinyCLIP/src/open_clip/model_configs).
"""

import argparse
import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPVisionConfig, CLIPVisionModelWithProjection

SEED = 1
OPSET = 14
IMAGE_SIZE, CONTEXT, EMBEDDING_DIM, HEAD_WIDTH = 224, 77, 512, 64
BEGIN, END = 49406, 49407
# Weights this much wider than what keeps activations as they are: with less, the residual path drowns
# what a picture adds to it, and all pictures have one embedding.
GAIN = 1.6
# Directions that are taken off the projection.
SHARED = 4


@dataclass(frozen=True)
class Shape:
    """Widths and depths of both towers."""

    patch: int
    width: int
    layers: int
    text_width: int
    text_layers: int
    activation: str


SHAPES = {
    "vit-b-32": Shape(32, 768, 12, 512, 12, "quick_gelu"),
    "vit-b-16": Shape(16, 768, 12, 512, 12, "quick_gelu"),
    "tinyclip-8m-16": Shape(16, 256, 10, 256, 3, "gelu"),
    "tinyclip-61m-32": Shape(32, 640, 12, 512, 9, "gelu"),
}

MANIFEST = """\
format = 1
name = "{name}, random weights"
licence = "none needed"
source = "random weights, seed {seed}: its answers mean nothing"
embedding_dim = {dim}
logit_scale = 100.0
logit_bias = 0.0
score = "softmax"

[vision]
file = "vision.onnx"
sha256 = "{vision}"
image_size = {size}
resize = "shortest-edge"
filter = "bicubic"
mean = [0.48145466, 0.4578275, 0.40821073]
std = [0.26862954, 0.26130258, 0.27577711]

[text]
file = "text.onnx"
sha256 = "{text}"
tokenizer = "tokenizer.json"
tokenizer_sha256 = "{tokenizer}"
context_length = {context}
pad = "none"

[prompts]
templates = ["a photo of a {{}}"]
"""


class Only(torch.nn.Module):
    """A tower that gives one of its outputs."""

    def __init__(self, tower: torch.nn.Module, output: str):
        super().__init__()
        self.tower, self.output = tower, output

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return getattr(self.tower(x), self.output)


@torch.no_grad()
def randomise(tower: torch.nn.Module) -> None:
    """Normal weights by their fan-in; gains and biases near what a trained norm has."""
    noise = torch.Generator().manual_seed(SEED)
    for name, parameter in tower.named_parameters():
        values = torch.randn(parameter.shape, generator=noise)
        if parameter.ndim > 1:
            deviation = 0.5 if "embedding" in name and "patch" not in name else GAIN * parameter[0].numel() ** -0.5
            parameter.copy_(values * deviation)
        elif "norm" in name and name.endswith("weight"):
            parameter.copy_(1 + 0.2 * values)
        else:
            parameter.copy_(0.1 * values)


@torch.no_grad()
def spread(vision: torch.nn.Module) -> None:
    """Takes off the projection what all pictures share: in random towers that is most of an embedding, and would hide how little two pictures differ.

    The pictures are noise of all sizes of blotches and all brightnesses, `[64, 3, size, size]`.
    """
    noise = torch.Generator().manual_seed(SEED)
    blotches = [torch.randn(16, 3, side, side, generator=noise) for side in (2, 7, 28, 112)]
    pictures = torch.cat([torch.nn.functional.interpolate(b, IMAGE_SIZE, mode="bilinear") for b in blotches])
    pictures += torch.randn(64, 3, 1, 1, generator=noise)
    embeddings = torch.nn.functional.normalize(vision(pictures).image_embeds)
    # The few directions that hold most of it, the mean among them.
    directions = torch.linalg.svd(embeddings, full_matrices=False).Vh[:SHARED]
    weight = vision.visual_projection.weight
    weight -= directions.T @ (directions @ weight)


def towers(shape: Shape) -> tuple[torch.nn.Module, torch.nn.Module]:
    vision = CLIPVisionConfig(
        hidden_size=shape.width, intermediate_size=4 * shape.width, num_hidden_layers=shape.layers, num_attention_heads=shape.width // HEAD_WIDTH,
        image_size=IMAGE_SIZE, patch_size=shape.patch, projection_dim=EMBEDDING_DIM, hidden_act=shape.activation,
    )  # fmt: skip
    text = CLIPTextConfig(
        hidden_size=shape.text_width, intermediate_size=4 * shape.text_width, num_hidden_layers=shape.text_layers,
        num_attention_heads=shape.text_width // HEAD_WIDTH, max_position_embeddings=CONTEXT, projection_dim=EMBEDDING_DIM,
        hidden_act=shape.activation, bos_token_id=BEGIN, eos_token_id=END,
    )  # fmt: skip
    made = CLIPVisionModelWithProjection(vision).eval(), CLIPTextModelWithProjection(text).eval()
    for tower in made:
        randomise(tower)
    spread(made[0])
    return Only(made[0], "image_embeds"), Only(made[1], "text_embeds")


def to_graph(tower: torch.nn.Module, example: torch.Tensor, file: Path, names: tuple[str, str], free: dict[int, str]) -> str:
    """Writes a tower as ONNX; the file's SHA-256."""
    torch.onnx.export(
        tower, (example,), str(file), input_names=[names[0]], output_names=[names[1]],
        dynamic_axes={names[0]: free, names[1]: {0: "n"}}, opset_version=OPSET, dynamo=False,
    )  # fmt: skip
    return hashlib.sha256(file.read_bytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokenizer", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    vision, text = towers(SHAPES[args.shape])
    ids = torch.tensor([[BEGIN, 320, END]] * 2)
    digests = {
        "vision": to_graph(vision, torch.randn(2, 3, IMAGE_SIZE, IMAGE_SIZE), args.out / "vision.onnx", ("pixel_values", "image_embeds"), {0: "n"}),
        "text": to_graph(text, ids, args.out / "text.onnx", ("input_ids", "text_embeds"), {0: "n", 1: "l"}),
        "tokenizer": hashlib.sha256(args.tokenizer.read_bytes()).hexdigest(),
    }
    shutil.copy(args.tokenizer, args.out / "tokenizer.json")
    manifest = MANIFEST.format(name=args.shape, seed=SEED, dim=EMBEDDING_DIM, size=IMAGE_SIZE, context=CONTEXT, **digests)
    (args.out / "model.toml").write_text(manifest)


if __name__ == "__main__":
    main()
