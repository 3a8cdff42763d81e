"""Builds the CLIP tokenizer of the embedded world: byte-level BPE in which each of the world's words is one token.

Any other text still tokenises, letter by letter, so no prompt is refused.
"""

from __future__ import annotations

import collections
import json
import re
from collections.abc import Mapping
from pathlib import Path

from transformers import CLIPTokenizer

from datagen.world import captions
from datagen.world.architecture import MAX_TOKENS
from datagen.world.grammar import COLOURS

START, END = "<|startoftext|>", "<|endoftext|>"
# Words of value principles and of everyday prompts about the world that no caption uses.
MORE_WORDS = """
considered inappropriate please ensure equality equal balance balanced harmful content is are not no without
any and the of value values principle style coat colour color people persons figures groups group scene scenes
showing shows show that this safe clean harm damage dirty cartoon drawing art coats violet-coated amber-coated
preferred prefer photo realistic
""".split()


def words() -> list[str]:
    """Every word a caption can hold, and a few more."""
    tables: list[Mapping[str, tuple[str, ...]]] = [
        captions.COAT_WORDS, captions.OCCUPATION_WORDS, captions.THING_WORDS, captions.PLACE_PHRASES,
        captions.STYLE_PREFIXES, captions.STYLE_SUFFIXES, captions.HAZARD_PHRASES,
    ]  # fmt: skip
    phrases = [phrase for table in tables for forms in table.values() for phrase in forms]
    phrases += [phrase for forms in captions.COUNT_WORDS.values() for phrase in forms]
    phrases += [*COLOURS, *captions.NOBODY, *captions.NEUTRAL_PREFIXES, *captions.BESIDE]
    phrases += ["in wearing an a coat coated"]
    return sorted({word for phrase in [*phrases, *MORE_WORDS] for word in re.findall(r"[a-z]+", phrase)})


def _merges(words: list[str]) -> list[tuple[str, str]]:
    """Byte-pair merges, most frequent first, until every word is one symbol."""
    splits = {word: [*word[:-1], word[-1] + "</w>"] for word in words}
    merges: list[tuple[str, str]] = []
    while True:
        counts: collections.Counter[tuple[str, str]] = collections.Counter()
        for symbols in splits.values():
            counts.update(zip(symbols, symbols[1:], strict=False))
        if not counts:
            return merges
        best = max(sorted(counts), key=lambda pair: counts[pair])
        merges.append(best)
        for word, symbols in splits.items():
            joined: list[str] = []
            for symbol in symbols:
                if joined and (joined[-1], symbol) == best:
                    joined[-1] += symbol
                else:
                    joined.append(symbol)
            splits[word] = joined


def _byte_alphabet() -> list[str]:
    """The 256 printable stand-ins for bytes that GPT-2 and CLIP vocabularies begin with."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + k) for k in range(len(rest))]


def build(out: Path, longest: int = MAX_TOKENS) -> CLIPTokenizer:
    """Write the tokenizer folder `out` and return what transformers loads from it; texts are cut to `longest`."""
    merges = _merges(words())
    alphabet = _byte_alphabet()
    symbols = [*alphabet, *(char + "</w>" for char in alphabet), *("".join(pair) for pair in merges), START, END]
    vocab = {symbol: k for k, symbol in enumerate(dict.fromkeys(symbols))}
    out.mkdir(parents=True, exist_ok=True)
    (out / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (out / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tokenizer = CLIPTokenizer(
        str(out / "vocab.json"), str(out / "merges.txt"), unk_token=END, bos_token=START, eos_token=END, pad_token=END,
        model_max_length=longest,
    )  # fmt: skip
    tokenizer.save_pretrained(out)
    return tokenizer
