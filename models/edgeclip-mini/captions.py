"""Words for pictures: the phrases that name things, the templates around them, and the vocabulary they make."""

import random
import re
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = Path(__file__).parent
BEGIN, END = "<|startoftext|>", "<|endoftext|>"

# The seven templates that CLIP's authors publish as the best small ensemble (openai/CLIP, Prompt_Engineering_for_ImageNet).
CLIP_SEVEN = (
    "itap of a {}.", "a bad photo of the {}.", "a origami {}.", "a photo of the large {}.", "a {} in a video game.", "art of the {}.", "a photo of the small {}.",
)  # fmt: skip
PLAIN = "a photo of a {}."
PHOTO_TEMPLATES = (
    PLAIN, PLAIN, "a photo of a {}", "a photo of a {}", "a {}", "a {}", "{}", "a picture of a {}", "an image of a {}", "a photograph of a {}",
    "a photo of the {}.", "a close-up photo of a {}.", "a blurry photo of a {}.", "a low resolution photo of a {}.", "a bad photo of a {}.",
    "a good photo of a {}.", "a cropped photo of a {}.", "a dark photo of a {}.", "a bright photo of the {}.", "a photo of one {}.",
    "a photo of my {}.", "a photo of a nice {}.", "this is a {}", "there is a {} in the picture", "a {} in the middle of the picture",
    *CLIP_SEVEN,
)  # fmt: skip
DRAWING_TEMPLATES = (
    "{}", "a {}", "a {}", "an emoji of a {}", "a drawing of a {}", "a cartoon of a {}", "a cartoon {}.", "clip art of a {}", "a sticker of a {}",
    "an icon of a {}", "a picture of a {}", "an image of a {}", "a photo of a {}", "an illustration of a {}", "a symbol of a {}", "a {} on a card",
    "a printed picture of a {}", "art of the {}.",
)  # fmt: skip
SCENE_TEMPLATES = ("{}", "{}", "{}", "a drawing of {}", "a picture of {}", "an image of {}", "a photo of {}", "{} on a card", "a simple drawing of {}")
FLAG_TEMPLATES = ("{}", "the {}", "a {}", "a photo of the {}", "a picture of the {}", "an image of the {}", "a drawing of the {}")
WORD_TEMPLATES = ("{}", "{}", "a photo of {}", "a picture of {}", "an image of {}", "{} on a sign", "{} on a card")
EMPTY_TEMPLATES = ("{}", "{}", "a photo of {}", "a picture of {}")
HAS_ARTICLE = re.compile(r"(a|an|the|one|two|three|four|five|some|someone|something|people) ", re.I)


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


def photo_classes() -> list[PhotoClass]:
    """The classes of classes.toml. What two classes are called can't tell them apart, so it names neither."""
    table = tomllib.loads((HERE / "classes.toml").read_text())
    shared = {name for name, count in Counter(n for row in table.values() for n in row["names"]).items() if count > 1}
    classes = []
    for wnid, row in table.items():
        names = tuple(n for n in row["names"] if n not in shared)
        if not names:
            raise ValueError(f"classes.toml: {wnid} has no name of its own")
        classes.append(PhotoClass(wnid, names, tuple(row["broader"]), tuple(row.get("also", ()))))
    return classes


def article(phrase: str) -> str:
    """The phrase with "a" or "an" before it, unless it starts with a word that takes none."""
    if HAS_ARTICLE.match(phrase):
        return phrase
    return ("an " if phrase[0].lower() in "aeiou" else "a ") + phrase


def fill(template: str, phrase: str) -> str:
    """edgeclip's rule: an article before the place replaces the phrase's own, and a/an follows the next letter."""
    before, after = template.split("{}")
    if found := re.search(r"\b(a|an|the) $", before, re.I):
        phrase = re.sub(r"^(a|an|the) ", "", phrase, flags=re.I)
        one = "the" if found[1] == "the" else ("an" if phrase[0].lower() in "aeiou" else "a")
        before = f"{before[: found.start()]}{one} "
    return before + phrase + after


def words_of(rng: random.Random, kind: PhotoClass) -> str:
    """A phrase for a photograph of the class: mostly its own names, at times a broader or a loose word."""
    roll = rng.random()
    if roll < 0.1 and kind.broader:
        return rng.choice(kind.broader)
    if roll < 0.17 and kind.also:
        return rng.choice(kind.also)
    return kind.names[0] if rng.random() < 0.5 else rng.choice(kind.names)


def train_tokenizer(captions: list[str], vocab_size: int, file: Path) -> Tokenizer:
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
    # Every byte at the end of a word as well (ASCII, then UTF-8's last bytes), so that no text is out of reach.
    ends = [chr(code) for code in range(128)] + [chr(0x4E00 + code) for code in range(64)]
    tokenizer.train_from_iterator(captions + ends, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A {END}", special_tokens=[(BEGIN, tokenizer.token_to_id(BEGIN)), (END, tokenizer.token_to_id(END))]
    )
    tokenizer.save(str(file))
    return tokenizer


def token_ids(tokenizer: Tokenizer, captions: list[str], context_length: int) -> np.ndarray:
    """Ids [n, longest] of the captions, zero after the end token (id 0 is the begin token, unseen by a causal tower)."""
    end = tokenizer.token_to_id(END)
    rows = [row.ids for row in tokenizer.encode_batch_fast(captions)]
    rows = [row if len(row) <= context_length else row[: context_length - 1] + [end] for row in rows]
    ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for line, row in zip(ids, rows):
        line[: len(row)] = row
    return ids
