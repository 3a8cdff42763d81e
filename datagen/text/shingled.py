"""Texts as sets of hashed shingles, which is what is compared of them, and a sketch of each set.

The sets lie in temporary files; hashes are of the texts' content, so they are the same on every machine.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from datagen.text.aside import Aside

BLOCK = 1 << 16  # shingles hashed together: they and their temporaries stay in a core's cache
AT_ONCE = 4096  # texts
WORDS = 1 << 17  # whose hashes are kept while texts are read
SKETCH = 8  # words of 64 bits
FOLDED = 2  # words of a sketch in memory: one tells longer texts of one scene no longer apart, four hardly do better
SEPARATORS = r"\s\x00-\x1f\x7f-\xbf!-/:-@\[-`{-~\u0589\u05be\u060c\u061b\u061f\u0964\u0965\u2000-\u206f\u3000-\u303f"
# Scripts written without spaces (Thai to Khmer, kana, Chinese): each character is a word.
ALONE = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
WORD = re.compile(rf"[{ALONE}]|[^{SEPARATORS}{ALONE}]+")

Numbers = NDArray[np.uint64]
Indices = NDArray[np.int64]
Places = NDArray[np.int32]  # of texts


def shingles(text: str) -> set[str]:
    """What two texts are compared by: their words and their pairs of neighbouring words.

    Case, punctuation and Unicode's spelling variants do not count. Pairs, because order means something in a prompt:
    a red cup and a blue box are not a blue cup and a red box. A text of punctuation alone is its own one shingle.
    """
    words = _normal(text).split(" ")
    return {*words, *(f"{a} {b}" for a, b in itertools.pairwise(words))}


def _normal(text: str) -> str:
    """The words of a text with one space between; NUL and the bare text where it has none."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("'", "").replace("\u2019", "")
    return " ".join(WORD.findall(plain)) or "\0" + "".join(text.split())


@dataclasses.dataclass(frozen=True)
class Sets:
    """N sets of hashed shingles, one a text: set i is items[starts[i]:starts[i] + sizes[i]], ascending, not empty."""

    items: Aside
    starts: Indices
    sizes: NDArray[np.int32]
    sketches: Aside  # (N, SKETCH): bit k is set if an odd number of the set's items end in k
    folded: Numbers  # (N, FOLDED): the words of each sketch in fewer, which is a sketch as well, and in memory

    def __len__(self) -> int:
        return len(self.sizes)

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Ranges of sets with about BLOCK items in each."""
        first = 0
        while first < len(self):
            last = int(np.searchsorted(self.starts, self.starts[first] + BLOCK, side="right")) - 1
            last = max(first + 1, last)
            yield first, last
            first = last

    def gathered(self, places: Places) -> Numbers:
        """The items of some sets, one after the other."""
        sizes = self.sizes[places]
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        found: Numbers = self.items.array[np.repeat(self.starts[places], sizes) + within]
        self.items.release()
        return found


def pack(texts: Iterable[str]) -> tuple[Sets, Numbers]:
    """The shingles of texts as 64-bit hashes of their content, and a hash of the normal form of each."""
    items, sketches = Aside(np.uint64), Aside(np.uint64)
    sizes, normal = [np.empty(0, dtype=np.int32)], [np.empty(0, np.uint64)]
    folded = [np.empty((0, FOLDED), np.uint64)]
    known: dict[str, int] = {}
    texts = iter(texts)
    while keys := [_normal(text) for text in itertools.islice(texts, AT_ONCE)]:
        if len(known) > WORDS:  # names and numbers have no end
            known.clear()
        own, counts = _shingled(keys, known)
        items.add(own)
        sketches.add(made := _sketches(own, counts))
        folded.append(np.bitwise_xor.reduce(made.reshape(len(made), -1, FOLDED), axis=1))
        sizes.append(counts.astype(np.int32))
        normal.append(np.array([_hashed(key) for key in keys], dtype=np.uint64))
    every = np.concatenate(sizes)
    starts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(every, dtype=np.int64)])
    return Sets(items, starts, every, sketches, np.concatenate(folded)), np.concatenate(normal)


def _hashed(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _shingled(keys: Sequence[str], known: dict[str, int]) -> tuple[Numbers, Indices]:
    """The hashed shingles of normal forms, those of one after those of another, and how many each has."""
    lists = [key.split(" ") for key in keys]
    for word in {word for words in lists for word in words} - known.keys():
        known[word] = _hashed(word)
    words = np.array([known[word] for words in lists for word in words], dtype=np.uint64)
    owner = np.repeat(np.arange(len(lists)), [len(words) for words in lists])
    inside = np.flatnonzero(owner[1:] == owner[:-1])
    pairs = mix(words[inside] * np.uint64(0x9E3779B97F4A7C15) + words[inside + 1])
    items, owners = np.concatenate([words, pairs]), np.concatenate([owner, owner[inside]])
    order = np.lexsort((items, owners))
    items, owners = items[order], owners[order]
    new = np.ones(len(items), dtype=bool)
    new[1:] = (items[1:] != items[:-1]) | (owners[1:] != owners[:-1])
    return items[new], np.bincount(owners[new], minlength=len(lists))


def _sketches(items: Numbers, counts: Indices) -> Numbers:
    """(N, SKETCH) of sets that lie one after the other."""
    starts, made = np.cumsum(counts) - counts, np.zeros((len(counts), SKETCH), dtype=np.uint64)
    bits = np.uint64(1) << (items & np.uint64(63))
    for column in range(SKETCH):
        mine = np.where((items >> np.uint64(6)) % np.uint64(SKETCH) == column, bits, np.uint64(0))
        made[:, column] = np.bitwise_xor.reduceat(mine, starts)
    return made


def mix(values: Numbers) -> Numbers:
    """Each number's bits spread over all 64 (the finaliser of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
