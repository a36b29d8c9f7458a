"""Check `models/export.py` on checkpoints: from what save_pretrained writes to a bundle, in one command.

Run from the repository root: python tests/golden/export_check.py --edgeclip target/release/edgeclip

A narrow CLIPModel and a narrow SiglipModel with random weights are saved with their tokenizers and processors and exported
by that command; edgeclip's embeddings, scale and bias are compared with the PyTorch model's own. Ends with 1 where a cosine
is below 0.9999. Needs models/requirements.txt.
"""

import argparse
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import numpy as np
import torch
from PIL import Image

MODELS = Path(__file__).parents[2] / "models"
sys.path.insert(0, str(MODELS))
from checkpoints import randomised  # noqa: E402
from export import quiet, write_configs  # noqa: E402
from families import FAMILIES  # noqa: E402
from reference import pixel_values, tokens  # noqa: E402
from support import embedded  # noqa: E402

PICTURES = sorted(Path("tests/data/families/pictures").glob("*.png"))
TEXTS = ["a photo of a cat", "it's 3 green apples, on a table!", "Wooden BOAT", "striped umbrella"]
CHECKED = ("clip-vit-b-32", "siglip-base-16-224")
LEAST = 0.9999


def save(name: str, checkpoint: Path) -> torch.nn.Module:
    """A checkpoint as fine-tuning with transformers leaves it."""
    family = FAMILIES[name]
    tokenizer = write_configs(family, checkpoint, narrow=True, tokenizer=None)
    model = randomised(family, True, tokenizer).source
    with torch.no_grad():
        model.logit_scale.fill_(3.0)  # no default of any file
    model.save_pretrained(checkpoint)
    return model


@torch.no_grad()
def own(model: torch.nn.Module, checkpoint: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The model's own embeddings of pictures and texts, of unit length."""
    pixels = torch.from_numpy(pixel_values(checkpoint, [Image.open(file).convert("RGB") for file in PICTURES]))
    ids = {key: torch.from_numpy(value) for key, value in tokens(checkpoint, FAMILIES[name], TEXTS).items()}
    rows = model.get_image_features(pixel_values=pixels), model.get_text_features(**ids)
    return tuple(torch.nn.functional.normalize(side).numpy() for side in rows)


def check(name: str, program: Path, scratch: Path) -> bool:
    checkpoint, out, bundle = scratch / "checkpoint", scratch / "out", scratch / "bundle"
    model = save(name, checkpoint)
    subprocess.run([sys.executable, MODELS / "export.py", checkpoint, out, "--edgeclip", program, "--bundle", bundle], check=True)
    image, text = own(model, checkpoint, name)
    found = embedded(program, bundle, "float", PICTURES), embedded(program, bundle, "float", [part for one in TEXTS for part in ("--text", one)])
    cosines = [float((ours * theirs).sum(1).min()) for ours, theirs in zip(found, (image, text))]
    manifest, bias = tomllib.loads((bundle / "model.toml").read_text()), getattr(model, "logit_bias", torch.zeros(1)).item()
    scores = manifest["logit_scale"], manifest["logit_bias"]
    print(f"{name}: pictures {cosines[0]:.6f}, texts {cosines[1]:.6f}, scale and bias {scores}", flush=True)
    return min(cosines) >= LEAST and np.allclose(scores, (np.exp(3.0), bias), atol=1e-3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edgeclip", type=Path, required=True)
    args = parser.parse_args()
    quiet()
    fine = True
    for name in CHECKED:
        with tempfile.TemporaryDirectory() as scratch:
            fine &= check(name, args.edgeclip.resolve(), Path(scratch))
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
