"""Embeddings by ONNX Runtime, of pictures and texts that the library of each family prepares: what edgeclip is compared with."""

import gzip
import json
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import open_clip
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer, PreTrainedTokenizerFast, SiglipTokenizer

from families import Family

# Inputs that a session gets at a time.
BATCH = 8
# Outputs that hold embeddings, best first.
IMAGES, TEXTS = ("image_embeds", "pooler_output"), ("text_embeds", "pooler_output")


def picture(size: tuple[int, int], blotches: int, colour: tuple[float, ...], seed: int) -> Image.Image:
    """Coloured blotches on one colour."""
    width, height = size
    chance = np.random.default_rng(seed)
    small = chance.normal(0, 0.3, (max(2, blotches * height // max(size)), max(2, blotches * width // max(size)), 3)) + colour
    return Image.fromarray((small.clip(0, 1) * 255).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)


def pixel_values(folder: Path, pictures: list[Image.Image]) -> np.ndarray:
    """[n, 3, size, size], as the family's library makes them."""
    config = folder / "open_clip_config.json"
    if not config.exists():
        processor = AutoImageProcessor.from_pretrained(folder, use_fast=False)
        return processor(pictures, return_tensors="np")["pixel_values"]
    config = json.loads(config.read_text())
    cfg = config["preprocess_cfg"]
    transform = open_clip.image_transform(config["model_cfg"]["vision_cfg"]["image_size"], False, cfg["mean"], cfg["std"], cfg["resize_mode"], cfg["interpolation"])
    return np.stack([transform(one).numpy() for one in pictures])


def tokens(folder: Path, family: Family, texts: list[str]) -> dict[str, np.ndarray]:
    """Inputs of the text tower, [n, tokens], as the family's library makes them."""
    if family.kind == "open_clip":
        return {"input_ids": open_clip_tokens(folder, family, texts)}
    padding = {"padding": "max_length", "max_length": family.text_length, "truncation": True} if family.text_length else {"padding": True}
    if family.vocabulary != "siglip":
        return dict(AutoTokenizer.from_pretrained(folder)(texts, return_tensors="np", **padding))
    fast = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), pad_token="</s>", eos_token="</s>", unk_token="<unk>")
    made = dict(fast(texts, return_tensors="np", return_token_type_ids=False, return_attention_mask=False, **padding))
    slow = SiglipTokenizer(str(folder / "spiece.model"))(texts, return_tensors="np", return_attention_mask=False, **padding)
    assert (made["input_ids"] == slow["input_ids"]).all(), "the fast tokenizer differs from transformers' own slow one"
    return made


def open_clip_tokens(folder: Path, family: Family, texts: list[str]) -> np.ndarray:
    """By open_clip's own tokenizer, from the merges of the folder's tokenizer.json."""
    merges = json.loads((folder / "tokenizer.json").read_text())["model"]["merges"]
    lines = ["#version: 0.2", *(merge if isinstance(merge, str) else " ".join(merge) for merge in merges)]
    with tempfile.NamedTemporaryFile(suffix=".txt.gz") as file:
        file.write(gzip.compress("\n".join(lines).encode()))
        file.flush()
        tokenizer = open_clip.tokenizer.SimpleTokenizer(file.name, context_length=family.text_length)
    return tokenizer(texts).numpy()


def run(file: Path, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A graph's outputs, by name, for those of the inputs that it takes."""
    session = onnxruntime.InferenceSession(file)
    wanted = {port.name: inputs[port.name] for port in session.get_inputs()}
    names, rows = [port.name for port in session.get_outputs()], len(next(iter(wanted.values())))
    parts = [session.run(None, {name: value[at : at + BATCH] for name, value in wanted.items()}) for at in range(0, rows, BATCH)]
    return {name: np.concatenate(values) for name, values in zip(names, zip(*parts))}


def embeddings(graphs: Path, inputs: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Of pictures and texts, of unit length; and the logits of a graph of both, as many texts as pictures at a time."""
    if file := next(graphs.glob("model*.onnx"), None):
        outputs = run(file, inputs)
        text = unit(outputs, "text_embeds") if "text_embeds" in outputs else None
        return unit(outputs, *IMAGES), text, outputs.get("logits_per_image")
    image, text = (run(next(graphs.glob(f"{name}_model*.onnx")), inputs) for name in ("vision", "text"))
    return unit(image, *IMAGES), unit(text, *TEXTS), None


def unit(outputs: dict[str, np.ndarray], *names: str) -> np.ndarray:
    """The first of these outputs that is there, of unit length."""
    rows = next(outputs[name] for name in names if name in outputs)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def scores(folder: Path, image: np.ndarray, text: np.ndarray, products: np.ndarray | None) -> tuple[float, float]:
    """Scale and bias of the logits: as a graph's own logits show them, or else of the configuration."""
    if products is not None:
        scale, bias = np.polyfit((image @ text.T).ravel(), products.ravel(), 1)
        return float(scale), float(bias)
    file = next(path for name in ("config.json", "open_clip_config.json") if (path := folder / name).exists())
    config = json.loads(file.read_text())
    return config["logit_scale"], config.get("logit_bias", 0.0)


def alike(rows: np.ndarray) -> float:
    """The largest cosine between two different rows."""
    return float((rows @ rows.T - 2 * np.eye(len(rows))).max())
