"""Drawn people doing things: jointed figures in clothes, moved through an action."""

import math
import random
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from scenes import COLOURS

ACTIONS = (
    "walking", "running", "jumping", "waving", "sitting", "lying down", "dancing", "kicking a ball", "lifting weights", "standing still", "crawling", "cycling",
)  # fmt: skip
# The ten of the evaluation: what a single frame can show.
EVALUATED = ("walking", "running", "jumping", "waving", "sitting", "lying down", "kicking a ball", "lifting weights", "crawling", "cycling")
SYNONYMS = {
    "walking": ("on a walk",), "running": ("jogging",), "jumping": ("leaping",), "waving": ("waving a hand", "saying hello"), "sitting": ("sitting on a chair",),
    "lying down": ("sleeping", "lying on the floor"), "lifting weights": ("lifting a barbell",), "standing still": ("standing",), "crawling": ("on hands and knees",),
    "cycling": ("riding a bicycle", "on a bike"), "kicking a ball": ("playing football",), "dancing": (),
}  # fmt: skip
WHO = ("a person", "a person", "someone", "a human", "a figure")
OVERSAMPLE = 2
SKINS = ((255, 219, 172), (241, 194, 125), (224, 172, 105), (198, 134, 66), (141, 85, 36), (90, 56, 37))


@dataclass(frozen=True)
class Pose:
    """Angles in degrees, 0 pointing down, positive to the front: torso lean, then (upper, lower) of each limb; place of the hip in body lengths."""

    lean: float
    arms: tuple[tuple[float, float], tuple[float, float]]
    legs: tuple[tuple[float, float], tuple[float, float]]
    hip: tuple[float, float] = (0.0, 0.0)


def swing(phase: float, size: float) -> float:
    return size * math.sin(2 * math.pi * phase)


def pose(action: str, phase: float) -> Pose:
    """Where the limbs are at a phase 0..1 of the action's cycle."""
    s = swing(phase, 1.0)
    c = swing(phase + 0.25, 1.0)
    if action == "walking":
        return Pose(4, ((24 * s, 24 * s + 12), (-24 * s, -24 * s + 12)), ((-26 * s, -26 * s - 14 * max(0, c)), (26 * s, 26 * s - 14 * max(0, -c))))
    if action == "running":
        return Pose(
            16, ((55 * s, 55 * s + 85), (-55 * s, -55 * s + 85)), ((-52 * s + 12, -52 * s - 10 - 70 * max(0, c)), (52 * s + 12, 52 * s - 10 - 70 * max(0, -c))),
            (0, 0.05 * abs(s)),
        )  # fmt: skip
    if action == "jumping":
        rise = abs(s)
        return Pose(4, ((150, 165), (-150, -165)), ((28 + 10 * rise, -40), (-28 - 10 * rise, -75)), (0, 0.22 + 0.2 * rise))
    if action == "waving":
        return Pose(0, ((150 + 8 * s, 165 + 35 * s), (-8, -4)), ((6, 3), (-6, -3)))
    if action == "sitting":
        return Pose(-3, ((25, 65 + 3 * s), (20, 60)), ((85, 2), (78, -2)), (-0.1, -0.36))
    if action == "lying down":
        return Pose(90, ((84 + 2 * s, 88), (96, 100)), ((-88, -88), (-94, -92)), (0, -0.72))
    if action == "dancing":
        return Pose(10 * s, ((110 + 40 * s, 170 + 30 * c), (-110 + 40 * s, -170 + 30 * c)), ((30 + 12 * s, -12 + 10 * s), (-30 + 12 * s, 12 + 10 * s)), (0.05 * s, 0.03 * abs(c)))
    if action == "kicking a ball":
        kick = 0.5 + 0.5 * s
        return Pose(-14 * kick, ((-45, -30), (60, 75)), ((-25 + 100 * kick, -60 + 130 * kick), (-8, -12)))
    if action == "lifting weights":
        up = 0.5 + 0.5 * s
        return Pose(0, ((115 + 60 * up, 178), (-115 - 60 * up, -178)), ((20, 6), (-20, -6)), (0, -0.03 * (1 - up)))
    if action == "crawling":
        return Pose(80, ((5 + 18 * s, 0 + 18 * s), (5 - 18 * s, 0 - 18 * s)), ((8 - 14 * s, -86), (8 + 14 * s, -86)), (-0.2, -0.5))
    if action == "cycling":
        return Pose(42, ((62, 78), (58, 74)), ((52 + 24 * s, -12 + 20 * c), (52 - 24 * s, -12 - 20 * c)), (-0.12, -0.05))
    return Pose(0, ((5 + s, 4), (-5 - s, -4)), ((5, 3), (-5, -3)))


@dataclass(frozen=True)
class Figure:
    """How one person looks: colours, build and side."""

    skin: tuple[int, ...]
    shirt: tuple[int, ...]
    trousers: tuple[int, ...]
    hair: tuple[int, ...]
    ground: tuple[int, ...]
    floor: tuple[int, ...]
    build: float
    head: float
    height: float
    facing: int
    stick: bool
    place: float


def contrast(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    return sum(abs(x - y) for x, y in zip(a, b))


def figure(rng: random.Random) -> Figure:
    """Someone of chance looks who stands out from the ground."""

    def tint(ground: tuple[int, ...]) -> tuple[int, ...]:
        while True:
            colour = tuple(min(255, max(0, v + rng.randint(-20, 20))) for v in rng.choice(list(COLOURS.values())))
            if contrast(colour, ground) > 150:
                return colour

    ground = (255, 255, 255) if rng.random() < 0.4 else tuple(rng.randint(60, 255) for _ in range(3))
    stick = rng.random() < 0.3
    ink = tint(ground)
    skin = rng.choice([s for s in SKINS if contrast(s, ground) > 100] or SKINS)
    shirt, trousers = tint(ground), tint(ground)
    floor = tuple(max(0, v - rng.randint(0, 60)) for v in ground)
    return Figure(
        ink if stick else skin, ink if stick else shirt, ink if stick else trousers, rng.choice([(30, 20, 10), (90, 60, 30), (220, 190, 90), (120, 120, 120), (150, 60, 20)]),
        ground, floor, 0.05 if stick else rng.uniform(0.09, 0.15), rng.uniform(0.12, 0.16), rng.uniform(0.62, 0.8), rng.choice([-1, 1]), stick, rng.uniform(-0.06, 0.06),
    )  # fmt: skip


def draw(who: Figure, action: str, phase: float, size: int) -> np.ndarray:
    """One frame, [size, size, 3] u8."""
    side = size * OVERSAMPLE
    image = Image.new("RGB", (side, side), who.ground)
    pen = ImageDraw.Draw(image)
    unit = side * 0.5 * who.height  # from the hip to the floor
    floor = side * (0.5 + 0.52 * who.height)
    pen.rectangle([0, floor, side, side], fill=who.floor)
    now = pose(action, phase)
    centre = side * (0.5 + who.place)

    def at(x: float, y: float) -> tuple[float, float]:
        return centre + who.facing * x * unit, floor - y * unit

    def limb(a: tuple[float, float], b: tuple[float, float], colour: tuple[int, ...], width: float) -> None:
        r = max(1.5, width * unit / 2)
        pen.line([at(*a), at(*b)], fill=colour, width=int(2 * r))
        for x, y in (at(*a), at(*b)):
            pen.ellipse([x - r, y - r, x + r, y + r], fill=colour)

    def end(start: tuple[float, float], angle: float, length: float) -> tuple[float, float]:
        t = math.radians(angle)
        return start[0] + length * math.sin(t), start[1] - length * math.cos(t)

    hip = (now.hip[0], 0.86 + now.hip[1])
    if action == "lying down":
        hip = (now.hip[0], 0.1)
    if action == "crawling":
        hip = (now.hip[0], 0.46)
    neck = end(hip, 180 - now.lean, 0.6)
    props(pen, at, limb, action, hip, who, phase)
    for (upper, lower), side_of in zip(now.legs, (1, -1)):
        knee = end(hip, upper, 0.43)
        limb(hip, knee, who.trousers, who.build * 1.1)
        limb(knee, end(knee, lower, 0.43), who.trousers if side_of > 0 else shade(who.trousers), who.build)
    hands = []
    for upper, lower in now.arms:
        elbow = end(neck, upper, 0.32)
        hands.append(end(elbow, lower, 0.3))
        limb(neck, elbow, shade(who.shirt), who.build * 0.9)
        limb(elbow, hands[-1], who.skin, who.build * 0.8)
    limb(hip, neck, who.shirt, who.build * (1 if who.stick else 1.9))
    head = end(neck, 180 - now.lean * 0.9, 0.1 + who.head)
    x, y = at(*head)
    r = who.head * unit
    pen.ellipse([x - r, y - r, x + r, y + r], fill=who.skin)
    if not who.stick:
        pen.pieslice([x - r, y - r, x + r, y + r], 180, 360, fill=who.hair)
    if action == "lifting weights":
        bar = (hands[0][1] + hands[1][1]) / 2
        limb((-0.75, bar), (0.75, bar), (70, 70, 70), 0.05)
        for end_of in (-0.75, 0.75):
            x, y = at(end_of, bar)
            pen.rectangle([x - unit * 0.06, y - unit * 0.22, x + unit * 0.06, y + unit * 0.22], fill=(40, 40, 40))
    return np.asarray(image.resize((size, size), Image.Resampling.BOX))


def shade(colour: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(v * 0.82) for v in colour)


def props(pen, at, limb, action: str, hip: tuple[float, float], who: Figure, phase: float) -> None:
    """The chair, the ball and the bicycle."""
    wood = (120, 80, 45)
    if action == "sitting":
        limb((hip[0] - 0.2, hip[1] - 0.1), (hip[0] + 0.3, hip[1] - 0.1), wood, 0.07)
        limb((hip[0] - 0.22, hip[1] - 0.1), (hip[0] - 0.22, hip[1] + 0.5), wood, 0.06)
        for x in (hip[0] - 0.2, hip[0] + 0.28):
            limb((x, hip[1] - 0.1), (x, 0), wood, 0.05)
    if action == "kicking a ball":
        x, y = at(0.62 + 0.25 * (0.5 + 0.5 * swing(phase, 1)), 0.14 + 0.2 * max(0.0, swing(phase, 1)))
        r = max(3, abs(at(0.13, 0)[0] - at(0, 0)[0]))
        pen.ellipse([x - r, y - r, x + r, y + r], fill=(250, 250, 250) if contrast(who.ground, (250, 250, 250)) > 90 else (200, 60, 40), outline=(30, 30, 30), width=2)
    if action == "cycling":
        metal = (60, 60, 60)
        r = abs(at(0.32, 0)[0] - at(0, 0)[0])
        for centre in (hip[0] - 0.4, hip[0] + 0.62):
            x, y = at(centre, 0.32)
            pen.ellipse([x - r, y - r, x + r, y + r], outline=metal, width=4)
        limb((hip[0] - 0.4, 0.32), (hip[0], hip[1] - 0.1), metal, 0.05)
        limb((hip[0], hip[1] - 0.15), (hip[0] + 0.5, 0.75), metal, 0.05)
        limb((hip[0] + 0.62, 0.32), (hip[0] + 0.5, 0.9), metal, 0.05)
        limb((hip[0] - 0.4, 0.32), (hip[0] + 0.15, 0.3), metal, 0.05)


def phrases(action: str) -> list[str]:
    """Captions that are true of the action, the plainest first."""
    return [f"{who} {doing}" for doing in (action, *SYNONYMS[action]) for who in WHO]
