"""Training pairs: pictures from several sources, one caption each, and every phrase that is true of a picture.

A source is an array of pictures and, for each, a Fact: phrases to caption it with. Photographs have no
captions of their own; they are told apart by the captions of their classes. A phrase is what a caption
says once its template is taken off; a caption counts as true of a picture when its phrase is.
"""

import io
import pickle
import random
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from tokenizers import Tokenizer

import captions
import drawings
import people
import scenes
import words
from captions import PhotoClass, fill

Drawn = Iterator[tuple[np.ndarray, "Fact"]]


@dataclass(frozen=True)
class Fact:
    """What a picture shows: phrases for its caption, all phrases true of it, and some that are nearly true."""

    phrases: tuple[str, ...]
    true: frozenset[str]
    wrong: tuple[str, ...] = ()
    may_flip: bool = True
    may_recolour: bool = True
    says: str = ""  # what is written on it


@dataclass(frozen=True)
class Treatment:
    """How a source's pictures come before the camera."""

    templates: tuple[str, ...]
    cut_out: bool = False  # RGBA, pasted on a ground
    crop: float = 0.1  # the largest part of the area that may be cut off
    card: float = 0.2  # chance of being seen as a printed card or on a screen
    card_least: float = 0.55  # its smallest side, in parts of the frame
    colour: float = 0.5  # strength of changes in colour


TREATMENTS = {
    "photos": Treatment(captions.PHOTO_TEMPLATES, crop=0.4, card=0.06, colour=1.0),
    "emoji": Treatment(captions.DRAWING_TEMPLATES, cut_out=True, card=0.35, colour=0.8),
    "flags": Treatment(captions.FLAG_TEMPLATES, cut_out=True, card=0.3),
    "scenes": Treatment(captions.SCENE_TEMPLATES, colour=0.35),
    "words": Treatment(captions.WORD_TEMPLATES, card=0.1, card_least=0.85, crop=0.05, colour=0.8),
    "people": Treatment(captions.SCENE_TEMPLATES, card_least=0.7, colour=0.8),
    "empty": Treatment(captions.EMPTY_TEMPLATES, crop=0.5, card=0.0, colour=0.5),
}
# Parts of a batch; photographs take what is left.
SHARES = {"emoji": 0.17, "flags": 0.03, "scenes": 0.08, "words": 0.08, "people": 0.03, "empty": 0.02}
DRAWN_SHARES = {"emoji": 0.2, "flags": 0.02, "scenes": 0.08, "words": 0.26, "people": 0.01, "empty": 0.02}
# Pictures drawn once and shown many times.
DRAWN = {"scenes": 40_000, "words": 100_000, "people": 12_000, "empty": 3_000}


def photos(archive: Path, classes: list[PhotoClass], size: int, cache: Path, every: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [n, size, size, 3] u8 and class numbers [n] of a zip with one folder per wnid, decoded once into `cache`; one in `every`."""
    pixels_file, wnids_file = cache / f"{archive.stem}-{size}.npy", cache / f"{archive.stem}-wnids.npy"
    if not pixels_file.exists():
        with zipfile.ZipFile(archive) as photos_zip:
            names = sorted(n for n in photos_zip.namelist() if not n.endswith("/"))[::every]
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


def emoji(folder: Path, size: int, style: str, every: int) -> Drawn:
    for sign, pixels in drawings.drawn(folder, (style,), size, flags=False, every=every):
        # The name thrice for each time that CLDR's looser keywords share.
        names = (sign.name,) * max(1, 3 * len(sign.keywords))
        true = frozenset((sign.name, *sign.keywords))
        yield pixels, Fact(names + sign.keywords, true, (), not drawings.SIDED.search(sign.name), not drawings.COLOURED.search(sign.name))


def flags(folder: Path, size: int, style: str, every: int) -> Drawn:
    for sign, pixels in drawings.drawn(folder, (style,), size, flags=True, every=every):
        country = sign.name.removeprefix("the flag of ")
        phrases = (sign.name, sign.name, f"{country} flag")
        yield pixels, Fact(phrases, frozenset((*phrases, "a flag")), (), may_flip=False, may_recolour=False)


def drawn_scenes(rng: random.Random, size: int, count: int) -> Drawn:
    for _ in range(count):
        scene, phrase, may_flip = scenes.scene(rng, size)
        yield scene.done(), Fact((phrase,), frozenset(scene.true), tuple(scene.wrong), may_flip)


def printed_words(rng: random.Random, size: int, count: int) -> Drawn:
    choices = words.vocabulary(held_out=False)
    by_length = {length: [word for word in choices if len(word) == length] for length in range(2, 9)}
    for _ in range(count):
        pixels, text = words.draw(rng, choices, size)
        phrase, spelt = words.phrase(text), words.spelling(text)
        same_length = [word for word in rng.choices(by_length[len(text)], k=4) if word != text] if not text.isdigit() else []
        wrong = [w for w in words.misprints(rng, text, same_length) if not words.is_held_out(w)]
        phrases = (phrase,) * 4 + (f"the text {text}", f"a sign that says {text}", *spelt)
        nearly = tuple(words.phrase(w) for w in wrong) + tuple(f"the letters {' '.join(w)}" for w in wrong[:1])
        yield pixels, Fact(phrases, frozenset(phrases), nearly, may_flip=False, says=text)


def drawn_people(rng: random.Random, size: int, count: int) -> Drawn:
    for _ in range(count):
        action = rng.choice(people.ACTIONS)
        phrases = people.phrases(action)
        plain = phrases[: len(people.WHO)]
        true = frozenset((*phrases, "a person", "a drawing of a person"))
        yield people.draw(people.figure(rng), action, rng.random(), size), Fact((*plain, *plain, *phrases), true)


def empty_pictures(rng: random.Random, size: int, count: int) -> Drawn:
    for _ in range(count):
        blurred = np.random.default_rng(rng.getrandbits(32)).integers(0, 256, (5, 5, 3), np.uint8)
        pixels, phrase, true = scenes.empty(rng, size, blurred)
        yield pixels, Fact((phrase,), frozenset(true))


def collect(draw: Callable[[], Drawn]) -> tuple[np.ndarray, list[Fact]]:
    pictures, facts = zip(*draw())
    return np.stack(pictures), list(facts)


def source(name: str, parts: list[Callable[[], Drawn]], cache: Path) -> tuple[np.ndarray, list[Fact]]:
    """A source's pictures and facts, drawn part by part on all cores and kept in `cache`."""
    pixels_file, facts_file = cache / f"{name}.npy", cache / f"{name}.facts"
    if not (pixels_file.exists() and facts_file.exists()):
        with ProcessPoolExecutor() as pool:
            done = list(pool.map(collect, parts))
        part = pixels_file.with_suffix(".part.npy")
        np.save(part, np.concatenate([pixels for pixels, _ in done]))
        facts_file.write_bytes(pickle.dumps([fact for _, facts in done for fact in facts]))
        part.replace(pixels_file)
    return np.load(pixels_file), pickle.loads(facts_file.read_bytes())


def drawn_sources(work: Path, size: int, seed: int, every: int = 1) -> dict[str, tuple[np.ndarray, list[Fact]]]:
    """All that is drawn for training, or one picture in `every`."""
    folder = work / "drawings"
    made = {"scenes": drawn_scenes, "words": printed_words, "people": drawn_people, "empty": empty_pictures}
    parts = {
        "emoji": [partial(emoji, folder, size, style, every) for style in drawings.TRAINING_STYLES],
        "flags": [partial(flags, folder, size, style, every) for style in drawings.FLAG_STYLES],
    }
    for name, draw in made.items():
        count = max(1, DRAWN[name] // every // 8)
        parts[name] = [partial(draw, random.Random(f"{seed} {name} {i}"), size, count) for i in range(8)]
    return {name: source(name, draws, work) for name, draws in parts.items()}


@dataclass(frozen=True)
class Batch:
    """Pictures and captions of one step.

    pictures: by treatment, u8 [n, size, size, 3 or 4]. captions: one for each photo class, one for each
    drawn picture, then those that are nearly true. target [n]: the number of each picture's own caption.
    true [n, captions]: whether the caption holds for the picture. may_flip, may_recolour [n].
    shown [n, LETTER_FACTS], named [captions, LETTER_FACTS]: the letters on a picture and in a caption, -1 without any.
    """

    pictures: dict[str, np.ndarray]
    captions: list[str]
    target: np.ndarray
    true: np.ndarray
    may_flip: np.ndarray
    may_recolour: np.ndarray
    shown: np.ndarray
    named: np.ndarray


class Pairs:
    """Draws batches; photographs in shuffled rounds, the rest at random."""

    def __init__(self, pixels: np.ndarray, labels: np.ndarray, classes: list[PhotoClass], sources: dict[str, tuple[np.ndarray, list[Fact]]], seed: int):
        self.pixels, self.labels, self.classes, self.sources = pixels, labels, classes, sources
        self.rng = random.Random(seed)
        self.order: list[int] = []

    def photo_numbers(self, count: int) -> list[int]:
        if len(self.order) < count:
            self.order = list(range(len(self.pixels)))
            self.rng.shuffle(self.order)
        taken, self.order = self.order[:count], self.order[count:]
        return sorted(taken)

    def batch(self, count: int, shares: dict[str, float]) -> Batch:
        """`count` pictures, of each drawn source its share; the rest are photographs."""
        rng, photo_templates = self.rng, TREATMENTS["photos"].templates
        phrases = [captions.words_of(rng, kind) for kind in self.classes]
        lines = [fill(rng.choice(photo_templates), phrase) for phrase in phrases]
        facts, templates, pictures = [], [], {}
        for name, share in shares.items():
            pixels, about = self.sources[name]
            chosen = [rng.randrange(len(about)) for _ in range(round(share * count))]
            pictures[name] = pixels[chosen]
            for fact in (about[i] for i in chosen):
                phrases.append(rng.choice(fact.phrases))
                lines.append(fill(rng.choice(TREATMENTS[name].templates), phrases[-1]))
                facts.append(fact)
                templates.append(TREATMENTS[name].templates)
        target = list(range(len(self.classes), len(lines)))
        for fact, own_templates in zip(facts, templates):
            if fact.wrong and rng.random() < 0.7:
                phrases.append(rng.choice(fact.wrong))
                lines.append(fill(rng.choice(own_templates), phrases[-1]))
        numbers = self.photo_numbers(count - len(facts))
        pictures["photos"] = np.asarray(self.pixels[numbers])
        kinds = self.labels[numbers]
        of_class = np.array([[phrase in kind.true for phrase in phrases] for kind in self.classes])
        of_drawn = np.array([[phrase in fact.true for phrase in phrases] for fact in facts], bool).reshape(-1, len(phrases))
        may = np.array([(fact.may_flip, fact.may_recolour) for fact in facts] + [(True, True)] * len(numbers)).T
        shown = np.stack([words.letter_facts(fact.says) for fact in facts] + [words.NO_LETTERS] * len(numbers))
        named = np.stack([words.letter_facts(words.named(phrase)) for phrase in phrases])
        return Batch(pictures, lines, np.concatenate([target, kinds]).astype(int), np.concatenate([of_drawn, of_class[kinds]]), *may, shown, named)


def vocabulary_captions(pairs: Pairs) -> list[str]:
    """What the byte-pair vocabulary is learned from: every name, and captions as they come."""
    names = [w for c in pairs.classes for w in sorted(c.true)] * 20
    for _, facts in pairs.sources.values():
        names += [phrase for fact in facts[:: max(1, len(facts) // 4000)] for phrase in set(fact.phrases)]
    return names + [line for _ in range(40) for line in pairs.batch(256, SHARES).captions]


def tokenizer(pairs: Pairs, vocab_size: int, file: Path) -> Tokenizer:
    """The vocabulary of this training, made once."""
    if not file.exists():
        captions.train_tokenizer(vocabulary_captions(pairs), vocab_size, file)
    return Tokenizer.from_file(str(file))
