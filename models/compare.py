"""How near edgeclip's embeddings of pictures are to ONNX Runtime's, in float and in int8, for any bundle.

    python models/compare.py BUNDLE PICTURES --edgeclip target/release/edgeclip

PICTURES is a folder of PNG files (JPEG decoders differ by a few grey levels), some dozens of different things. Ends with 1 where a cosine is below the
limits, with the mean embedding taken off or not, or where a picture is nearer to another one's embedding than to its
own. Needs onnxruntime, numpy and Pillow (tests/golden/requirements.txt).
"""

import argparse
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

# Least cosine to ONNX Runtime, and with the mean embedding taken off both.
LIMITS = {"float": (0.999, 0.999), "int8": (0.995, 0.98)}


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def reference(bundle: Path, files: list[Path]) -> np.ndarray:
    """By Pillow and ONNX Runtime, for bundles whose pictures are resized by their shortest edge with the bicubic filter."""
    vision = tomllib.loads((bundle / "model.toml").read_text())["vision"]
    assert (vision["resize"], vision["filter"]) == ("shortest-edge", "bicubic"), "another rule than this script knows"
    size, mean, std = vision["image_size"], np.float32(vision["mean"]), np.float32(vision["std"])
    session = onnxruntime.InferenceSession(bundle / vision["file"])
    rows = []
    for file in files:
        picture = ImageOps.fit(ImageOps.exif_transpose(Image.open(file)).convert("RGB"), (size, size), Image.Resampling.BICUBIC)
        values = ((np.asarray(picture, np.float32) / 255 - mean) / std).transpose(2, 0, 1)[None]
        rows.append(session.run(None, {session.get_inputs()[0].name: values})[0][0])
    return unit(np.stack(rows))


def embedded(program: Path, bundle: Path, files: list[Path], precision: str) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.npy"
        subprocess.run([program, "embed", "--model", bundle, "--precision", precision, "--npy", rows, *files], check=True)
        return np.load(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--edgeclip", type=Path, required=True)
    args = parser.parse_args()
    files = sorted(args.pictures.glob("*.png"))
    wanted = reference(args.bundle, files)
    centred = unit(wanted - wanted.mean(0))
    between = (wanted @ wanted.T)[~np.eye(len(files), dtype=bool)]
    print(f"{len(files)} pictures, cosine between two of them: mean {between.mean():.3f}, largest {between.max():.3f}")
    fine = True
    for precision, (least, least_centred) in LIMITS.items():
        found = embedded(args.edgeclip.resolve(), args.bundle, files, precision)
        found_centred = unit(found - found.mean(0))
        cosine, cosine_centred = (found * wanted).sum(1), (found_centred * centred).sum(1)
        own = bool(((found_centred @ centred.T).argmax(1) == np.arange(len(files))).all())
        fine &= own and cosine.min() >= least and cosine_centred.min() >= least_centred
        print(f"{precision}: worst {cosine.min():.5f}, centred {cosine_centred.min():.5f}; each nearest to its own: {'yes' if own else 'NO'}")
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
