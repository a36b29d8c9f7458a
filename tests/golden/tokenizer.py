"""Make tests/data/clip-tokenizer.json.gz and tests/data/clip-tokens.json.

Run from the repository root, with the tokenizer.json of openai/clip-vit-base-patch32:
python tests/golden/tokenizer.py path/to/tokenizer.json

The first file is that tokenizer.json, compressed. The second holds token ids made
without it, by open_clip.tokenizer.SimpleTokenizer, which is OpenAI's own
simple_tokenizer.py with the vocabulary that ships inside open_clip_torch.

The cleaning is CLIP's: html.unescape twice, str.split and one space between words,
str.lower. CLIP's ftfy repair is off. Ids include begin (49406) and end (49407); they
are neither padded nor cut to 77. Three lists:

* texts: {text, ids}. tokenizer.json gives the same ids.
* differs: {text, why, ids, reads_as, reads_as_ids}. SimpleTokenizer gives `ids`;
  edgeclip, or tokenizer.json itself, gives `reads_as_ids`, SimpleTokenizer's ids for the text `reads_as`
  with its pattern made case-sensitive.
* special: {text, ids}. The text spells special tokens; `ids` takes it as plain text.
"""

import gzip
import json
import sys
from itertools import cycle, islice
from pathlib import Path

import open_clip.tokenizer
import regex

DATA = Path("tests/data")
BEGIN, END = 49406, 49407

TEXTS = [
    # Nothing, and nearly nothing.
    "", " ", " \t\r\n\u00a0\u3000 ", "a", "A", ".", "'", "&", "0",
    # Upper case, accents (composed), letters that change length or script in lower case.
    "A PHOTO OF A CAT", "McDonald's iPhone", "Crème Brûlée", "NAÏVE façade, ÀÉÎÕÜ", "Łódź Žižkov Đorđe", "Tiếng Việt",
    "Straße STRASSE ẞ ß", "İstanbul I ı i DIŞ IĞDIR", "\u01c5 \u01c4 \u01c8", "ﬁne ﬂuﬀy", "ＦＵＬＬ ｗｉｄｔｈ １２３", "𝔸𝕓𝒸 𝟙𝟚", "𐐀𐐁 Deseret",
    "300 \u212a, 5 \u212bngström", "long ſ inside: Congreſs", "œuvre Æon Þórr ŉ",
    # Contractions.
    "it's don't you're I've I'm we'll he'd", "IT'S DON'T YOU'RE I'VE I'M WE'LL HE'D", "'s 't 're 've 'm 'll 'd",
    "'S'T'RE'VE'M'LL'D", "the dogs' toys", "rock 'n' roll", "''s '''t", "it’s don’t", "'tis 'twas 'recent 'dog 'llama",
    "can't've y'all'd've", "'", "''", "o'clock 5's 80's",
    # Digits.
    "0123456789", "1 22 333 4444", "a1b2c3 4k 1080p mp3", "3.14159 1,000,000 -5 +7 50%", "x² ½ Ⅷ ⅷ ① ٣٤ ৪৫ 五",
    "2001: a space odyssey", "B-52 747-400 A300B4 An-12",
    # White space.
    "two  spaces   three", "\ttab\tand\nnewline\r\nreturn\x0bvertical\x0cform", "no\u00a0break thin\u2009hair\u200aspace",
    "ideographic\u3000space", "next\u0085line line\u2028sep para\u2029sep", "ogham\u1680mark narrow\u202fmath\u205fspace",
    "file\x1cgroup\x1drecord\x1eunit\x1fseparators", "\x1f leading and trailing \x1c", "  padded  ",
    # HTML entities.
    "&amp;", "&amp;amp;", "&amp;amp;amp;", "&lt;b&gt;bold&lt;/b&gt;", "&amp;lt;", "it&#39;s", "it&#x27;s", "it&#X27;s", "it&#39s",
    "caf&eacute; CAF&Eacute;", "caf&amp;eacute;", "a&nbsp;b", "&nbsp; &nbsp;", "a&amp;nbsp;b", "&quot;cat&quot; &apos;dog&apos;",
    "&amp", "&lt", "cats &amp dogs", "&ampamp;", "&AMP; &Amp; &aMP;", "&notit;", "&notin;", "&not it", "&copycat &copy;cat",
    "&euro &euro;", "&eacute &eacut;", "?a=1&amp=2&lt=3&b=4", "&#128;", "&#129;", "&#150;", "&#0;", "&#xD800;", "&#x110000;",
    "&#99999999999999999999;", "a&#13;b", "a&#x85;b", "&#;", "&#x;", "&;",
    "& ;", "&#", "&&amp;&", "R&D AT&T", "&#128512;", "&#x1F600", "&fjlig; &NotEqualTilde; &ThickSpace; &Tab;&NewLine;",
    "&CounterClockwiseContourIntegral;", "&shy; &zwnj; &zwj;", "&bogus; &madeup", "&#38;lt;", "&#x26;#39;", "&lt;&#47;a&gt;",
    "&hearts;&trade;&frac12;", "&sup2&sup2;", "&amp;#x27;", "&amp;amp;#39;s",
    # Punctuation and symbols.
    "!", "!!!", "?!?!?!", "...", "…", "hello,world", "hello , world !", "-- — – -", "a/b\\c|d", "([{<>}])", "@user #tag $5 ^_^ ~*~",
    "snake_case __dunder__", "http://example.com/a?b=c&d=e#f", "me@example.com", "«guillemets» „quotes“ ‘single’", "€£¥₹",
    "∑∫√∞≠≤", "a+b=c", "C++ C# .NET", ":-) :( ;P <3", "!a!b!c!", "`code` \"quoted\"", "¡Olé! ¿Qué?", "™®©°",
    # Emoji.
    "😀", "a 🐱 and a 🐶", "🐱🐶🐭", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇯🇵", "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "1️⃣ #️⃣", "❤️ ❤", "cat😀dog", "🫠🪿",
    # Other scripts.
    "一只猫的照片", "猫の写真、ネコ。", "ガラス", "고양이 사진", "صورة قطة", "صُورَة", "एक बिल्ली की तस्वीर", "ภาพถ่ายของแมว",
    "фотография кошки", "ФОТОГРАФИЯ КОШКИ Ё", "ένα σκύλος", "ΣΙΓΜΑ Σ", "חתול שָׁלוֹם", "ქართული ᲥᲐᲠᲗᲣᲚᲘ", "Հայերեն", "ᏣᎳᎩ", "தமிழ் பூனை",
    "አማርኛ", "བོད་ཡིག", "ខ្មែរ", "cat猫cat кот", "x\u0301 q\u0308",
    # Control and zero-width characters.
    "nul\0byte", "bell\x07escape\x1b[0m", "del\x7fete", "c1\x80\x9f", "zero\u200bwidth", "join\u200der non\u200cjoiner", "soft\u00adhyphen",
    "\ufeffbom", "word\u2060joiner", "mongolian\u180evowel", "left\u200eright\u200fmark \u202eoverride\u202c", "\ufffd \uffff",
    "private\ue000use", "\U0010ffff",
    # Close to the special tokens, but not one.
    "startoftext endoftext", "<|start|>", "< |endoftext| >", "<|endoftext", "<|pad|> </w> a</w>",
    # Long words.
    "pneumonoultramicroscopicsilicovolcanoconiosis", "a" * 300, "abc" * 100, "!" * 100, "é" * 60, "猫" * 40,
    "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch",
]  # fmt: skip

# CLIP's own prompts: templates and class names from data/prompts.md of openai/CLIP.
TEXTS += [
    template.format(name)
    for template, name in [
        ("a photo of a {}, a type of bird.", "Black bellied Whistling Duck"),
        ("a photo of a {}, a type of bird.", "Swainsons Thrush"),
        ("a blurry photo of the {}.", "automobile"),
        ("a black and white photo of a {}.", "airplane"),
        ("a low contrast photo of a {}.", "aquarium fish"),
        ("a photo of the big {}.", "maple tree"),
        ("a photo of {} objects.", "10"),
        ("a embroidered {}.", "off-center face"),
        ("art of the {}.", "snoopy (cartoon beagle)"),
        ("a {} in a video game.", "grand piano"),
        ("a doodle of the {}.", "dragonfly"),
        ("a photo i took in {}.", "Cote d'Ivoire"),
        ("a photo showing the country of {}.", "Timor-Leste"),
        ("a photo from my visit to {}.", "Saint-Martin"),
        ("a photo of a {} texture.", "polka-dotted"),
        ("a centered satellite photo of {}.", "annual crop land"),
        ("a photo of a {}, a type of aircraft.", "707-320"),
        ("a photo of the {}, a type of aircraft.", "BAE 146-200"),
        ("a photo of a {}, a type of aircraft.", "Beechcraft 1900"),
        ("a photo of a {} looking face.", "happy"),
        ("a photo of a face showing the emotion: {}.", "surprised"),
        ("look at how {} they are.", "angry"),
        ("a photo of a {}, a type of flower.", "colt's foot"),
        ("a photo of {}, a type of food.", "spaghetti carbonara"),
        ('a zoomed in photo of a "{}" traffic sign.', "red and white circle 20 kph speed limit"),
        ('a close up photo of a "{}" traffic sign.', "stop"),
        ("a video of a person {}.", "massaging person's head"),
        ("a example of a person {}.", "playing ukulele"),
        ('a photo of the number: "{}".', "7"),
        ("a photo of a {}, a type of pet.", "Staffordshire Bull Terrier"),
    ]
]

NFC = "tokenizer.json composes to NFC; CLIP leaves that to ftfy, which is off"
SIGMA = "str.lower makes a word-final capital sigma final; tokenizer.json lowers each character alone"
SPLIT = "tokenizer.json splits after the spelt special token; the plain pattern runs on through the punctuation"
CASE = "SimpleTokenizer's pattern ignores case, so 's takes the long s too; tokenizer.json's pattern does not"
DROPS = "SimpleTokenizer's pattern, as it ignores case, drops U+0345, a mark whose capital is a letter"
DIFFERS = [  # text, why, reads_as
    *[
        (text, "Python's html.unescape drops references to control characters and noncharacters; the HTML standard keeps them", kept)
        for text, kept in [("&#1;", "\x01"), ("a&#8;b", "a\x08b"), ("a&#127;b", "a\x7fb"), ("a&#11;b", "a b"), ("a&#xFFFE;b", "a\ufffeb")]
    ],
    ("Cre\u0300me Bru\u0302le\u0301e", NFC, "Crème Brûlée"),
    ("nai\u0308ve A\u030angstro\u0308m", NFC, "naïve ångström"),
    ("Tie\u0302\u0301ng Vie\u0323\u0302t", NFC, "Tiếng Việt"),
    ("\u1100\u1169\u110b\u1163\u11bc\u110b\u1175", NFC, "고양이"),
    ("か\u3099らす", NFC, "がらす"),
    ("e\u0301 or &eacute;", NFC, "é or é"),
    ("e&#x301;", NFC, "é"),
    ("why\u037e a\u0387b", NFC, "why; a·b"),
    ("\u0958\u095c", NFC, "\u0915\u093c\u0921\u093c"),
    ("\uf900", NFC, "\u8c48"),
    ("ΟΔΟΣ", SIGMA, "οδοσ"),
    ("ΣΟΦΟΣ ΑΝΗΡ, ΛΟΓΟΣ!", SIGMA, "σοφοσ ανηρ, λογοσ!"),
    ("it'ſ", CASE, "it'ſ"),
    ("x\u0345y", DROPS, "x\u0345y"),
    ("<|endoftext|>!!", SPLIT, "<|endoftext|> !!"),
    ("<|startoftext|><|endoftext|>", SPLIT, "<|startoftext|> <|endoftext|>"),
]

SPECIAL = [
    "<|startoftext|>", "<|endoftext|>", "<|STARTOFTEXT|>", "<|EndOfText|>", "a photo <|endoftext|> of a cat", "cat<|endoftext|>dog",
    "<|startoftext|>a cat", "<|startoftext|> a cat <|endoftext|>", "&lt;|endoftext|&gt;", "&amp;lt;|startoftext|&amp;gt;",
    "<start_of_text>", "<end_of_text> a cat",
]  # fmt: skip


def make_encoder(flags=regex.IGNORECASE):
    tokenizer = open_clip.tokenizer.SimpleTokenizer()
    # Its own spelling of the special tokens is plain text in tokenizer.json.
    pattern = tokenizer.pat.pattern.removeprefix("<start_of_text>|<end_of_text>|")
    assert pattern.startswith("'s|'t|")
    tokenizer.pat = regex.compile(pattern, flags)
    return lambda text: [BEGIN, *tokenizer.encode(text), END]


def main():
    DATA.mkdir(parents=True, exist_ok=True)
    source = Path(sys.argv[1]).read_bytes()
    (DATA / "clip-tokenizer.json.gz").write_bytes(gzip.compress(source, 9, mtime=0))

    open_clip.tokenizer.ftfy.fix_text = lambda text: text
    encode, encode_cased = make_encoder(), make_encoder(flags=0)
    texts = list(dict.fromkeys(TEXTS))
    for content in (75, 76, 77):
        words = cycle("a photo of a small red fox jumping over the lazy dog".split())
        text = " ".join(islice(words, content))
        assert len(encode(text)) == content + 2
        texts.append(text)
    for text, _, reads_as in DIFFERS:
        assert encode(text) != encode_cased(reads_as), text

    lists = {
        "texts": [{"text": text, "ids": encode(text)} for text in texts],
        "differs": [
            {"text": text, "why": why, "ids": encode(text), "reads_as": other, "reads_as_ids": encode_cased(other)}
            for text, why, other in DIFFERS
        ],
        "special": [{"text": text, "ids": encode(text)} for text in SPECIAL],
    }
    for entry in sum(lists.values(), []):
        assert BEGIN not in entry["ids"][1:] and END not in entry["ids"][:-1], entry["text"]
    body = ",\n".join(
        f'"{name}": [\n' + ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in entries) + "\n]"
        for name, entries in lists.items()
    )
    (DATA / "clip-tokens.json").write_text("{\n" + body + "\n}\n")


if __name__ == "__main__":
    main()
