"""Tokenizers of the published kinds, trained here on a few made-up captions: right in every rule, small in vocabulary.

Published vocabularies can't be had without a network. Each function writes `tokenizer.json`, `tokenizer_config.json` and
`special_tokens_map.json` with the normaliser, the splitting, the special tokens and their ids, the padding and the file's
keys of the repository that it names.
"""

import io
import json
import random
import re
import string
from collections import Counter
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers.convert_slow_tokenizer import SpmConverter, bytes_to_unicode
from transformers.models.gemma.tokenization_gemma_fast import GemmaTokenizerFast

THINGS = """cat dog bird horse car bicycle boat train house tree flower apple banana cup bottle chair table clock phone book ball hat shoe key person hand
bridge candle carpet castle cheese church cloud cow curtain desert door drum eagle elephant fence fish fork garden ghost giraffe glove guitar hammer island
jacket kite knife ladder lamp lemon lion mirror monkey mountain mushroom needle ocean onion orange owl pencil piano pillow pizza queen rabbit radio river rocket
sailor sandwich scissors snake spider spoon star sunset sweater tiger tractor trumpet turtle umbrella violin volcano wagon whale window wolf zebra""".split()
KINDS = "red green blue yellow black white small large old new round broken wooden wet clean sleeping bright dusty empty frozen golden heavy quiet striped tall young".split()
TEMPLATES = ("a photo of a {} {}", "a blurry picture of the {} {}", "the {} {}, on a table!", "it's a drawing of {} {}s", "{} {} near 12 people", "a café with a {} {}")
CHINESE_THINGS = "猫 狗 鸟 马 汽车 自行车 船 火车 房子 树 花 苹果 香蕉 杯子 瓶子 椅子 桌子 钟 手机 书 球 帽子 鞋 钥匙 人".split()
CHINESE_KINDS = "红色的 绿色的 蓝色的 黄色的 黑色的 白色的 小 大 旧 新".split()
CHINESE_TEMPLATES = ("一张{}{}的照片", "{}{}在桌子上", "模糊的{}{}", "一幅{}{}的画,2024年")
# Some of SentencePiece's own rules (nmt_nfkc): enough to see that they are applied, in a table of a few kilobytes, not 240.
FOLDED = {"ﬁ": "fi", "ﬂ": "fl", "…": "...", "\u00a0": " ", "\u3000": " ", "½": "1/2", **{chr(0xFEE0 + code): chr(code) for code in range(0x21, 0x7F)}}


def captions() -> list[str]:
    return [template.format(kind, thing) for template, kind, thing in product(TEMPLATES, KINDS, THINGS)]


def chinese_captions() -> list[str]:
    return [template.format(kind, thing) for template, kind, thing in product(CHINESE_TEMPLATES, CHINESE_KINDS, CHINESE_THINGS)]


def phrases(count: int, chinese: bool = False) -> list[str]:
    """Texts of two to five words, with few words in common; always the same ones."""
    chance, deck, made = random.Random(1), [], []
    for index in range(count):
        if len(deck) < 5:
            deck = CHINESE_KINDS + CHINESE_THINGS if chinese else KINDS + THINGS
            chance.shuffle(deck)
        made.append(("" if chinese else " ").join(deck.pop() for _ in range(2 + index % 4)))
    return made


def special(content: str, normalized: bool = False) -> dict:
    """As tokenizer_config.json and special_tokens_map.json write a token."""
    return {"content": content, "lstrip": False, "normalized": normalized, "rstrip": False, "single_word": False}


def write_json(file: Path, value: object) -> None:
    file.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_configs(out: Path, config: dict, tokens: dict, added: dict[int, dict]) -> None:
    decoder = {str(index): {**token, "special": True} for index, token in added.items()}
    write_json(out / "tokenizer_config.json", {"added_tokens_decoder": decoder, **config})
    write_json(out / "special_tokens_map.json", tokens)


def clip(out: Path, size: int, published: Path | None, context: int = 77, pad: str = "<|endoftext|>") -> None:
    """openai/clip-vit-base-patch32: byte-level BPE with `</w>`, or that file itself where `published` names it."""
    file, begin, end = out / "tokenizer.json", "<|startoftext|>", "<|endoftext|>"
    if published:
        file.write_bytes(published.read_bytes())
    else:
        clip_tokenizer(size, begin, end).save(str(file))
    ids = Tokenizer.from_file(str(file))
    added = {ids.token_to_id(begin): special(begin, normalized=True), ids.token_to_id(end): special(end)}
    if pad not in (begin, end):
        added = {ids.token_to_id(pad): special(pad), **added}
    config = {
        "add_prefix_space": False, "bos_token": begin, "clean_up_tokenization_spaces": False, "do_lower_case": True, "eos_token": end, "errors": "replace",
        "model_max_length": context, "pad_token": pad, "processor_class": "CLIPProcessor", "tokenizer_class": "CLIPTokenizer", "unk_token": end,
    }  # fmt: skip
    tokens = {"bos_token": special(begin, normalized=True), "eos_token": special(end), "pad_token": pad if pad == "!" else special(pad), "unk_token": special(end)}
    write_configs(out, config, tokens, added)


def learnt_merges(counts: Counter, count: int) -> list[tuple[str, str]]:
    """Byte pairs by their frequency in words, ties by their letters: tokenizers' own trainer breaks them by chance."""
    words = {word: [*word[:-1], word[-1] + "</w>"] for word in counts}
    merges = []
    for _ in range(count):
        pairs = Counter()
        for word, parts in words.items():
            for pair in zip(parts, parts[1:]):
                pairs[pair] += counts[word]
        merges.append(min(pairs, key=lambda pair: (-pairs[pair], pair)))
        words = {word: merged_pair(parts, merges[-1]) for word, parts in words.items()}
    return merges


def merged_pair(parts: list[str], pair: tuple[str, str]) -> list[str]:
    made = []
    for part in parts:
        if made and (made[-1], part) == pair:
            made[-1] += part
        else:
            made.append(part)
    return made


def clip_tokenizer(size: int, begin: str, end: str) -> Tokenizer:
    """CLIP's order of ids: 256 bytes, the same at a word's end, merges, begin, end."""
    normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    words = Regex(r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    split = pre_tokenizers.Sequence([pre_tokenizers.Split(words, behavior="removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    texts = (normalizer.normalize_str(text) for text in captions())
    counts = Counter(word for text in texts for word, _ in split.pre_tokenize_str(text))
    merges = learnt_merges(counts, size - 2 * 256 - 2)
    letters = list(bytes_to_unicode().values())
    entries = [*letters, *(letter + "</w>" for letter in letters), *("".join(merge) for merge in merges), begin, end]
    vocabulary = {entry: index for index, entry in enumerate(entries)}
    made = Tokenizer(models.BPE(vocabulary, merges, continuing_subword_prefix="", end_of_word_suffix="</w>", fuse_unk=False, unk_token=end))
    made.add_special_tokens([AddedToken(begin, normalized=True), AddedToken(end, normalized=False)])
    made.normalizer, made.pre_tokenizer, made.decoder = normalizer, split, decoders.ByteLevel()
    made.post_processor = processors.RobertaProcessing((end, vocabulary[end]), (begin, vocabulary[begin]), trim_offsets=False, add_prefix_space=False)
    return made


def sentencepiece_model(out: Path, **options: object) -> Path:
    """Trains a SentencePiece model on the captions; always the same for the same options."""
    rules, model = out / "rules.tsv", io.BytesIO()
    rules.write_text("".join(f"{ord(a):X}\t{' '.join(f'{ord(c):X}' for c in b)}\n" for a, b in FOLDED.items()))
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(captions()), model_writer=model, normalization_rule_tsv=str(rules), hard_vocab_limit=False, num_threads=1, minloglevel=2, **options
    )
    rules.unlink()
    file = out / "spiece.model"
    file.write_bytes(model.getvalue())
    return file


class SiglipConverter(SpmConverter):
    """From SigLIP's spiece.model to a fast tokenizer, as transformers' slow one tokenizes: lower case, no punctuation, `</s>` at the end."""

    def normalizer(self, proto: object) -> normalizers.Normalizer:
        tables = [normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap)] if proto.normalizer_spec.precompiled_charsmap else []
        punctuation = normalizers.Replace(Regex(f"[{re.escape(string.punctuation)}]"), "")
        spaces = [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
        return normalizers.Sequence([normalizers.Lowercase(), punctuation, *spaces, *tables, normalizers.Replace(Regex(" {2,}"), " ")])

    def post_processor(self) -> processors.PostProcessor:
        return processors.TemplateProcessing(single=["$A", "</s>"], pair=["$A", "</s>", "$B", "</s>"], special_tokens=[("</s>", 1)])


def siglip_from_sentencepiece(spiece: Path, file: Path) -> None:
    """Writes the tokenizer.json that belongs to a SigLIP checkpoint's spiece.model."""
    tokenizer = SiglipConverter(SimpleNamespace(vocab_file=str(spiece), add_prefix_space=True)).converted()
    tokenizer.add_special_tokens([AddedToken("</s>", rstrip=True, lstrip=True, normalized=False), AddedToken("<unk>", normalized=False)])
    tokenizer.save(str(file))


def siglip(out: Path, size: int) -> None:
    """google/siglip-base-patch16-224: SentencePiece unigrams of C4, ids as T5's; texts are padded with `</s>` to 64 tokens."""
    spiece = sentencepiece_model(out, model_type="unigram", vocab_size=size, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    siglip_from_sentencepiece(spiece, out / "tokenizer.json")
    config = {
        "additional_special_tokens": [], "clean_up_tokenization_spaces": True, "do_lower_case": True, "eos_token": "</s>", "model_input_names": ["input_ids"],
        "model_max_length": 64, "pad_token": "</s>", "processor_class": "SiglipProcessor", "sp_model_kwargs": {}, "tokenizer_class": "SiglipTokenizer", "unk_token": "<unk>",
    }  # fmt: skip
    end = {**special("</s>"), "lstrip": True, "rstrip": True}
    write_configs(out, config, {"eos_token": end, "pad_token": end, "unk_token": special("<unk>")}, {1: end, 2: special("<unk>")})


def gemma(out: Path, size: int) -> None:
    """google/siglip2-base-patch16-224: Gemma's BPE with bytes for what it lacks, `<eos>` at the end, padded with `<pad>` to 64 tokens.

    The file does not lower the case; the model was trained on lower case (transformers' documentation of SigLIP 2).
    """
    spiece = sentencepiece_model(
        out, model_type="bpe", vocab_size=size, pad_id=0, eos_id=1, bos_id=2, unk_id=3, pad_piece="<pad>", eos_piece="<eos>", bos_piece="<bos>",
        byte_fallback=True, split_digits=True, add_dummy_prefix=False, allow_whitespace_only_pieces=True, remove_extra_whitespaces=False,
    )  # fmt: skip
    fast = GemmaTokenizerFast(vocab_file=str(spiece), add_bos_token=False, add_eos_token=True)
    fast.backend_tokenizer.save(str(out / "tokenizer.json"))
    spiece.unlink()
    names = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    config = {
        "add_bos_token": False, "add_eos_token": True, **names, "clean_up_tokenization_spaces": False, "model_input_names": ["input_ids"], "padding_side": "right",
        "processor_class": "SiglipProcessor", "sp_model_kwargs": {}, "spaces_between_special_tokens": False, "tokenizer_class": "GemmaTokenizer", "use_default_system_prompt": False,
    }  # fmt: skip
    added = {index: special(token) for index, token in enumerate(("<pad>", "<eos>", "<bos>", "<unk>"))}
    write_configs(out, config, {name: special(token) for name, token in names.items()}, added)


def bert(out: Path, size: int, texts: list[str], context: int, tokenizer_class: str) -> None:
    """A BERT WordPiece vocabulary, uncased: every character, alone and within a word, and the most frequent words."""
    normalizer, splits = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True), pre_tokenizers.BertPreTokenizer()
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    words = Counter(word for text in texts for word, _ in splits.pre_tokenize_str(normalizer.normalize_str(text)))
    characters = sorted({character for word in words for character in word})
    inner = sorted({f"##{character}" for word in words for character in word[1:]})
    frequent = sorted((word for word in words if len(word) > 1), key=lambda word: (-words[word], word))
    entries = [*names.values(), *characters, *inner, *frequent][:size]
    made = Tokenizer(models.WordPiece({entry: index for index, entry in enumerate(entries)}, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer, made.decoder = normalizer, splits, decoders.WordPiece(prefix="##")
    made.add_special_tokens(list(names.values()))
    begin, end = (made.token_to_id(names[name]) for name in ("cls_token", "sep_token"))
    pair = "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1"
    made.post_processor = processors.TemplateProcessing(single="[CLS]:0 $A:0 [SEP]:0", pair=pair, special_tokens=[("[CLS]", begin), ("[SEP]", end)])
    made.save(str(out / "tokenizer.json"))
    config = {
        "clean_up_tokenization_spaces": True, "do_basic_tokenize": True, "do_lower_case": True, "model_max_length": context, "never_split": None,
        "strip_accents": None, "tokenize_chinese_chars": True, "tokenizer_class": tokenizer_class, **names,
    }  # fmt: skip
    write_configs(out, config, names, {made.token_to_id(token): special(token) for token in names.values()})


def chinese_clip(out: Path, size: int) -> None:
    """OFA-Sys/chinese-clip-vit-base-patch16: the vocabulary of Google's Chinese BERT; at most 52 tokens."""
    bert(out, size, [*chinese_captions(), *captions()], 52, "BertTokenizer")
