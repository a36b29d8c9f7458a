"""Printed words and numbers in many fonts, as signs and cards show them."""

import random
import re
import subprocess
import zlib
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from scenes import COLOURS

DICTIONARY = Path("/usr/share/dict/american-english-small")  # Debian: wamerican-small
# What signs and cards say most.
COMMON = (
    "stop exit open closed yes no hello start end push pull on off danger sale free sold enter help fire hot cold wet up down left right "
    "in out go wait slow taxi bus bank food coffee milk bread water tea men women boys girls staff office room please thanks sorry love "
    "red green blue one two three four five six seven eight nine ten zero full empty low high good bad new old day night north south east west"
).split()
# Fonts for writing: Debian's families of fetch.sh, without symbols and what is hard to read small.
FAMILIES = (
    "DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono", "Liberation Sans", "Liberation Serif", "Liberation Mono", "Lato", "Roboto", "Roboto Slab",
    "Open Sans", "Comic Neue", "Cantarell", "Bebas Neue", "EB Garamond", "Quicksand", "Play", "Humor Sans", "Andika", "Junction",
)  # fmt: skip
OVERSAMPLE = 2


@cache
def fonts() -> tuple[str, ...]:
    """Files of the families that are installed."""
    listed = subprocess.run(["fc-list", "--format", "%{file}\t%{family}\n"], capture_output=True, text=True, check=True).stdout
    files = (line.split("\t") for line in listed.splitlines())
    found = sorted(file for file, family in files if any(name in family.split(",") for name in FAMILIES))
    if not found:
        raise FileNotFoundError("none of the fonts of fetch.sh is installed")
    return tuple(found)


def is_held_out(word: str) -> bool:
    """One word in twelve is never shown in training, whatever it says."""
    return zlib.crc32(word.encode()) % 12 == 0


def vocabulary(held_out: bool) -> list[str]:
    """English words of 2 to 8 letters: those that training may show, or the others."""
    words = {line for line in DICTIONARY.read_text().split() if line.isascii() and line.isalpha() and line.islower() and 2 <= len(line) <= 8}
    return sorted(word for word in words | set(COMMON) if is_held_out(word) == held_out)


def ink_and_ground(rng: random.Random) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two colours that can be told apart; half the time dark on white, as printed."""
    if rng.random() < 0.45:
        return tuple(rng.randint(0, 50) for _ in range(3)), (rng.randint(225, 255),) * 3
    while True:
        ink, ground = (tuple(min(255, max(0, v + rng.randint(-25, 25))) for v in rng.choice(list(COLOURS.values()))) for _ in range(2))
        if abs(sum(ink) - sum(ground)) > 200:
            return ink, ground


def picture(rng: random.Random, text: str, size: int) -> np.ndarray:
    """The text across most of a sign, [size, size, 3] u8."""
    side = size * OVERSAMPLE
    ink, ground = ink_and_ground(rng)
    image = Image.new("RGB", (side, side), ground)
    pen = ImageDraw.Draw(image)
    shown = rng.choice([str.upper, str.upper, str.lower, str.capitalize])(text)
    file = rng.choice(fonts())
    left, top, right, bottom = pen.textbbox((0, 0), shown, font=ImageFont.truetype(file, 40), anchor="lt")
    # As wide as the sign allows: small letters are lost at 64 pixels.
    width = side * rng.uniform(0.8, 0.96)
    points = 40 * min(width / (right - left), side * rng.uniform(0.35, 0.7) / (bottom - top))
    font = ImageFont.truetype(file, max(8, int(points)))
    where = (side / 2 + rng.uniform(-0.01, 0.01) * side, side * rng.uniform(0.42, 0.58))
    if rng.random() < 0.15:
        pen.rectangle([2, side * 0.2, side - 3, side * 0.8], outline=ink, width=3)
    pen.text(where, shown, font=font, fill=ink, anchor="mm")
    return np.asarray(image.resize((size, size), Image.Resampling.BOX))


def phrase(text: str) -> str:
    return f"the number {text}" if text.isdigit() else f"the word {text}"


def spelling(text: str) -> tuple[str, ...]:
    """Phrases about the letters of a word, which tie its pieces in the vocabulary to what they look like."""
    letters = " ".join(text)
    return f"the letters {letters}", f"a word that begins with {text[0]}", f"a word that ends with {text[-1]}", f"a word that begins with {text[:2]}"


CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
LETTER_FACTS = 3 * len(CHARACTERS)
NO_LETTERS = np.full(LETTER_FACTS, -1, np.float32)


@cache
def letter_facts(text: str) -> np.ndarray:
    """[LETTER_FACTS] of 0 and 1: the characters that a text has, the one it begins with, the one it ends with; all -1 for no text."""
    if not text:
        return NO_LETTERS
    return np.float32([*(c in text for c in CHARACTERS), *(c == text[0] for c in CHARACTERS), *(c == text[-1] for c in CHARACTERS)])


def named(phrase: str) -> str:
    """The text that a phrase names in full; empty for phrases about something else."""
    found = re.fullmatch(r"(?:the word|the number|the text|a sign that says) (\w+)|the letters ((?:\w )*\w)", phrase)
    return (found[1] or found[2]).replace(" ", "") if found else ""


def misprints(rng: random.Random, text: str, same_length: list[str]) -> tuple[str, ...]:
    """Words that are not this one: two with one letter changed, and one of as many letters."""
    changed = []
    for _ in range(2):
        at = rng.randrange(len(text))
        pool = "0123456789" if text.isdigit() else "abcdefghijklmnopqrstuvwxyz"
        letter = rng.choice(pool.replace(text[at], ""))
        changed.append(text[:at] + letter + text[at + 1 :])
    return (*changed, *([rng.choice(same_length)] if same_length else ()))


def draw(rng: random.Random, choices: list[str], size: int) -> tuple[np.ndarray, str]:
    """A word or (one in eight) a number of up to three digits: pixels and what it says."""
    roll = rng.random()
    if roll < 0.12:
        text = str(rng.randrange(10 ** rng.randint(1, 3)))
    elif roll < 0.3:
        text = rng.choice([word for word in COMMON if not is_held_out(word)])
    else:
        text = rng.choice(choices)
    return picture(rng, text, size), text
