"""Measures the committed bundle with ONNX Runtime and writes the table into CARD.md.

`python models/edgeclip-mini/evaluate.py --data DIR`, DIR with val.zip of tiny-imagenet. Photographs
are val's, which no training saw; scenes and empty pictures are drawn anew from another seed.
"""

import argparse
import random
import re
import tempfile
import tomllib
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

import data
import scenes

SEED = 20_000  # far from the seeds of training
DRAWN = 1000
ONE_TEMPLATE = "a photo of a {}"


class Towers:
    """Both committed graphs; rows come out L2-normalised."""

    def __init__(self, bundle: Path):
        self.manifest = tomllib.loads((bundle / "model.toml").read_text())
        self.vision = onnxruntime.InferenceSession(bundle / "vision.onnx")
        self.words = onnxruntime.InferenceSession(bundle / "text.onnx")
        self.tokenizer = Tokenizer.from_file(str(bundle / "tokenizer.json"))

    def images(self, pixels: np.ndarray) -> np.ndarray:
        """u8 [n, size, size, 3] -> [n, embedding_dim]."""
        mean, std = (np.float32(self.manifest["vision"][key]) for key in ("mean", "std"))
        parts = [((part.astype(np.float32) / 255 - mean) / std).transpose(0, 3, 1, 2) for part in np.array_split(pixels, -(-len(pixels) // 250))]
        return unit(np.concatenate([self.vision.run(None, {"pixel_values": part})[0] for part in parts]))

    def texts(self, texts: list[str]) -> np.ndarray:
        return unit(np.concatenate([self.words.run(None, {"input_ids": np.array([self.tokenizer.encode(t).ids])})[0] for t in texts]))

    def labels(self, names: list[str], templates: list[str]) -> np.ndarray:
        """Ensembles over templates, [names, embedding_dim]."""
        return unit(sum(self.texts([fill(template, name) for name in names]) for template in templates))


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def fill(template: str, name: str) -> str:
    """edgeclip's rule for articles, for names without one: a/an follows the next letter."""
    return template.replace("a {}", scenes.article(name)) if "a {}" in template else template.format(name)


def hits(similarity: np.ndarray, truth: np.ndarray, top: int) -> float:
    """Share of rows whose true column is among the `top` best, in percent."""
    return 100 * float((np.argsort(-similarity, 1)[:, :top] == truth[:, None]).any(1).mean())


def auroc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Chance that a positive scores above a negative, ties half."""
    return float(((positive[:, None] > negative[None]).mean() + (positive[:, None] >= negative[None]).mean()) / 2)


def photos(towers: Towers, archive: Path) -> tuple[list[tuple[str, str]], np.ndarray]:
    classes = data.photo_classes()
    with tempfile.TemporaryDirectory() as cache:
        pixels, truth = data.photos(archive, classes, towers.manifest["vision"]["image_size"], Path(cache))
        images = towers.images(np.array(pixels))
    names = [c.names[0] for c in classes]
    rows = []
    for title, templates in [("one template", [ONE_TEMPLATE]), (f"{len(towers.manifest['prompts']['templates'])} templates", towers.manifest["prompts"]["templates"])]:
        similarity = images @ towers.labels(names, templates).T
        rows.append((f"tiny-imagenet val, 200 names, {title}: top-1", f"{hits(similarity, truth, 1):.1f} %"))
        rows.append((f"tiny-imagenet val, 200 names, {title}: top-5", f"{hits(similarity, truth, 5):.1f} %"))
    return rows, images


def drawings(towers: Towers) -> list[tuple[str, str]]:
    """One shape in one colour, against all shapes in all colours."""
    rng, size = random.Random(SEED), towers.manifest["vision"]["image_size"]
    names = [f"{colour} {shape}" for colour in scenes.COLOURS for shape in scenes.SHAPES]
    pixels, truth = [], []
    while len(pixels) < DRAWN:
        scene = scenes.Scene(rng, size)
        scenes.one_shape(scene)
        pixels.append(scene.done())
        truth.append(next(i for i, name in enumerate(names) if scenes.article(name) in scene.true))
    similarity = towers.images(np.stack(pixels)) @ towers.texts([scenes.article(name) for name in names]).T
    return [(f"drawn shapes, {len(names)} colour-shape pairs, new drawings: top-1", f"{hits(similarity, np.array(truth), 1):.1f} %")]


def nothing(towers: Towers, images: np.ndarray) -> list[tuple[str, str]]:
    """Empty pictures against photographs, by the softmax weight of "nothing" against the class names."""
    rng, size = random.Random(SEED + 1), towers.manifest["vision"]["image_size"]
    noise = np.random.default_rng(SEED)
    grounds = noise.integers(0, 256, (DRAWN, 8, 8, 3), np.uint8)
    pixels = np.stack([scenes.empty(rng, size, ground)[0] for ground in grounds])
    labels = np.concatenate([towers.texts(["nothing"]), towers.labels([c.names[0] for c in data.photo_classes()], [ONE_TEMPLATE])])

    def weight(rows: np.ndarray) -> np.ndarray:
        logits = towers.manifest["logit_scale"] * rows @ labels.T
        return logits[:, 0] - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) - logits.max(1)

    return [('empty pictures against photographs, weight of "nothing": AUROC', f"{auroc(weight(towers.images(pixels)), weight(images)):.3f}")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    args = parser.parse_args()
    towers = Towers(data.HERE)
    rows, images = photos(towers, args.data / "val.zip")
    rows += drawings(towers) + nothing(towers, images)
    table = "\n".join(["| measured | result |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)])
    print(table)
    card = data.HERE / "CARD.md"
    text = re.sub(r"(<!-- results -->\n).*?(<!-- end of results -->)", lambda found: found[1] + table + "\n" + found[2], card.read_text(), flags=re.S)
    card.write_text(text)


if __name__ == "__main__":
    main()
