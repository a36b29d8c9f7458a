"""Make tests/data/mini-embeddings.json: the built-in model's embeddings by ONNX Runtime.

Run from the repository root, after models/edgeclip-mini has changed:
python tests/golden/embeddings.py

Pictures go through Pillow (shorter edge to the model's size by bicubic, middle cut out) and the
model's mean and deviation; texts through `tokenizers`. The embeddings are L2-normalised.
"""

import json
import tomllib
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps
from tokenizers import Tokenizer

MODEL = Path("models/edgeclip-mini")
OUT = Path("tests/data/mini-embeddings.json")
PICTURES = [
    *sorted(Path("examples/images").glob("*.jpg")),
    *sorted(Path("examples/images").glob("*.png")),
    *sorted(Path("tests/data/preprocess").glob("rgb-[2-6]*x*.png")),
    *(Path("tests/data/preprocess") / name for name in ("grey-61x37.png", "palette-61x37.png", "lossless.webp", "rows-padded.bmp")),
]
TEXTS = [
    "a photo of a cat", "a cat", "cat", "a photo of an orange", "three red circles", "an empty picture", "nothing",
    "a red circle to the left of a blue square", "a photo of a cup of coffee", "an emoji of a rocket", "a", "",
    "a very long description of a golden retriever and a tabby cat asleep on a red sofa",
    "Ünïcödé & 日本語 🚀", "the word 42!",
]  # fmt: skip


def unit(rows: np.ndarray) -> list[list[float]]:
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return [[round(float(v), 6) for v in row] for row in rows]


def pixel_values(path: Path, vision: dict) -> np.ndarray:
    """[3, size, size] f32, by transformers' rounding: the long side and the crop's offset round down."""
    size = vision["image_size"]
    picture = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    short = min(picture.size)
    picture = picture.resize(tuple(size if side == short else size * side // short for side in picture.size), Image.Resampling.BICUBIC)
    left, top = ((side - size) // 2 for side in picture.size)
    pixels = np.asarray(picture.crop((left, top, left + size, top + size)), np.float32) / 255
    return ((pixels - np.float32(vision["mean"])) / np.float32(vision["std"])).transpose(2, 0, 1)


def main() -> None:
    manifest = tomllib.loads((MODEL / "model.toml").read_text())
    image_tower = onnxruntime.InferenceSession(MODEL / "vision.onnx")
    text_tower = onnxruntime.InferenceSession(MODEL / "text.onnx")
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    pictures, texts = [], []
    for path in PICTURES:
        pixels = pixel_values(path, manifest["vision"])[None]
        pictures.append({"path": path.as_posix(), "embedding": unit(image_tower.run(None, {"pixel_values": pixels})[0])[0]})
    for text in TEXTS:
        ids = np.array([tokenizer.encode(text).ids])
        assert ids.size <= manifest["text"]["context_length"], text
        texts.append({"text": text, "embedding": unit(text_tower.run(None, {"input_ids": ids})[0])[0]})
    lines = [json.dumps({"pictures": pictures, "texts": texts}, ensure_ascii=False)]
    OUT.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
