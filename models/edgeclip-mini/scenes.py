"""Drawn scenes and empty pictures: shapes, colours, counts, positions, and nothing at all."""

import math
import random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from captions import article

COLOURS = {
    "red": (215, 35, 35),
    "orange": (245, 135, 20),
    "yellow": (245, 220, 40),
    "green": (40, 160, 60),
    "blue": (40, 80, 215),
    "purple": (125, 50, 170),
    "pink": (245, 140, 185),
    "brown": (125, 75, 40),
    "black": (15, 15, 15),
    "white": (248, 248, 248),
    "grey": (130, 130, 130),
}
SHAPES = ("circle", "square", "triangle", "rectangle", "star", "cross", "heart", "diamond", "hexagon", "ring")
COUNTS = {2: "two", 3: "three", 4: "four", 5: "five"}
NOTHING = ("nothing", "an empty picture", "a blank picture", "an empty background")
EMPTY_KINDS, HELD_OUT_EMPTY = ("flat", "shaded", "noise", "dark", "blur"), "grain"
OVERSAMPLE = 2
# Two shapes in each colour are never drawn in training, so that a pair of known parts can be asked for as a new one.
HELD_OUT_PAIRS = frozenset((colour, SHAPES[(3 * i + 5 * k) % len(SHAPES)]) for i, colour in enumerate(COLOURS) for k in range(2))


def plural(shape: str) -> str:
    return shape + ("es" if shape.endswith("ss") else "s")


def outline(shape: str, cx: float, cy: float, r: float, turn: float) -> list[tuple[float, float]]:
    """Corners of a shape of radius r around (cx, cy), turned by `turn` radians."""

    def ring(n: int, radii: tuple[float, ...] = (1.0,), start: float = -math.pi / 2) -> list[tuple[float, float]]:
        step = 2 * math.pi / n
        return [(radii[i % len(radii)] * math.cos(start + i * step), radii[i % len(radii)] * math.sin(start + i * step)) for i in range(n)]

    if shape == "square":
        points = ring(4, start=math.pi / 4)
    elif shape == "rectangle":
        points = [(-1, -0.5), (1, -0.5), (1, 0.5), (-1, 0.5)]
    elif shape == "triangle":
        points = ring(3)
    elif shape == "star":
        points = ring(10, (1.0, 0.42))
    elif shape == "diamond":
        points = [(0, -1), (0.62, 0), (0, 1), (-0.62, 0)]
    elif shape == "hexagon":
        points = ring(6)
    elif shape == "cross":
        a = 0.32
        points = [(-a, -1), (a, -1), (a, -a), (1, -a), (1, a), (a, a), (a, 1), (-a, 1), (-a, a), (-1, a), (-1, -a), (-a, -a)]
    elif shape == "heart":
        turns = [2 * math.pi * i / 40 for i in range(40)]
        points = [(math.sin(t) ** 3, -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 16) for t in turns]
    else:
        points = ring(40)
    c, s = math.cos(turn), math.sin(turn)
    return [(cx + r * (x * c - y * s), cy + r * (x * s + y * c)) for x, y in points]


class Scene:
    """A picture being drawn, together with every phrase that is true of it."""

    def __init__(self, rng: random.Random, size: int, held_out: bool = False):
        self.rng, self.held_out = rng, held_out
        self.size = size * OVERSAMPLE
        self.restart()
        self.true: set[str] = set()
        self.wrong: list[str] = []

    def restart(self) -> None:
        """A new ground."""
        self.ground = self.rng.choice(list(COLOURS))
        self.picture = Image.new("RGB", (self.size, self.size), self.tint(self.ground))
        self.draw = ImageDraw.Draw(self.picture)

    def tint(self, colour: str) -> tuple[int, int, int]:
        """A colour as a camera might see it: near the named one."""
        return tuple(min(255, max(0, v + self.rng.randint(-14, 14))) for v in COLOURS[colour])

    def ink(self, shape: str) -> str:
        """A colour that stands out from the ground, and that the shape may have."""
        ground = np.array(COLOURS[self.ground])
        inks = [c for c, rgb in COLOURS.items() if np.abs(ground - np.array(rgb)).sum() > 120]
        return self.rng.choice([c for c in inks if ((c, shape) in HELD_OUT_PAIRS) == self.held_out])

    def put(self, shape: str, colour: str, cx: float, cy: float, r: float) -> None:
        """Draws one shape; centre and radius in parts of the side."""
        turn = self.rng.gauss(0, 0.12)
        corners = outline(shape, cx * self.size, cy * self.size, r * self.size, turn)
        self.draw.polygon(corners, fill=self.tint(colour))
        if shape == "ring":
            self.draw.polygon(outline("circle", cx * self.size, cy * self.size, r * self.size * 0.6, 0), fill=self.tint(self.ground))

    def done(self) -> np.ndarray:
        side = self.size // OVERSAMPLE
        return np.asarray(self.picture.resize((side, side), Image.Resampling.BOX))


def chosen(scene: Scene) -> tuple[random.Random, str, str]:
    """The draws of a scene, a shape and its colour."""
    while True:
        shape = scene.rng.choice(SHAPES)
        try:
            return scene.rng, shape, scene.ink(shape)
        except IndexError:  # no held-out colour of this shape stands out from the ground
            scene.restart()


def others(rng: random.Random, colour: str, shape: str) -> tuple[str, str]:
    """Another colour for the shape and another shape in the colour, for captions that are nearly true.

    Held-out pairs are left out: what is only ever a wrong caption would be learned as never true.
    """
    colours = [c for c in COLOURS if c != colour and (c, shape) not in HELD_OUT_PAIRS]
    return rng.choice(colours), rng.choice([s for s in SHAPES if s != shape and (colour, s) not in HELD_OUT_PAIRS])


def one_shape(scene: Scene) -> str:
    rng, shape, colour = chosen(scene)
    scene.put(shape, colour, rng.uniform(0.38, 0.62), rng.uniform(0.38, 0.62), rng.uniform(0.18, 0.38))
    plain = article(f"{colour} {shape}")
    on_ground = f"{plain} on {article(scene.ground)} background"
    scene.true |= {plain, article(shape), f"something {colour}", on_ground, article(f"{colour} shape")}
    other_colour, other_shape = others(rng, colour, shape)
    scene.wrong += [article(f"{other_colour} {shape}"), article(f"{colour} {other_shape}")]
    return rng.choice([plain, plain, plain, article(shape), f"something {colour}", on_ground])


def several(scene: Scene) -> str:
    (rng, shape, colour), count = chosen(scene), scene.rng.choice(list(COUNTS))
    cells = rng.sample([(x, y) for x in (0.2, 0.5, 0.8) for y in (0.2, 0.5, 0.8)], count)
    for x, y in cells:
        scene.put(shape, colour, x + rng.uniform(-0.04, 0.04), y + rng.uniform(-0.04, 0.04), rng.uniform(0.1, 0.14))
    many = plural(shape)
    full = f"{COUNTS[count]} {colour} {many}"
    (other_colour, other_shape), other_count = others(rng, colour, shape), rng.choice([c for n, c in COUNTS.items() if n != count])
    scene.wrong += [f"{other_count} {colour} {many}", f"{COUNTS[count]} {other_colour} {many}", f"{COUNTS[count]} {colour} {plural(other_shape)}"]
    scene.true |= {full, f"{COUNTS[count]} {many}", f"{colour} {many}", many, f"{COUNTS[count]} {colour} shapes"}
    return rng.choice([full, full, f"{COUNTS[count]} {many}", f"{colour} {many}", f"{COUNTS[count]} {colour} shapes"])


PLACES = {"on the left": (0.2, 0.5), "on the right": (0.8, 0.5), "at the top": (0.5, 0.2), "at the bottom": (0.5, 0.8), "in the middle": (0.5, 0.5)}


def placed(scene: Scene) -> str:
    rng, shape, colour = chosen(scene)
    where, (x, y) = rng.choice(list(PLACES.items()))
    scene.put(shape, colour, x, y, rng.uniform(0.12, 0.18))
    plain = article(f"{colour} {shape}")
    scene.wrong += [f"{plain} {rng.choice([p for p in PLACES if p != where])}"]
    scene.true |= {plain, article(shape), f"{plain} {where}", f"{article(shape)} {where}", f"something {colour}"}
    return rng.choice([f"{plain} {where}", f"{plain} {where}", f"{article(shape)} {where}"])


def pair(scene: Scene) -> str:
    rng = scene.rng
    shape_a, shape_b = rng.sample(SHAPES, 2)
    colour_a, colour_b = scene.ink(shape_a), scene.ink(shape_b)
    a, b = article(f"{colour_a} {shape_a}"), article(f"{colour_b} {shape_b}")
    upright = rng.random() < 0.5
    first, second = ((0.5, 0.25), (0.5, 0.75)) if upright else ((0.25, 0.5), (0.75, 0.5))
    scene.put(shape_a, colour_a, *first, rng.uniform(0.14, 0.2))
    scene.put(shape_b, colour_b, *second, rng.uniform(0.14, 0.2))
    before, after = ("above", "below") if upright else ("to the left of", "to the right of")
    full = [f"{a} {before} {b}", f"{b} {after} {a}"]
    both = [f"{a} and {b}", f"{b} and {a}"]
    if colour_a != colour_b:
        scene.wrong.append(f"{b} {before} {a}")
        if not HELD_OUT_PAIRS & {(colour_b, shape_a), (colour_a, shape_b)}:
            scene.wrong.append(f"{article(f'{colour_b} {shape_a}')} and {article(f'{colour_a} {shape_b}')}")
    scene.true |= {a, b, article(shape_a), article(shape_b), *full, *both}
    return rng.choice(full + both)


def empty(rng: random.Random, size: int, photo: np.ndarray, kinds: tuple[str, ...] = EMPTY_KINDS) -> tuple[np.ndarray, str, set[str]]:
    """A picture that shows nothing: flat, shaded, noisy, dark, or a photo blurred beyond reading; a table top where asked for."""
    kind = rng.choice(kinds)
    noise = np.random.default_rng(rng.getrandbits(32))
    true = set(NOTHING)
    colour = rng.choice(list(COLOURS))
    rgb = np.array(COLOURS[colour], float)
    if kind == "flat":
        pixels = np.broadcast_to(rgb, (size, size, 3))
        caption = rng.choice([f"a plain {colour} wall", f"a blank {colour} picture"])
        true |= {f"a plain {colour} wall", f"a blank {colour} picture"}
    elif kind == "shaded":
        ramp = np.linspace(rng.uniform(0.3, 0.9), 1.1, size)[:, None, None]
        pixels = np.rot90(np.broadcast_to(rgb * ramp, (size, size, 3)), rng.randrange(4))
        caption = "an empty background"
    elif kind == "grain":
        across, along = rng.randint(size // 2, size), rng.randint(2, 12)
        fibres = Image.fromarray(noise.integers(0, 256, (across, along), np.uint8)).resize((size, size), Image.Resampling.BICUBIC)
        pixels = rgb * rng.uniform(0.5, 1.0) + (np.asarray(fibres, float)[..., None] - 128) * rng.uniform(0.05, 0.3)
        pixels = np.rot90(pixels, rng.randrange(2))
        caption = "an empty table"
        true.add(caption)
    elif kind == "noise":
        pixels = noise.normal(rng.uniform(90, 160), rng.uniform(20, 70), (size, size, 3 if rng.random() < 0.5 else 1)) + np.zeros(3)
        caption = rng.choice(["random noise", "a noisy picture of nothing"])
        true |= {"random noise", "a noisy picture of nothing"}
    elif kind == "dark":
        pixels = noise.normal(rng.uniform(0, 14), 4, (size, size, 1)) + np.zeros(3)
        caption = rng.choice(["darkness", "a completely dark picture"])
        true |= {"darkness", "a completely dark picture"}
    else:
        blurred = Image.fromarray(photo).resize((size, size)).filter(ImageFilter.GaussianBlur(rng.uniform(9, 14)))
        pixels = np.asarray(blurred, float)
        caption = rng.choice(["a blurry picture of nothing", "a picture out of focus"])
        true |= {"a blurry picture of nothing", "a picture out of focus"}
    caption = rng.choice([caption, *NOTHING])
    return np.clip(pixels, 0, 255).astype(np.uint8), caption, true


def scene(rng: random.Random, size: int) -> tuple[Scene, str, bool]:
    """One drawn scene, its caption, and whether it may be mirrored."""
    kind = rng.choice([one_shape, one_shape, several, placed, pair])
    drawing = Scene(rng, size)
    caption = kind(drawing)
    return drawing, caption, kind in (one_shape, several)
