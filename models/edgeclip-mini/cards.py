"""Makes the demonstration kit: a printable sheet of picture cards, and what a camera would see of them.

`python models/edgeclip-mini/cards.py --work WORK` writes examples/cards/cards.svg and tests/data/cards/*.jpg.
The frames are made by other code than the training's augmentation: a textured desk, a card thrown on it at
an angle, lamp light, a soft lens, sensor noise, JPEG.
"""

import argparse
import io
import math
import random
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image, ImageFilter

import captions
from drawings import Style

ROOT = captions.HERE.parents[1]
SHEET, FRAMES = ROOT / "examples/cards/cards.svg", ROOT / "tests/data/cards"
DRAWN = {"a dog": "dog-face", "a cat": "cat-face", "a red apple": "red-apple", "a car": "automobile", "a house": "house", "a tree": "deciduous-tree", "a rocket": "rocket"}
COLUMNS, CARD_MM, GAP_MM, LINE_MM = 3, 56, 8, 9
PAGE_MM = (210, 297)
FRAME = (320, 240)
FRAMES_EACH, BLANK = 4, 8
SEED = 7


def polygon(points: list[tuple[float, float]], colour: str) -> str:
    return f'<polygon points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}" fill="{colour}"/>'


def star(x: float, y: float, r: float) -> list[tuple[float, float]]:
    radii = [r, 0.42 * r] * 5
    return [(x + radius * math.sin(math.pi * i / 5), y - radius * math.cos(math.pi * i / 5)) for i, radius in enumerate(radii)]


def cards(folder: Path) -> dict[str, str]:
    """Label and drawing of each card; a drawing fills 100 x 100 units."""
    noto = Style(folder, "noto")
    scale = 84 / noto.icons["width"]
    made = {label: f'<g transform="translate(8 8) scale({scale:.5f})">{noto.icons["icons"][icon]["body"]}</g>' for label, icon in DRAWN.items()}
    made["a red circle"] = '<circle cx="50" cy="50" r="32" fill="#d72323"/>'
    made["a blue star"] = polygon(star(50, 52, 40), "#2850d7")
    made["three green triangles"] = "".join(polygon([(x, y - 15), (x - 14, y + 11), (x + 14, y + 11)], "#28a03c") for x, y in ((50, 26), (24, 72), (76, 72)))
    made["the word STOP"] = '<text x="50" y="61" text-anchor="middle" font-family="DejaVu Sans, sans-serif" font-weight="bold" font-size="30" fill="#1a1a1a">STOP</text>'
    thirds = "".join(f'<rect x="{8 + 28 * i}" y="22" width="28.2" height="56" fill="{colour}"/>' for i, colour in enumerate(("#0055a4", "#ffffff", "#ef4135")))
    made["the flag of France"] = thirds + '<rect x="8" y="22" width="84" height="56" fill="none" stroke="#bbbbbb" stroke-width="0.5"/>'
    return made


def sheet(made: dict[str, str]) -> str:
    """The A4 page: cards with a line to cut along, each with its label below."""
    wide, high = PAGE_MM
    left = (wide - COLUMNS * CARD_MM - (COLUMNS - 1) * GAP_MM) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{wide}mm" height="{high}mm" viewBox="0 0 {wide} {high}" font-family="sans-serif">',
        "<!-- The drawings of animals and things are Noto Emoji's, by Google, Apache License 2.0; the rest is edgeclip's. -->",
        f'<rect width="{wide}" height="{high}" fill="white"/>',
    ]
    for number, (label, drawing) in enumerate(made.items()):
        x = left + (number % COLUMNS) * (CARD_MM + GAP_MM)
        y = 14 + (number // COLUMNS) * (CARD_MM + LINE_MM + GAP_MM / 2)
        # Drawings name their gradients, so each card is a picture of its own with names of its own.
        own = drawing.replace('id="', f'id="c{number}-').replace("url(#", f"url(#c{number}-").replace('href="#', f'href="#c{number}-')
        parts.append(f'<svg x="{x:.1f}" y="{y:.1f}" width="{CARD_MM}" height="{CARD_MM}" viewBox="0 0 100 100">{own}</svg>')
        parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{CARD_MM}" height="{CARD_MM}" fill="none" stroke="#999" stroke-width="0.2" stroke-dasharray="2 1.5"/>')
        parts.append(f'<text x="{x + CARD_MM / 2:.1f}" y="{y + CARD_MM + 5:.1f}" text-anchor="middle" font-size="4" fill="#555">{label}</text>')
    return "\n".join([*parts, "</svg>", ""])


def render(drawing: str, side: int) -> Image.Image:
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 100 100"><rect width="100" height="100" fill="white"/>{drawing}</svg>'
    return Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=side, height=side)))).convert("RGB")


def desk(rng: random.Random) -> Image.Image:
    """A table top or a wall: a colour with grain along one direction."""
    noise = np.random.default_rng(rng.getrandbits(32))
    colour = np.array(rng.choice([(150, 111, 70), (92, 64, 45), (201, 186, 160), (120, 125, 130), (225, 222, 214), (60, 66, 72), (110, 140, 120)]), float)
    grain = Image.fromarray(noise.integers(96, 160, (FRAME[1], 12), np.uint8)).resize(FRAME, Image.Resampling.BICUBIC)
    rows = colour + (np.asarray(grain, float)[..., None] - 128) * rng.uniform(0.1, 0.5)
    return Image.fromarray(np.clip(rows, 0, 255).astype(np.uint8))


def perspective(corners: list[tuple[float, float]], side: int) -> list[float]:
    """Pillow's eight coefficients, frame to card, for the card's corners in the frame (clockwise from the upper left)."""
    rows, values = [], []
    for (x, y), (u, v) in zip(corners, ((0, 0), (side, 0), (side, side), (0, side))):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return list(np.linalg.solve(np.array(rows), np.array(values)))


def lay(rng: random.Random, card: Image.Image, table: Image.Image) -> Image.Image:
    """The card on the table: turned, tilted, 62 to 92 % of the frame's height."""
    side, size, turn = card.width, FRAME[1] * rng.uniform(0.62, 0.92), rng.gauss(0, 0.12)
    x, y = FRAME[0] / 2 + rng.gauss(0, 8), FRAME[1] / 2 + rng.gauss(0, 6)
    corners = []
    for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
        u, v = a * math.cos(turn) - b * math.sin(turn), a * math.sin(turn) + b * math.cos(turn)
        corners.append((x + size / 2 * u + rng.gauss(0, 5), y + size / 2 * v + rng.gauss(0, 5)))
    coefficients = perspective(corners, side)
    seen = card.transform(FRAME, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BICUBIC)
    mask = Image.new("L", card.size, 255).transform(FRAME, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR)
    return Image.composite(seen, table, mask)


def expose(rng: random.Random, picture: Image.Image) -> Image.Image:
    """Lamp light from one side, a colour cast, a soft lens and sensor noise."""
    noise = np.random.default_rng(rng.getrandbits(32))
    pixels = np.asarray(picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.6))), float)
    across, down = np.linspace(-1, 1, FRAME[0])[None, :], np.linspace(-1, 1, FRAME[1])[:, None]
    angle = rng.uniform(0, 2 * math.pi)
    light = rng.uniform(0.55, 1.05) * (1 + rng.uniform(0.05, 0.3) * (across * math.cos(angle) + down * math.sin(angle)))
    cast = np.array([rng.gauss(1, 0.05) for _ in range(3)])
    pixels = pixels * light[..., None] * cast + noise.normal(0, rng.uniform(2, 9), pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def blank(rng: random.Random) -> Image.Image:
    """A desk without a card, a card without a picture, or next to no light."""
    kind = rng.randrange(3)
    table = desk(rng)
    if kind == 1:
        table = lay(rng, Image.new("RGB", (400, 400), (250, 250, 250)), table)
    if kind == 2:
        table = Image.eval(table, lambda v: v // 16)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    args = parser.parse_args()
    made, rng = cards(args.work / "drawings"), random.Random(SEED)
    SHEET.parent.mkdir(parents=True, exist_ok=True)
    FRAMES.mkdir(parents=True, exist_ok=True)
    SHEET.write_text(sheet(made))
    for old in FRAMES.glob("*.jpg"):
        old.unlink()
    for label, drawing in made.items():
        card = render(drawing, 400)
        for number in range(FRAMES_EACH):
            expose(rng, lay(rng, card, desk(rng))).save(FRAMES / f"{label.replace(' ', '_')}-{number}.jpg", quality=75)
    for number in range(BLANK):
        expose(rng, blank(rng)).save(FRAMES / f"blank-{number}.jpg", quality=75)


if __name__ == "__main__":
    main()
