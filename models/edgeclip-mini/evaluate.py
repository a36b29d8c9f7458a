"""Measures the committed bundle with ONNX Runtime, in float, and with edgeclip, in int8, and writes the tables into CARD.md.

`python models/edgeclip-mini/evaluate.py --data DIR --work WORK --edgeclip target/release/edgeclip`, the folders of train.py
and the program. Nothing that is
measured on was trained on: photographs are val's, emoji and flags are of the held-out style, words and
colour-shape pairs are the held-out ones, and people, scenes and empty pictures are drawn from another seed.
"""

import argparse
import random
import re
import subprocess
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from PIL import Image
from tokenizers import Tokenizer

import captions
import data
import drawings
import people
import scenes
import words
from captions import CLIP_SEVEN, PLAIN, article, fill

SEED = 20_000  # far from the seeds of training
DRAWS = 5
Row = tuple[str, str]


class Towers:
    """Both graphs of a bundle; rows come out L2-normalised."""

    def __init__(self, bundle: Path):
        self.bundle = bundle
        self.manifest = tomllib.loads((bundle / "model.toml").read_text())
        self.size = self.manifest["vision"]["image_size"]
        self.vision = onnxruntime.InferenceSession(bundle / "vision.onnx")
        self.words = onnxruntime.InferenceSession(bundle / "text.onnx")
        self.tokenizer = Tokenizer.from_file(str(bundle / "tokenizer.json"))

    def pixel_values(self, pixels: np.ndarray) -> np.ndarray:
        mean, std = (np.float32(self.manifest["vision"][key]) for key in ("mean", "std"))
        return ((pixels.astype(np.float32) / 255 - mean) / std).transpose(0, 3, 1, 2)

    def images(self, pixels: np.ndarray) -> np.ndarray:
        """u8 [n, size, size, 3] -> [n, embedding_dim]."""
        parts = np.array_split(np.asarray(pixels), -(-len(pixels) // 250))
        return unit(np.concatenate([self.vision.run(None, {"pixel_values": self.pixel_values(part)})[0] for part in parts]))

    def texts(self, texts: Iterable[str]) -> np.ndarray:
        return unit(np.concatenate([self.words.run(None, {"input_ids": np.array([self.tokenizer.encode(t).ids])})[0] for t in texts]))

    def labels(self, names: list[str], templates: Iterable[str]) -> np.ndarray:
        """Ensembles over templates, [names, embedding_dim]."""
        return unit(sum(self.texts(fill(template, name) for name in names) for template in templates))


class Edgeclip(Towers):
    """The same, computed by the program in int8."""

    def __init__(self, bundle: Path, program: Path):
        super().__init__(bundle)
        self.program = program

    def embed(self, *arguments: str | Path) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "rows.npy"
            subprocess.run([self.program, "embed", "--precision", "int8", "--model", self.bundle, "--npy", file, *arguments], check=True)
            return np.load(file)

    def images(self, pixels: np.ndarray) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            for number, picture in enumerate(np.asarray(pixels)):
                Image.fromarray(picture).save(Path(folder) / f"{number:06}.png", compress_level=1)
            return self.embed(folder)

    def texts(self, texts: Iterable[str]) -> np.ndarray:
        return self.embed(*(word for text in texts for word in ("--text", text)))


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def hits(similarity: np.ndarray, truth: np.ndarray, top: int) -> float:
    """Share of rows whose true column is among the `top` best, in percent."""
    return 100 * float((np.argsort(-similarity, 1)[:, :top] == truth[:, None]).any(1).mean())


def among(similarity: np.ndarray, choices: int) -> float:
    """Share of pictures (row i shows column i) whose own column beats `choices` - 1 random others, in percent, mean of DRAWS draws."""
    rng = np.random.default_rng(SEED)
    right = []
    for _ in range(DRAWS):
        for i, row in enumerate(similarity):
            others = rng.choice(len(row) - 1, choices - 1, replace=False)
            right.append(row[i] > row[others + (others >= i)].max())
    return 100 * float(np.mean(right))


def auroc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Chance that a positive scores above a negative, ties half."""
    return float(((positive[:, None] > negative[None]).mean() + (positive[:, None] >= negative[None]).mean()) / 2)


def percent(value: float) -> str:
    return f"{value:.1f} %"


def photos(names: list[str], towers: Towers, images: np.ndarray, truth: np.ndarray) -> list[Row]:
    rows = []
    for title, templates in [(f'"{PLAIN}"', [PLAIN]), ("CLIP's seven templates", CLIP_SEVEN)]:
        similarity = images @ towers.labels(names, templates).T
        rows += [(f"tiny-imagenet val, 200 names, {title}: top-{top}", percent(hits(similarity, truth, top))) for top in (1, 5)]
    return rows


def linear_probe(images: np.ndarray, labels: np.ndarray, val: np.ndarray, truth: np.ndarray) -> list[Row]:
    """Logistic regression on the frozen embeddings of the training photographs."""
    torch.manual_seed(SEED)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    layer = torch.nn.Linear(x.shape[1], int(y.max()) + 1)
    steps = torch.optim.LBFGS(layer.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        steps.zero_grad()
        value = torch.nn.functional.cross_entropy(20 * layer(x), y) + 1e-4 * layer.weight.square().sum()
        value.backward()
        return value

    steps.step(loss)
    with torch.no_grad():
        return [("the same, by a linear probe on the image embeddings: top-1", percent(hits(layer(torch.from_numpy(val)).numpy(), truth, 1)))]


def retrieval(names: list[str], towers: Towers, images: np.ndarray, truth: np.ndarray) -> list[Row]:
    """Each class's name looks for its 50 pictures among all 10,000."""
    ranked = np.argsort(-(towers.labels(names, [PLAIN]) @ images.T), 1)
    right = truth[ranked] == np.arange(len(names))[:, None]
    precision = np.cumsum(right, 1) / np.arange(1, right.shape[1] + 1)
    return [
        ("text to image on val, 200 names among 10,000 pictures: precision of the first 10", percent(100 * right[:, :10].mean())),
        ("the same: mean average precision", percent(100 * float(((precision * right).sum(1) / right.sum(1)).mean()))),
    ]


def on_white(pixels: np.ndarray) -> np.ndarray:
    """RGBA [n, h, w, 4] -> RGB on white."""
    alpha = pixels[..., 3:].astype(float) / 255
    return (pixels[..., :3] * alpha + 255 * (1 - alpha)).round().astype(np.uint8)


def held_out_drawings(towers: Towers, work: Path, *, flags: bool) -> tuple[list[str], np.ndarray]:
    """Names, and the embeddings of the held-out style's drawings on white."""
    drawn = list(drawings.drawn(work / "drawings", (drawings.HELD_OUT_STYLE,), towers.size, flags=flags))
    return [sign.name for sign, _ in drawn], towers.images(on_white(np.stack([pixels for _, pixels in drawn])))


def emoji(towers: Towers, work: Path) -> list[Row]:
    names, images = held_out_drawings(towers, work, flags=False)
    similarity = images @ towers.labels(names, ["a drawing of a {}"]).T
    title = f"emoji of a style never seen ({drawings.HELD_OUT_STYLE}), {len(names)} pictures"
    return [
        (f"{title}: right name among 100", percent(among(similarity, 100))),
        (f"the same, among all {len(names)}: top-1", percent(hits(similarity, np.arange(len(names)), 1))),
        ("the same: top-5", percent(hits(similarity, np.arange(len(names)), 5))),
    ]


def flags(towers: Towers, work: Path) -> list[Row]:
    names, images = held_out_drawings(towers, work, flags=True)
    similarity = images @ towers.labels(names, ["{}"]).T
    return [(f"flags of that style, {len(names)} pictures: right country among 50", percent(among(similarity, 50)))]


def actions(towers: Towers) -> list[Row]:
    """People of new looks; a clip is eight frames of one action, its embedding their mean."""
    rng = random.Random(SEED)
    clips = [(who, action, rng.random()) for action in people.EVALUATED for who in (people.figure(rng) for _ in range(100))]
    frames = towers.images(np.stack([people.draw(who, action, start + i / 8, towers.size) for who, action, start in clips for i in range(8)]))
    frames = frames.reshape(len(clips), 8, -1)
    truth = np.array([people.EVALUATED.index(action) for _, action, _ in clips])
    labels = towers.texts(f"a person {action}" for action in people.EVALUATED)
    return [
        ("drawn people, 10 actions, one frame: top-1", percent(hits(frames[:, 0] @ labels.T, truth, 1))),
        ("drawn people, 10 actions, clips of 8 frames: top-1", percent(hits(unit(frames.mean(1)) @ labels.T, truth, 1))),
    ]


def shapes(towers: Towers) -> list[Row]:
    """One shape in one colour, drawn anew; asked for among all shapes in all colours."""
    names = [article(f"{colour} {shape}") for colour in scenes.COLOURS for shape in scenes.SHAPES]
    labels, rows = towers.texts(names), []
    for title, held_out in [("of pairs never drawn in training", True), ("of pairs drawn in training", False)]:
        rng, pixels, truth = random.Random(SEED), [], []
        for _ in range(1000):
            scene = scenes.Scene(rng, towers.size, held_out)
            scenes.one_shape(scene)
            pixels.append(scene.done())
            truth.append(next(i for i, name in enumerate(names) if name in scene.true))
        rows.append((f"one coloured shape {title}, {len(names)} colour-shape names: top-1", percent(hits(towers.images(np.stack(pixels)) @ labels.T, np.array(truth), 1))))
    return rows


def printed_words(towers: Towers) -> list[Row]:
    rng = random.Random(SEED)
    texts = rng.sample(words.vocabulary(held_out=True), 1000)
    images = towers.images(np.stack([words.picture(rng, text, towers.size) for text in texts]))
    similarity = images @ towers.texts(words.phrase(text) for text in texts).T
    return [("printed words never shown in training, of 2 to 8 letters: right word among 20", percent(among(similarity, 20)))]


def nothing(towers: Towers, names: list[str], photographs: np.ndarray, something: np.ndarray) -> list[Row]:
    """Empty pictures, photographs out of focus and table tops among them, against photographs: the softmax weight of "nothing"."""
    rng, kinds = random.Random(SEED), (*scenes.EMPTY_KINDS, scenes.HELD_OUT_EMPTY)
    empty = towers.images(np.stack([scenes.empty(rng, towers.size, photo, kinds)[0] for photo in photographs]))
    plain = towers.images(np.stack([scenes.empty(rng, towers.size, photo, kinds[-1:])[0] for photo in photographs]))
    labels = np.concatenate([towers.texts(["nothing"]), towers.labels(names, [PLAIN])])

    def weight(rows: np.ndarray) -> np.ndarray:
        logits = towers.manifest["logit_scale"] * rows @ labels.T
        return logits[:, 0] - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) - logits.max(1)

    return [
        ('"nothing" among the 200 names: empty pictures against photographs, AUROC', f"{auroc(weight(empty), weight(something)):.3f}"),
        ("the same, empty table tops alone, a kind never trained on: AUROC", f"{auroc(weight(plain), weight(something)):.3f}"),
    ]


def eight_bit(towers: Towers, engine: Towers, pixels: np.ndarray, images: np.ndarray) -> list[Row]:
    """How near int8 comes, and how uneven the channels are."""
    with tempfile.TemporaryDirectory() as folder:
        single = Path(folder) / "single.onnx"
        onnx.save(in_float(onnx.load(towers.bundle / "vision.onnx")), single)
        uneven = unevenness(single, towers.pixel_values(pixels[:64]))
    found = engine.images(pixels)
    cosine = (found * images).sum(1)
    centred = (unit(found - found.mean(0)) * unit(images - images.mean(0))).sum(1)
    return [
        ("cosine of int8 with float, mean and worst of 10,000 photographs", f"{cosine.mean():.4f}, {cosine.min():.4f}"),
        ("the same with the mean embedding taken off", f"{centred.mean():.4f}, {centred.min():.4f}"),
        ("widest channel at the input of a product, against the median channel of its tensor", f"{uneven:.1f} times"),
    ]


def in_float(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with its fp16 weights as float ones, without the casts."""
    halves = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in [n for n in model.graph.node if n.op_type == "Cast" and n.input[0] in halves]:
        tensor = halves[node.input[0]]
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), node.output[0]))
        model.graph.node.remove(node)
    return model


def unevenness(file: Path, pixel_values: np.ndarray) -> float:
    """The largest ratio, over all inputs of products, of the widest channel's largest value to the median channel's."""
    model = onnx.load(file)
    constants = {tensor.name for tensor in model.graph.initializer}
    weighted = [node for node in model.graph.node if node.op_type in ("MatMul", "Gemm", "Conv") and node.input[1] in constants]
    inputs = sorted({node.input[0] for node in weighted} - {"pixel_values"})
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inputs)
    values = onnxruntime.InferenceSession(model.SerializeToString()).run(inputs, {"pixel_values": pixel_values})
    ratios = []
    for value in values:
        channels = value.swapaxes(1, -1) if value.ndim == 4 else value
        largest = np.abs(channels).reshape(-1, channels.shape[-1]).max(0)
        ratios.append(float(largest.max() / np.median(largest)))
    return max(ratios)


def confusions(names: list[str], towers: Towers, images: np.ndarray, truth: np.ndarray, count: int) -> tuple[str, str]:
    """The pairs that are most often taken for each other, and the best and the worst classes."""
    guess = (images @ towers.labels(names, [PLAIN]).T).argmax(1)
    table = np.zeros((len(names), len(names)))
    np.add.at(table, (truth, guess), 1)
    table *= 100 / table.sum(1, keepdims=True)
    wrong = table - np.diag(np.diag(table))
    lines = ["| is | taken for | of its pictures |", "| --- | --- | --- |"]
    for flat in np.argsort(-wrong, None)[:count]:
        is_, taken = np.unravel_index(flat, wrong.shape)
        lines.append(f"| {names[is_]} | {names[taken]} | {wrong[is_, taken]:.0f} % |")
    order = np.argsort(-np.diag(table), kind="stable")
    best, worst = (", ".join(f"{names[i]} {table[i, i]:.0f} %" for i in part) for part in (order[:6], order[-6:]))
    return "\n".join(lines), f"Known best: {best}. Worst: {worst}."


def put(card: str, place: str, text: str) -> str:
    """The card with the text between a place's two marks."""
    return re.sub(rf"(<!-- {place} -->\n).*?(<!-- end of {place} -->)", lambda found: found[1] + text + "\n" + found[2], card, flags=re.S)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, default=captions.HERE, help="the bundle to measure; its CARD.md takes the tables")
    parser.add_argument("--edgeclip", type=Path, required=True, help="the program, built in release mode")
    args = parser.parse_args()
    towers, classes = Towers(args.bundle), captions.photo_classes()
    engine = Edgeclip(args.bundle, args.edgeclip.resolve())
    names = [c.names[0] for c in classes]
    pixels, truth = data.photos(args.data / "val.zip", classes, towers.size, args.work)
    known, labels = data.photos(args.data / "train.zip", classes, towers.size, args.work)
    images = towers.images(pixels)

    def tables(towers: Towers) -> list[Row]:
        images = towers.images(pixels)
        some = np.random.default_rng(SEED).permutation(len(pixels))
        rows = photos(names, towers, images, truth)
        rows += linear_probe(towers.images(known), labels, images, truth) + retrieval(names, towers, images, truth)
        rows += emoji(towers, args.work) + flags(towers, args.work) + shapes(towers) + printed_words(towers) + actions(towers)
        return rows + nothing(towers, names, pixels[np.sort(some[:1000])], images)

    both = zip(tables(towers), tables(engine), strict=True)
    lines = [f"| {name} | {value} | {by_engine} |" for (name, value), (_, by_engine) in both]
    lines += [f"| {name} | | {value} |" for name, value in eight_bit(towers, engine, pixels, images)]
    table = "\n".join(["| measured | float | int8 |", "| --- | --- | --- |", *lines])
    confused, extremes = confusions(names, towers, images, truth, 12)
    print(table, confused, extremes, sep="\n\n")
    card = args.bundle / "CARD.md"
    if card.exists():
        card.write_text(put(put(card.read_text(), "results", table), "confusions", f"{confused}\n\n{extremes}"))


if __name__ == "__main__":
    main()
