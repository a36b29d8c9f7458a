"""Make tests/data/families: narrow versions of published families, as their repositories are laid out, with goldens.

Run from the repository root, after models/ has changed: python tests/golden/families.py [NAME ...]

Each folder is what `models/export.py --random FAMILY --narrow` writes. Its golden.json holds the embeddings of six pictures
and six texts by ONNX Runtime on the folder's own graphs (in float, where these are quantised), L2-normalised; pictures and texts are prepared by the library that
the family comes from: transformers' image processors on Pillow and its tokenizers, or open_clip's transform and tokenizer.
Needs models/requirements.txt.
"""

import json
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2] / "models"))
from export import export_random, outside, quiet  # noqa: E402
from families import FAMILIES, Family  # noqa: E402
from reference import alike, embeddings, picture, pixel_values, scores, tokens  # noqa: E402
from variants import write_variant  # noqa: E402

OUT = Path("tests/data/families")
# Width and height; squares are what no camera gives.
SIZES = ((75, 41), (37, 66), (81, 60), (48, 85), (64, 49), (53, 45))
# Blotches along the longer side, and red, green and blue between 0 and 1.
LOOKS = ((2, (0.9, 0.2, 0.1)), (5, (0.1, 0.3, 0.9)), (3, (0.2, 0.8, 0.2)), (9, (0.9, 0.9, 0.3)), (6, (0.1, 0.1, 0.1)), (4, (0.8, 0.4, 0.9)))
TEXTS = ["a photo of a cat", "it's 3 green apples, on a table!", "Wooden BOAT", "the café near the old bridge", "striped umbrella", "seven zebras & a very large yellow train in the desert"]
CHINESE_TEXTS = ["一张猫的照片", "绿色的苹果在桌子上", "a red bus", "旧的火车", "3只鸟,2024年", "白色的房子和黄色的花,小自行车"]
# Largest cosine between two different pictures, or texts, that still shows a mistake.
ALIKE_MAX = 0.9
DIGITS = 7
# Variants whose activations ONNX Runtime rounds.
ROUNDED = ("quantized", "int8", "uint8")


@dataclass(frozen=True)
class Made:
    """A folder: the family it is of, and how its graphs are written."""

    family: str
    exporter: str | None = None
    joint: bool = False
    # The only graphs that are kept, of models/variants.py.
    variant: str | None = None
    external: bool = False
    # Of the weights; the first that tells these pictures and texts apart.
    seed: int = 1


FOLDERS = {
    "clip-vit": Made("clip-vit-b-32"),
    "clip-vit-joint": Made("clip-vit-b-16", "optimum", joint=True),
    "siglip": Made("siglip-base-16-224", joint=True),
    "openclip-vit": Made("openclip-vit-b-32", "torchscript"),
    "chinese-clip": Made("chinese-clip-base-16", seed=2),
    "dinov2": Made("dinov2-small"),
    "rn50": Made("clip-rn50", seed=4),
    "mobileclip-s0": Made("mobileclip-s0", seed=11),
    "mobileclip-s2": Made("mobileclip-s2", seed=11),
    "mobileclip-b": Made("mobileclip-b"),
    "mobileclip2-s0": Made("mobileclip2-s0", seed=11),
    "tinyclip": Made("tinyclip-8m-16"),
    "siglip2": Made("siglip2-base-16-224"),
    "clip-vit-fp16": Made("clip-vit-b-32", "torchscript", variant="fp16"),
    "clip-vit-quantized": Made("clip-vit-b-32", "torchscript", variant="quantized"),
    "clip-vit-uint8": Made("clip-vit-b-32", "torchscript", variant="uint8"),
    "clip-vit-q4": Made("clip-vit-b-32", "torchscript", variant="q4"),
    "clip-vit-external": Made("clip-vit-b-32", "torchscript", external=True),
    "clip-vit-dynamo": Made("clip-vit-b-32", "dynamo"),
    "siglip-fp16": Made("siglip-base-16-224", "torchscript", variant="fp16"),
    "siglip-quantized": Made("siglip-base-16-224", "torchscript", variant="quantized"),
    "siglip-q4": Made("siglip-base-16-224", "torchscript", variant="q4"),
    "siglip-dynamo": Made("siglip-base-16-224", "dynamo"),
}  # fmt: skip


def pictures() -> list[Image.Image]:
    folder = OUT / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{index}.png" for index in range(len(SIZES))]
    for index, (file, size, (blotches, colour)) in enumerate(zip(files, SIZES, LOOKS)):
        picture(size, blotches, colour, index).save(file, optimize=True)
    return [Image.open(file).convert("RGB") for file in files]


def golden(folder: Path, graphs: Path, family: Family) -> dict:
    """What golden.json holds, by the graphs in `graphs`."""
    texts = (CHINESE_TEXTS if family.vocabulary == "chinese_clip" else TEXTS) if family.vocabulary else []
    texts = [text.lower() for text in texts] if family.vocabulary == "gemma" else texts
    inputs = tokens(folder, family, texts) if texts else {}
    image, text, products = embeddings(graphs, {**inputs, "pixel_values": pixel_values(folder, pictures())})
    made = {"texts": texts, "input_ids": inputs["input_ids"].tolist() if texts else [], "image_embeds": image, "text_embeds": text if texts else []}
    if not texts:
        return made
    scale, bias = scores(folder, image, text, products)
    return {**made, "logit_scale": round(scale, 3), "logit_bias": round(bias, 3) + 0.0, "score": "sigmoid" if family.kind == "siglip" else "softmax"}


def without_rounding(exact: Path, quantised: Path) -> None:
    """Puts into a float graph the weights that a dynamically quantised one holds: ONNX Runtime rounds activations too, in ways that nobody else's kernels repeat."""
    graph, values = onnx.load(exact), {one.name: onnx.numpy_helper.to_array(one) for one in onnx.load(quantised).graph.initializer}
    replaced = 0
    for one in graph.graph.initializer:
        # A Gemm's weight is turned before it is quantised.
        for name, turned in ((one.name, False), (f"{one.name}_Transposed", True)):
            if f"{name}_quantized" in values:
                floats = (values[f"{name}_quantized"].astype(np.float32) - np.float32(values[f"{name}_zero_point"])) * values[f"{name}_scale"]
                floats = floats.T if turned else floats
                one.CopyFrom(onnx.numpy_helper.from_array(floats.reshape(tuple(one.dims)), one.name))
                replaced += 1
    assert replaced > 4, quantised
    onnx.save(graph, exact)


def write_golden(folder: Path, graphs: Path, family: Family) -> None:
    made = golden(folder, graphs, family)
    for key in ("image_embeds", "text_embeds"):
        if len(made[key]):
            largest = alike(made[key])
            print(f"{folder.name}: {key}: largest cosine between two: {largest:.3f}", flush=True)
            assert largest < ALIKE_MAX, f"{folder.name}: {key} are too alike to show a mistake"
            made[key] = [[round(float(value), DIGITS) for value in row] for row in made[key]]
    lines = ",\n".join(f'"{key}": {json.dumps(value, ensure_ascii=False)}' for key, value in made.items())
    (folder / "golden.json").write_text(f"{{\n{lines}\n}}\n")


def make(name: str, made: Made) -> None:
    """One folder with its golden."""
    folder, family = OUT / name, FAMILIES[made.family]
    shutil.rmtree(folder, ignore_errors=True)
    export_random(made.family, folder, narrow=True, exporter=made.exporter, joint=made.joint, seed=made.seed)
    with tempfile.TemporaryDirectory() as scratch:
        graphs = folder / "onnx"
        for file in sorted(graphs.glob("*.onnx")):
            if made.external:
                outside(file)
            if made.variant:
                written, exact = write_variant(file, made.variant), Path(scratch) / file.name
                file.rename(exact)
                if made.variant in ROUNDED:
                    without_rounding(exact, written)
        write_golden(folder, Path(scratch) if made.variant in ROUNDED else graphs, family)
    (folder / "spiece.model").unlink(missing_ok=True)


def main() -> None:
    quiet()
    for name in sys.argv[1:] or FOLDERS:
        make(name, FOLDERS[name])


if __name__ == "__main__":
    main()
