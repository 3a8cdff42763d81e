"""How many tokens a prompt takes, counted with the tokenizers of the model that will read it.

A trainer's value encoder reads "principle, prompt" and cuts at CLIP's 77 tokens: what does not fit is silently
lost, so it must not be written. Nothing is downloaded: where the model's own tokenizer is not on this machine, CLIP's
published vocabulary counts, which Stable Diffusion 1.5 and both encoders of XL have.
"""

from __future__ import annotations

import functools
import gzip
import importlib.util
from pathlib import Path
from typing import Any

from datagen import models
from datagen.errors import ModelError
from datagen.weights import parts

LIMIT = 77  # with the start and the end of a text
MEASURED = 10_000  # characters, after which a text is too long whatever follows: no token is longer than 100
PARTS = ("tokenizer", "tokenizer_2")
_MERGES = 49152 - 256 - 2  # how many of the vocabulary file's lines CLIP uses


class Fit:
    """Whether texts fit a model: "embedded", a diffusers folder, or a hub id that is in the local cache.

    Tokenizers are loaded at first use and kept for the process.
    """

    def __init__(self, model: str, revision: str = "") -> None:
        self._model, self._revision = model, revision

    @property
    def exact(self) -> bool:
        """Whether the model's own tokenizers count; if not, CLIP's published vocabulary stands in for them."""
        return bool(_own(self._model, self._revision))

    @property
    def limit(self) -> int:
        """How many tokens the model reads, the start and the end of a text included."""
        return min(LIMIT, *(int(tokenizer.model_max_length) for tokenizer in self._tokenizers()))

    def length(self, text: str) -> int:
        """Tokens of a text with its start and end, by the tokenizer that needs most.

        Of a text of more than MEASURED characters the rest is not counted; it does not fit in any case.
        """
        start = " ".join(text[: 4 * MEASURED].split())[:MEASURED]
        return max(len(tokenizer(start, verbose=False).input_ids) for tokenizer in self._tokenizers())

    def fits(self, principle: str, prompt: str) -> bool:
        """Whether the value encoder reads all of a prompt after its principle's statement."""
        return self.length(value_text(principle, prompt)) <= self.limit

    def problem(self, principle: str, prompt: str) -> str | None:
        """Why a prompt must be left out, None if it fits; the same words for every prompt, to be counted."""
        if self.fits(principle, prompt):
            return None
        return f"too long: over {self.limit} tokens" + (" with its principle" if principle else "")

    def _tokenizers(self) -> tuple[Any, ...]:
        return _own(self._model, self._revision) or (_published(),)


def value_text(principle: str, prompt: str) -> str:
    """What a value encoder reads; as training/trainables/livo.py joins it, which a test compares."""
    return f"{principle}, {prompt}" if principle else prompt


@functools.lru_cache(maxsize=8)
def _own(model: str, revision: str) -> tuple[Any, ...]:
    """The model's tokenizers; none if the first is not on this machine, or one cannot be read."""
    found = []
    for part in PARTS:
        folder = models.tokenizer(model, revision, part)
        if folder is None and part == PARTS[0]:
            return ()
        if folder is not None:
            try:
                found.append(parts.tokenizer(folder, LIMIT))
            except ModelError:
                return ()
    return tuple(found)


@functools.lru_cache(maxsize=1)
def _published() -> Any:
    """CLIP's tokenizer from the vocabulary file that comes with open_clip, which itself is slow to import."""
    from transformers import CLIPTokenizer

    package = importlib.util.find_spec("open_clip")
    assert package is not None and package.origin is not None  # a dependency of this package
    with gzip.open(Path(package.origin).with_name("bpe_simple_vocab_16e6.txt.gz"), "rt", encoding="utf-8-sig") as file:
        merges = [tuple(line.split()) for line in file.read().split("\n")[1 : _MERGES + 1]]
    symbols = _byte_symbols()
    symbols += [f"{symbol}</w>" for symbol in symbols]
    symbols += ["".join(merge) for merge in merges] + ["<|startoftext|>", "<|endoftext|>"]
    vocab = {symbol: k for k, symbol in enumerate(symbols)}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=LIMIT)


def _byte_symbols() -> list[str]:
    """The character that stands for each byte, in the vocabulary's order: printable ones first, as themselves."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = range(256 - len(printable))
    return [chr(byte) for byte in printable] + [chr(256 + k) for k in others]
