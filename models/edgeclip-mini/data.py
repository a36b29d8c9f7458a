"""Training pairs: pictures, one caption each, and every phrase that is true of a picture.

Three sources: photographs (tiny-imagenet), emoji drawn from a colour font with their Unicode CLDR
names and keywords, and drawn scenes (scenes.py). A phrase is what a caption says once its template
is taken off; two pictures share a positive pair when the phrase is true of both.
"""

import io
import random
import re
import tomllib
import xml.etree.ElementTree as ElementTree
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import scenes
from scenes import article

HERE = Path(__file__).parent
EMOJI_FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")  # Debian: fonts-noto-color-emoji
EMOJI_LIST = Path("/usr/share/unicode/emoji/emoji-test.txt")  # Debian: unicode-data
EMOJI_WORDS = Path("/usr/share/unicode/cldr/common/annotations/en.xml")  # Debian: unicode-cldr-core
BEGIN, END = "<|startoftext|>", "<|endoftext|>"

PHOTO_TEMPLATES = (
    "{}", "a photo of {}", "a photo of {}", "a picture of {}", "an image of {}", "a photograph of {}", "a close-up of {}",
    "a close-up photo of {}", "a blurry photo of {}", "a low resolution photo of {}", "a bad photo of {}", "a good photo of {}",
    "a cropped photo of {}", "a dark photo of {}", "a bright photo of {}", "a photo of one {}", "a photo of the {}", "a photo of my {}",
    "a photo of a small {}", "a photo of a large {}", "this is {}", "there is {} in the picture", "a snapshot of {}", "itap of {}",
)  # fmt: skip
DRAWING_TEMPLATES = (
    "{}", "{}", "an emoji of {}", "a drawing of {}", "a cartoon of {}", "clip art of {}", "a sticker of {}", "an icon of {}",
    "a picture of {}", "an image of {}", "an illustration of {}", "a symbol of {}", "a card with {}",
)  # fmt: skip
SCENE_TEMPLATES = ("{}", "{}", "{}", "a drawing of {}", "a picture of {}", "an image of {}", "a photo of {}", "a simple drawing of {}")
EMPTY_TEMPLATES = ("{}", "{}", "a photo of {}", "a picture of {}")


@dataclass(frozen=True)
class PhotoClass:
    """Caption vocabulary of one class: own names first, then words that hold for others too."""

    wnid: str
    names: tuple[str, ...]
    broader: tuple[str, ...]
    also: tuple[str, ...]

    @property
    def true(self) -> frozenset[str]:
        return frozenset(self.names + self.broader + self.also)


@dataclass(frozen=True)
class Emoji:
    """One drawn emoji, RGBA [size, size, 4], its name and its keywords."""

    pixels: np.ndarray
    name: str
    keywords: tuple[str, ...]


@dataclass(frozen=True)
class Sample:
    """One training pair; mirroring or cutting are off where they would make the caption wrong."""

    pixels: np.ndarray
    caption: str
    phrase: str
    true: frozenset[str]
    may_flip: bool
    may_crop: bool
    photo_class: int = -1  # number of the class, for photographs


def photo_classes() -> list[PhotoClass]:
    table = tomllib.loads((HERE / "classes.toml").read_text())
    return [PhotoClass(wnid, tuple(row["names"]), tuple(row["broader"]), tuple(row.get("also", ()))) for wnid, row in table.items()]


def photos(archive: Path, classes: list[PhotoClass], size: int, cache: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [n, size, size, 3] u8 and class numbers [n] of a zip with one folder per wnid, decoded once into `cache`."""
    pixels_file, wnids_file = cache / f"{archive.stem}-{size}.npy", cache / f"{archive.stem}-wnids.npy"
    if not pixels_file.exists():
        with zipfile.ZipFile(archive) as photos_zip:
            names = sorted(n for n in photos_zip.namelist() if not n.endswith("/"))
            pixels = np.empty((len(names), size, size, 3), np.uint8)
            for row, name in zip(pixels, names):
                picture = Image.open(io.BytesIO(photos_zip.read(name))).convert("RGB")
                row[:] = np.asarray(picture if picture.size == (size, size) else picture.resize((size, size), Image.Resampling.BICUBIC))
        np.save(wnids_file, np.array([name.split("/")[0] for name in names]))
        part = pixels_file.with_suffix(".part.npy")
        np.save(part, pixels)
        part.replace(pixels_file)
    number = {c.wnid: i for i, c in enumerate(classes)}
    return np.load(pixels_file, mmap_mode="r"), np.array([number[wnid] for wnid in np.load(wnids_file)])


def emoji(size: int) -> list[Emoji]:
    """Every fully qualified emoji but skin tones and flags, drawn at `size` pixels."""
    words: dict[str, tuple[str, ...]] = {}
    for node in ElementTree.parse(EMOJI_WORDS).iter("annotation"):
        if node.get("type") != "tts":
            words[node.get("cp", "")] = tuple(w.strip() for w in (node.text or "").split("|"))
    font = ImageFont.truetype(EMOJI_FONT, 109)  # the one size that the bitmap font carries
    drawn = []
    group = ""
    for line in EMOJI_LIST.read_text().splitlines():
        if line.startswith("# group: "):
            group = line.removeprefix("# group: ")
        found = re.match(r"([0-9A-F ]+?)\s*; fully-qualified\s*# \S+ E[0-9.]+ (.+)", line)
        if not found or group in ("Component", "Flags") or "skin tone" in found[2]:
            continue
        text = "".join(chr(int(code, 16)) for code in found[1].split())
        canvas = Image.new("RGBA", (136, 128), (0, 0, 0, 0))
        ImageDraw.Draw(canvas).text((0, 0), text, font=font, embedded_color=True)
        box = canvas.getbbox()
        if box is None or box[2] - box[0] > 134:  # the font lacks it, or draws it as several glyphs
            continue
        name = found[2].removesuffix(" face") if found[2].endswith(("cat face", "dog face")) else found[2]
        keywords = tuple(w for w in words.get(text.replace("\ufe0f", ""), ()) if w != found[2] and len(w) > 2)
        square = Image.new("RGBA", (max(canvas.size),) * 2, (0, 0, 0, 0))
        square.paste(canvas.crop(box), ((square.width - box[2] + box[0]) // 2, (square.height - box[3] + box[1]) // 2))
        drawn.append(Emoji(np.asarray(square.resize((size, size), Image.Resampling.LANCZOS)), name, keywords))
    return drawn


def fill(template: str, phrase: str) -> str:
    """The template with the phrase in it; an article goes before it unless one is there on either side."""
    before = template.split("{}")[0]
    bare = before.endswith((" one ", " the ", " my ", " small ", " large ")) or phrase.startswith(("a ", "an ", "two ", "three ", "four ", "five "))
    return template.format(phrase if bare else article(phrase))


class Pairs:
    """Draws batches of samples; photographs in shuffled rounds, the rest anew each time."""

    # Parts of a batch; photographs take what is left.
    EMOJI, SCENES, EMPTY = 0.18, 0.11, 0.03

    def __init__(self, pixels: np.ndarray, labels: np.ndarray, classes: list[PhotoClass], drawn: list[Emoji], seed: int):
        self.pixels, self.labels, self.classes, self.drawn = pixels, labels, classes, drawn
        self.size = pixels.shape[1]
        self.rng = random.Random(seed)
        self.order: list[int] = []

    def photo_number(self) -> int:
        if not self.order:
            self.order = list(range(len(self.pixels)))
            self.rng.shuffle(self.order)
        return self.order.pop()

    def photo(self) -> Sample:
        number, rng = self.photo_number(), self.rng
        kind = self.classes[self.labels[number]]
        sort = rng.choices([kind.names, kind.broader, kind.also or kind.names], [0.84, 0.09, 0.07])[0]
        phrase = self.name(kind) if sort is kind.names else rng.choice(sort)
        template = rng.choice(PHOTO_TEMPLATES)
        caption = template.format(phrase) if rng.random() < 0.15 else fill(template, phrase)
        return Sample(self.pixels[number], caption, phrase, kind.true, True, True, int(self.labels[number]))

    def name(self, kind: PhotoClass) -> str:
        """One of a class's names; the first is the one that people use most."""
        return kind.names[0] if self.rng.random() < 0.5 else self.rng.choice(kind.names)

    def class_captions(self) -> list[str]:
        """One caption for each photo class, in their order."""
        return [fill(self.rng.choice(PHOTO_TEMPLATES), self.name(kind)) for kind in self.classes]

    def emoji(self) -> Sample:
        rng, drawing = self.rng, self.rng.choice(self.drawn)
        phrase = rng.choice(drawing.keywords) if drawing.keywords and rng.random() < 0.35 else drawing.name
        template = rng.choice(DRAWING_TEMPLATES)
        caption = template.format(phrase) if rng.random() < 0.4 else fill(template, phrase)
        may_flip = not re.search(r"left|right|clock|arrow|button|input|symbol|hand|letter", drawing.name)
        return Sample(self.on_ground(drawing.pixels), caption, phrase, frozenset((drawing.name, *drawing.keywords)), may_flip, True)

    def on_ground(self, glyph: np.ndarray) -> np.ndarray:
        """A drawing pasted on a plain, shaded or photographic ground, at some size and place."""
        rng, size = self.rng, self.size
        roll = rng.random()
        if roll < 0.3:
            ground = Image.new("RGB", (size, size), (255, 255, 255))
        elif roll < 0.8:
            ground = Image.new("RGB", (size, size), tuple(rng.randrange(256) for _ in range(3)))
        else:
            ground = Image.fromarray(self.pixels[rng.randrange(len(self.pixels))]).resize((8, 8)).resize((size, size), Image.Resampling.BICUBIC)
        side = int(size * rng.uniform(0.5, 0.98))
        drawing = Image.fromarray(glyph).resize((side, side), Image.Resampling.BOX if side * 2 < glyph.shape[0] else Image.Resampling.BILINEAR)
        spare = size - side
        ground.paste(drawing, (rng.randint(0, spare), rng.randint(0, spare)), drawing)
        return np.asarray(ground)

    def drawn_scene(self) -> Sample:
        pixels, phrase, true, may_flip = scenes.scene(self.rng, self.size)
        caption = self.rng.choice(SCENE_TEMPLATES).format(phrase)
        if self.rng.random() < 0.1:
            # What a template with a fixed article makes of a label such as "three red circles".
            caption = "a photo of a " + phrase.removeprefix("a ").removeprefix("an ")
        return Sample(pixels, caption, phrase, frozenset(true), may_flip, False)

    def empty(self) -> Sample:
        photo = self.pixels[self.rng.randrange(len(self.pixels))]
        pixels, phrase, true, may_flip = scenes.empty(self.rng, self.size, photo)
        return Sample(pixels, self.rng.choice(EMPTY_TEMPLATES).format(phrase), phrase, frozenset(true), may_flip, True)

    def batch(self, count: int) -> list[Sample]:
        parts = [(self.emoji, self.EMOJI), (self.drawn_scene, self.SCENES), (self.empty, self.EMPTY)]
        samples = [draw() for draw, part in parts for _ in range(round(part * count))]
        return samples + [self.photo() for _ in range(count - len(samples))]


def truth(samples: list[Sample]) -> np.ndarray:
    """[pictures, captions] bool: is the caption's phrase true of the picture."""
    return np.array([[caption.phrase in picture.true for caption in samples] for picture in samples])


def train_tokenizer(pairs: Pairs, vocab_size: int, file: Path) -> Tokenizer:
    """A byte-pair vocabulary of the captions, in CLIP's manner: lower case, end-of-word marks, begin and end tokens."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token=END))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    # CLIP's split: contractions, runs of letters, single digits, runs of marks; bytes spelt as printable characters.
    split = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(split), "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[BEGIN, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    words = [w for c in pairs.classes for w in sorted(c.true)] * 20 + [w for e in pairs.drawn for w in (e.name, *e.keywords)] * 4
    captions = [sample.caption for _ in range(40) for sample in pairs.batch(256)]
    # Every byte at the end of a word as well (ASCII, then UTF-8's last bytes), so that no text is out of reach.
    ends = [chr(code) for code in range(128)] + [chr(0x4E00 + code) for code in range(64)]
    tokenizer.train_from_iterator(words + captions + ends, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A {END}", special_tokens=[(BEGIN, tokenizer.token_to_id(BEGIN)), (END, tokenizer.token_to_id(END))]
    )
    tokenizer.save(str(file))
    return tokenizer


def token_ids(tokenizer: Tokenizer, captions: list[str], context_length: int) -> np.ndarray:
    """Ids [n, longest] of the captions, zero after the end token (id 0 is the begin token, unseen by a causal tower)."""
    rows = [tokenizer.encode(caption).ids for caption in captions]
    end = tokenizer.token_to_id(END)
    rows = [row if len(row) <= context_length else row[: context_length - 1] + [end] for row in rows]
    ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for line, row in zip(ids, rows):
        line[: len(row)] = row
    return ids
