"""Writes held-out data as `edgeclip eval` takes it: objects, words, flags and actions, each a folder of class folders with a labels.toml.

`python models/edgeclip-mini/eval_sets.py --data DIR --work WORK --out OUT`, the folders of train.py and a new one; then
    for set in objects words flags actions; do
        edgeclip eval OUT/$set --labels-file OUT/$set/labels.toml --linear-probe --train OUT/train/$set
    done
It needs ffmpeg, for the clips. Objects are photographs (tiny-imagenet val). The rest is synthetic: drawn by code, with
evaluate.py's seed, of words and of a style of flags that training never showed; each folder's SOURCE.txt says so.
In `train` are other pictures of the same classes, for linear probes to learn from: photographs of tiny-imagenet's training
part, which the towers have seen too; the same words and actions drawn from another seed; flags in the styles of training.
"""

import argparse
import io
import json
import random
import subprocess
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

import captions
import drawings
import people
import words
from captions import PLAIN
from evaluate import SEED, on_white

SIDE = 64  # pixels of the model, and of evaluate.py's pictures
WORDS, PICTURES_EACH = 100, 10
CLIPS_EACH, CLIP_SIDE, CLIP_FRAMES, CLIP_RATE = 100, 256, 16, 8
# What linear probes learn from. One photograph in ten is 38 of a class; not all flags are drawn by all styles.
TRAIN_SEED, PHOTOS_EVERY, TRAIN_PICTURES_EACH, TRAIN_CLIPS_EACH, TRAIN_FLAGS_EACH = SEED + 1, 10, 20, 30, 4


def begin(folder: Path, names: list[str], template: str, source: str) -> None:
    """The folder, its labels.toml and where its pictures come from."""
    folder.mkdir(parents=True)
    labels = [f"[[label]]\nname = {json.dumps(name, ensure_ascii=False)}\n" for name in names]
    (folder / "labels.toml").write_text("\n".join([f"templates = [{json.dumps(template)}]\n", *labels]))
    (folder / "SOURCE.txt").write_text(source + "\n")


def place(folder: Path, name: str) -> Path:
    """The folder of a class."""
    path = folder / name.replace(" ", "_")
    path.mkdir(exist_ok=True)
    return path


def objects(folder: Path, archive: Path, source: str, every: int = 1) -> None:
    """Photographs, decoded as evaluate.py does, under the first name of their class; one in `every`."""
    name_of = {kind.wnid: kind.names[0] for kind in captions.photo_classes()}
    begin(folder, list(name_of.values()), PLAIN, f"Photographs: {source} of tiny-imagenet (CS231n), a subset of ImageNet.")
    with zipfile.ZipFile(archive) as photos:
        for entry in sorted(name for name in photos.namelist() if not name.endswith("/"))[::every]:
            photo = Image.open(io.BytesIO(photos.read(entry))).convert("RGB")
            photo.save(place(folder, name_of[entry.split("/")[0]]) / f"{Path(entry).stem}.png", compress_level=1)


def printed_words(folder: Path, seed: int, each: int) -> None:
    """Words that training never showed, the same for every seed, each in several fonts and colours."""
    rng = random.Random(SEED)
    texts = sorted(rng.sample(words.vocabulary(held_out=True), WORDS))
    if seed != SEED:
        rng.seed(seed)
    begin(folder, texts, "the word {}", "Synthetic: printed words, drawn by words.py. None of the words was shown in training.")
    for text in texts:
        for number in range(each):
            Image.fromarray(words.picture(rng, text, SIDE)).save(place(folder, text) / f"{number}.png")


def flags(folder: Path, work: Path) -> None:
    """One flag of each country or region, as a style that training never showed draws it."""
    drawn = list(drawings.drawn(work / "drawings", (drawings.HELD_OUT_STYLE,), SIDE, flags=True))
    countries = [sign.name.removeprefix("the flag of ") for sign, _ in drawn]
    begin(folder, countries, "the flag of {}", f"Synthetic: drawn flags ({drawings.HELD_OUT_STYLE}, CC BY-SA 4.0), a style kept out of training.")
    for country, pixels in zip(countries, on_white(np.stack([pixels for _, pixels in drawn]))):
        Image.fromarray(pixels).save(place(folder, country) / "flag.png")


def training_flags(folder: Path, work: Path) -> None:
    """The same flags in each style of training, some of them smaller and not in the middle."""
    rng, names = random.Random(TRAIN_SEED), [sign.name.removeprefix("the flag of ") for sign in drawings.signs() if sign.is_flag]
    begin(folder, names, "the flag of {}", f"Synthetic: drawn flags, of {', '.join(drawings.FLAG_STYLES)}: the styles of training.")
    for style in drawings.FLAG_STYLES:
        for sign, pixels in drawings.drawn(work / "drawings", (style,), SIDE, flags=True):
            for number in range(TRAIN_FLAGS_EACH):
                side = rng.randint(3 * SIDE // 4, SIDE)
                ground = Image.new("RGBA", (SIDE, SIDE), "white")
                flag = Image.fromarray(pixels).resize((side, side), Image.Resampling.LANCZOS)
                ground.alpha_composite(flag, (rng.randint(0, SIDE - side), rng.randint(0, SIDE - side)))
                ground.convert("RGB").save(place(folder, sign.name.removeprefix("the flag of ")) / f"{style}-{number}.png")


def clip(file: Path, frames: list[np.ndarray]) -> None:
    """The frames as a video."""
    height, width, _ = frames[0].shape
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(CLIP_RATE)]
    command += ["-i", "pipe:0", "-c:v", "libx264", "-pix_fmt", "yuv420p", file]
    subprocess.run(command, input=b"".join(frame.tobytes() for frame in frames), check=True)


def actions(folder: Path, seed: int, each: int) -> None:
    """People as evaluate.py's, larger and as videos: one cycle of their action each."""
    rng = random.Random(seed)
    begin(folder, list(people.EVALUATED), "a person {}", "Synthetic: drawn people, by people.py with another seed than the training's.")
    clips = [(who, action, rng.random()) for action in people.EVALUATED for who in (people.figure(rng) for _ in range(each))]
    for number, (who, action, start) in enumerate(clips):
        frames = [people.draw(who, action, start + i / CLIP_FRAMES, CLIP_SIDE) for i in range(CLIP_FRAMES)]
        clip(place(folder, action) / f"{number:04}.mp4", frames)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="holds train.zip and val.zip of tiny-imagenet")
    parser.add_argument("--work", type=Path, required=True, help="a folder that fetch.sh has filled")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    args = parser.parse_args()
    objects(args.out / "objects", args.data / "val.zip", "the validation part")
    printed_words(args.out / "words", SEED, PICTURES_EACH)
    flags(args.out / "flags", args.work)
    actions(args.out / "actions", SEED, CLIPS_EACH)
    train = args.out / "train"
    objects(train / "objects", args.data / "train.zip", f"one in {PHOTOS_EVERY} of the training part", PHOTOS_EVERY)
    printed_words(train / "words", TRAIN_SEED, TRAIN_PICTURES_EACH)
    training_flags(train / "flags", args.work)
    actions(train / "actions", TRAIN_SEED, TRAIN_CLIPS_EACH)


if __name__ == "__main__":
    main()
