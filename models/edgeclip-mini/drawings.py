"""Emoji and flags as many hands draw them, named by Unicode.

The sets come from npm as SVG (fetch.sh); one whole style is held out of training, to see whether a
drawing is known by what it shows or by how it was drawn. Names and keywords: Unicode's emoji list and CLDR.
"""

import io
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image

EMOJI_LIST = Path("/usr/share/unicode/emoji/emoji-test.txt")  # Debian: unicode-data
EMOJI_WORDS = Path("/usr/share/unicode/cldr/common/annotations/en.xml")  # Debian: unicode-cldr-core
TRAINING_STYLES = ("noto", "noto-v1", "twemoji", "fluent-emoji-flat", "fluent-emoji", "emojione")
FLAG_STYLES = ("twemoji", "emojione", "flag-icons")
HELD_OUT_STYLE = "openmoji"
# Drawings that have a left and a right, or signs on them, are not mirrored.
SIDED = re.compile(r"left|right|clock|arrow|button|input|symbol|hand|letter|flag|dice|book|number|keycap|mark|calendar|sign|o’clock|thirty")

COLOURED = re.compile(r"red|orange|yellow|green|blue|purple|pink|brown|black|white|grey|rainbow|blond|heart|circle|square|apple|book|traffic")


@dataclass(frozen=True)
class Sign:
    """One character of Unicode's emoji list, its name and its keywords."""

    text: str
    name: str
    keywords: tuple[str, ...]

    @property
    def is_flag(self) -> bool:
        return self.name.startswith("the flag of ")

    @property
    def slug(self) -> str:
        """The name as the drawing sets file it."""
        plain = self.name.removeprefix("the flag of ").lower().replace("’", "").replace("é", "e").replace("ã", "a").replace("ô", "o").replace("í", "i").replace("ç", "c")
        slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
        return f"flag-for-{slug}" if self.is_flag else slug


def signs() -> list[Sign]:
    """Every fully qualified emoji without skin tones; of the flags, the countries' and regions'."""
    words: dict[str, tuple[str, ...]] = {}
    for node in ElementTree.parse(EMOJI_WORDS).iter("annotation"):
        if node.get("type") != "tts":
            words[node.get("cp", "")] = tuple(w.strip() for w in (node.text or "").split("|"))
    found, group = [], ""
    for line in EMOJI_LIST.read_text().splitlines():
        if line.startswith("# group: "):
            group = line.removeprefix("# group: ")
        parts = re.match(r"([0-9A-F ]+?)\s*; fully-qualified\s*# \S+ E[0-9.]+ (.+)", line)
        if not parts or group == "Component" or "skin tone" in parts[2]:
            continue
        text, name = "".join(chr(int(code, 16)) for code in parts[1].split()), parts[2]
        if name.startswith("flag: "):
            found.append(Sign(text, "the flag of " + name.removeprefix("flag: "), ()))
            continue
        if name.endswith(("cat face", "dog face")):
            name = name.removesuffix(" face")
        keywords = tuple(w for w in words.get(text.replace("\ufe0f", ""), ()) if w != parts[2] and len(w) > 2)
        found.append(Sign(text, name, keywords))
    return found


class Style:
    """One set of drawings, as its npm package keeps it: SVG bodies by name, and names by character."""

    def __init__(self, folder: Path, style: str):
        self.icons = json.loads((folder / style / "icons.json").read_text())
        characters = folder / style / "chars.json"
        if style == "fluent-emoji":  # the same names as its flat sister, which lists the characters
            characters = folder / "fluent-emoji-flat" / "chars.json"
        self.by_text = json.loads(characters.read_text())

    def svg(self, sign: Sign) -> str | None:
        """The drawing of a sign, or none where the style lacks it."""
        codes = "-".join(f"{ord(c):x}" for c in sign.text)
        name = self.by_text.get(codes) or self.by_text.get(codes.replace("-fe0f", "")) or sign.slug
        icon = self.icons["icons"].get(name)
        if icon is None:
            alias = self.icons.get("aliases", {}).get(name, {})
            icon = self.icons["icons"].get(alias.get("parent"))
        if icon is None:
            return None
        width, height = icon.get("width", self.icons.get("width", 16)), icon.get("height", self.icons.get("height", 16))
        return f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 {width} {height}">{icon["body"]}</svg>'


class FlagIcons:
    """The flag-icons package: one SVG file for each country or region."""

    def __init__(self, folder: Path, _style: str):
        self.folder = folder / "flag-icons" / "flags" / "4x3"
        if not self.folder.exists():
            raise FileNotFoundError(f"{self.folder}: fetch.sh brings it")

    def svg(self, sign: Sign) -> str | None:
        """The flag of a pair of regional indicator letters."""
        code = "".join(chr(ord(c) - 0x1F1E6 + ord("a")) for c in sign.text)
        file = self.folder / f"{code}.svg"
        return file.read_text() if len(code) == 2 and code.isalpha() and file.exists() else None


def draw(svg: str, size: int) -> np.ndarray | None:
    """RGBA [size, size, 4] u8, cut to what is drawn and centred with a pixel of margin; none where nothing shows."""
    large = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=2 * size, height=2 * size)))).convert("RGBA")
    box = large.getbbox()
    if box is None or min(box[2] - box[0], box[3] - box[1]) < size // 8:
        return None
    side = max(box[2] - box[0], box[3] - box[1])
    square = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    square.paste(large.crop(box), ((side - box[2] + box[0]) // 2, (side - box[3] + box[1]) // 2))
    framed = Image.new("RGBA", (size, size), (0, 0, 0, 0))
    framed.paste(square.resize((size - 2, size - 2), Image.Resampling.BOX if side >= 2 * size else Image.Resampling.LANCZOS), (1, 1))
    return np.asarray(framed)


def drawn(folder: Path, styles: tuple[str, ...], size: int, *, flags: bool, every: int = 1) -> Iterator[tuple[Sign, np.ndarray]]:
    """Every sign that the styles draw, style by style; flags or all the others, or one in `every` of them."""
    chosen = [sign for sign in signs() if sign.is_flag == flags][::every]
    for style in styles:
        drawings = (FlagIcons if style == "flag-icons" else Style)(folder, style)
        for sign in chosen:
            svg = drawings.svg(sign)
            pixels = None if svg is None else draw(svg, size)
            if pixels is not None:
                yield sign, pixels
