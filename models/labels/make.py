#!/usr/bin/env python3
"""Label sets from the class names and templates that CLIP's authors published.

    curl -LO https://raw.githubusercontent.com/openai/CLIP/main/data/prompts.md
    python3 models/labels/make.py prompts.md

writes models/labels/NAME.toml for each data set of that page, or with --check says which of them differ.
Names and templates are facts of the evaluation in Radford et al. 2021 (https://arxiv.org/abs/2103.00020), appendix A,
and stay word for word as they were published: their articles too, so that "a photo of a airplane." is what it was.
"""

import argparse
import ast
import json
import re
import sys
from pathlib import Path

# Heading on the page: name of the set, and what the data set is.
SETS = {
    "Birdsnap": ("birdsnap", "Birdsnap: 500 species of North American birds"),
    "CIFAR10": ("cifar10", "CIFAR-10: ten kinds of things, in colour pictures of 32 x 32 pixels"),
    "CIFAR100": ("cifar100", "CIFAR-100: a hundred kinds of things, in colour pictures of 32 x 32 pixels"),
    "CLEVRCounts": ("clevr-counts", "CLEVR counts: how many objects stand in a rendered scene"),
    "Caltech101": ("caltech101", "Caltech-101: 101 kinds of objects, and background"),
    "Country211": ("country211", "Country211: the country that a photo was taken in"),
    "DescribableTextures": ("dtd", "Describable Textures: 47 words for what a surface looks like"),
    "EuroSAT": ("eurosat", "EuroSAT: ten kinds of land use, seen by Sentinel-2 satellites"),
    "FGVCAircraft": ("fgvc-aircraft", "FGVC-Aircraft: 100 variants of aircraft"),
    "FacialEmotionRecognition2013": ("fer2013", "FER-2013: seven emotions of faces, several words for some"),
    "Flowers102": ("flowers102", "Oxford Flowers 102: flowers that are common in the United Kingdom"),
    "Food101": ("food101", "Food-101: 101 dishes"),
    "GTSRB": ("gtsrb", "German Traffic Sign Recognition Benchmark: 43 traffic signs"),
    "HatefulMemes": ("hateful-memes", "Hateful Memes: whether picture and text together are hateful"),
    "KITTI": ("kitti", "KITTI distance: how far away the nearest car is, seen from a car"),
    "Kinetics700": ("kinetics700", "Kinetics-700: 700 human actions, in video clips"),
    "MNIST": ("mnist", "MNIST: handwritten digits"),
    "OxfordPets": ("oxford-pets", "Oxford-IIIT Pets: 37 breeds of cats and dogs"),
    "PascalVOC2007": ("voc2007", "PASCAL VOC 2007: 20 kinds of objects"),
    "PatchCamelyon": ("pcam", "PatchCamelyon: whether a patch of lymph node tissue holds metastatic tumour"),
    "RESISC45": ("resisc45", "NWPU-RESISC45: 45 kinds of places, seen from above"),
    "SST2": ("sst2", "Rendered SST-2: sentences of film reviews as pictures, negative or positive"),
    "STL10": ("stl10", "STL-10: ten kinds of things, in colour pictures of 96 x 96 pixels"),
    "SUN397": ("sun397", "SUN397: 397 kinds of scenes"),
    "StanfordCars": ("stanford-cars", "Stanford Cars: 196 models of cars with their years"),
    "UCF101": ("ucf101", "UCF101: 101 human actions, in video clips"),
}

HEAD = """\
# {about}.
# Class names and templates as CLIP's authors published them: github.com/openai/CLIP, data/prompts.md.
# Written by make.py.
articles = "as-written"
"""

SECTION = re.compile(r"^## (\w+)\n+```\w*\n(.*?)^```", re.DOTALL | re.MULTILINE)


def sections(page):
    """Each heading with its two lists, `classes` and `templates`."""
    for heading, code in SECTION.findall(page):
        assigned = {line.targets[0].id: ast.literal_eval(line.value) for line in ast.parse(code).body}
        yield heading, assigned["classes"], assigned["templates"]


def quoted(text):
    """A TOML basic string; JSON's escapes are among TOML's."""
    return json.dumps(text, ensure_ascii=False)


def label(names):
    """One class: a name, or several, of which the first is shown and all are prompts."""
    if isinstance(names, str) or len(names) == 1:
        name = names if isinstance(names, str) else names[0]
        return f"{{ name = {quoted(name)} }}"
    prompts = ", ".join(map(quoted, names))
    return f"{{ name = {quoted(names[0])}, prompts = [{prompts}] }}"


def toml_array(key, items):
    return f"{key} = [\n" + "".join(f"  {item},\n" for item in items) + "]\n"


def label_set(about, classes, templates):
    head = HEAD.format(about=about)
    return head + toml_array("templates", map(quoted, templates)) + toml_array("label", map(label, classes))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, help="data/prompts.md of github.com/openai/CLIP")
    parser.add_argument("--check", action="store_true", help="write nothing, and fail where a file differs")
    arguments = parser.parse_args()
    texts = {}
    for heading, classes, templates in sections(arguments.page.read_text(encoding="utf-8")):
        if heading not in SETS:
            sys.exit(f"{arguments.page}: '{heading}' is new: give it a name in SETS")
        name, about = SETS[heading]
        texts[name] = label_set(about, classes, templates)
    missing = {name for name, _ in SETS.values()} - texts.keys()
    if missing:
        sys.exit(f"{arguments.page}: there is nothing for {', '.join(sorted(missing))}")
    differing = []
    for name, text in texts.items():
        path = Path(__file__).with_name(f"{name}.toml")
        if arguments.check:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                differing.append(path.name)
        else:
            path.write_text(text, encoding="utf-8")
    if differing:
        sys.exit(f"not as this script writes them: {', '.join(differing)}")


if __name__ == "__main__":
    main()
