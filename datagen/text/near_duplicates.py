"""Near-duplicates: prompts that say almost the same, of which one is dropped, or all stay on one side of a split.

Two texts are near-duplicates if the Jaccard similarity of their `shingles` is at least the threshold. MinHash bands
only propose pairs, each pair is decided by exact Jaccard: nothing is called a duplicate that is not one, and a pair
that lies right at the threshold is proposed with probability 0.999, more similar ones almost surely. Nothing is
random.

Near-duplicates make chains (a ~ b ~ c, though a and c are less alike). A chain is one cluster, so that no
near-duplicate crosses a split; but of a chain only those are `duplicates` that have a near-duplicate among the kept,
so both a and c are kept.

Why not datasketch, the library for this: only to propose pairs it takes seven times the CPU of the whole job here, and
it lists them text by text, which is n lists of n for n texts that are all alike
(`benchmarks/data/near_duplicates.py`). What is expensive here is thousands of texts that are nearly all
near-duplicates: every pair of them is looked at.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import math
import re
import unicodedata
from collections.abc import Hashable, Iterator, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from datagen.records import content_id

MISS = 1e-3  # the chance that a pair right at the threshold is not proposed
MOST_BANDS = 100
MOST_ROWS = 8
BLOCK = 1 << 16  # shingles hashed together: they and their temporaries stay in a core's cache
SKETCH = 8  # words of 64 bits
PAIRS = 12  # bits: 2**12 pairs are compared together, their shingles distinguished by the other 52 bits of a hash
SEPARATORS = r"\s\x00-\x1f\x7f-\xbf!-/:-@\[-`{-~\u0589\u05be\u060c\u061b\u061f\u0964\u0965\u2000-\u206f\u3000-\u303f"
# Scripts written without spaces (Thai to Khmer, kana, Chinese): each character is a word.
ALONE = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
WORD = re.compile(rf"[{ALONE}]|[^{SEPARATORS}{ALONE}]+")

Numbers = NDArray[np.uint64]
Indices = NDArray[np.int64]


def clusters(texts: Sequence[str], threshold: float = 0.8) -> list[int]:
    """The near-duplicate cluster of each text, named by the index of its first member; chains are one cluster.

    Which texts lie together does not depend on their order. Memory: about 1.5 KB a prompt of 20 words, over the texts.
    """
    keys, which = _distinct(texts)
    first: dict[int, int] = {}
    for index, key in enumerate(which):
        first.setdefault(key, index)
    parent = _components(_pack(keys), threshold).tolist()
    return [first[parent[key]] for key in which]


def duplicates(texts: Sequence[str], threshold: float = 0.8) -> list[bool]:
    """True for each text that has a near-duplicate among the earlier texts that are kept.

    The first of two near-duplicates is kept, so the order decides: sort by something of the content to be free of it.
    """
    keys, which = _distinct(texts)
    sets = _pack(keys)
    parent = _components(sets, threshold)
    order = np.argsort(parent, kind="stable")
    left = order[np.bincount(parent, minlength=len(parent))[parent[order]] > 1]
    dropped = np.zeros(len(keys), dtype=bool)
    while len(left):
        # In every cluster at once: the first that is left is kept and drops its near-duplicates.
        opens = np.diff(parent[left], prepend=-1) != 0
        kept = left[opens][np.cumsum(opens) - 1]
        rest = left[~opens]
        near = _are_near(sets, kept[~opens], rest, threshold)
        dropped[rest[near]] = True
        left = rest[~near]
    found = [bool(dropped[key]) for key in which]
    seen: set[int] = set()
    for index, key in enumerate(which):
        found[index] |= key in seen
        seen.add(key)
    return found


def split(cluster_ids: Sequence[Hashable], test_share: float, seed: int) -> list[str]:
    """The side of each row, "train" or "test": whole clusters go to test until its share is as close as possible.

    Clusters come in the order of hash(seed, cluster id), and one that would lead away from the share is skipped.
    So a cluster keeps its side when rows are added, except the few at the end of test's list; that holds only if its
    id says what is in it (the text or the id of the prompt that names it), not where it stands.
    """
    sizes: dict[Hashable, int] = {}
    for cluster in cluster_ids:
        sizes[cluster] = sizes.get(cluster, 0) + 1
    missing = Fraction(test_share) * len(cluster_ids)
    test: set[Hashable] = set()
    for cluster in sorted(sizes, key=lambda cluster: content_id("split", seed, str(cluster))):
        if abs(missing - sizes[cluster]) < missing:
            test.add(cluster)
            missing -= sizes[cluster]
    return ["test" if cluster in test else "train" for cluster in cluster_ids]


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


def _distinct(texts: Sequence[str]) -> tuple[list[str], list[int]]:
    """The distinct normal forms in order of their first text, and which of them each text has."""
    known: dict[str, int] = {}
    which = [known.setdefault(_normal(text), len(known)) for text in texts]
    return list(known), which


@dataclasses.dataclass(frozen=True)
class _Sets:
    """N sets of hashed shingles: set i is items[starts[i]:starts[i + 1]], ascending, never empty."""

    items: Numbers
    starts: Indices
    sizes: Indices
    sketches: Numbers  # (N, SKETCH): bit k is set if an odd number of the set's items end in k

    def __len__(self) -> int:
        return len(self.starts) - 1

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Ranges of sets with about BLOCK items in each."""
        first = 0
        while first < len(self):
            last = int(np.searchsorted(self.starts, self.starts[first] + BLOCK, side="right")) - 1
            last = max(first + 1, last)
            yield first, last
            first = last


def _mix(values: Numbers) -> Numbers:
    """Each number's bits spread over all 64 (the finaliser of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _pack(keys: Sequence[str]) -> _Sets:
    """The shingles of normal forms as 64-bit hashes of their content, the same on every machine and in any order."""
    known: dict[str, int] = {}
    parts, counts = [np.empty(0, dtype=np.uint64)], [np.empty(0, dtype=np.int64)]
    for start in range(0, len(keys), 4096):
        lists = [key.split(" ") for key in keys[start : start + 4096]]
        for word in {word for words in lists for word in words} - known.keys():
            digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            known[word] = int.from_bytes(digest, "little")
        words = np.array([known[word] for words in lists for word in words], dtype=np.uint64)
        owner = np.repeat(np.arange(len(lists)), [len(words) for words in lists])
        inside = np.flatnonzero(owner[1:] == owner[:-1])
        pairs = _mix(words[inside] * np.uint64(0x9E3779B97F4A7C15) + words[inside + 1])
        items, owners = np.concatenate([words, pairs]), np.concatenate([owner, owner[inside]])
        order = np.lexsort((items, owners))
        items, owners = items[order], owners[order]
        new = np.ones(len(items), dtype=bool)
        new[1:] = (items[1:] != items[:-1]) | (owners[1:] != owners[:-1])
        parts.append(items[new])
        counts.append(np.bincount(owners[new], minlength=len(lists)))
    starts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(np.concatenate(counts))])
    sets = _Sets(np.concatenate(parts), starts, np.diff(starts), np.zeros((len(keys), SKETCH), dtype=np.uint64))
    for first, last in sets.blocks():
        items = sets.items[starts[first] : starts[last]]
        bits = np.uint64(1) << (items & np.uint64(63))
        for column in range(SKETCH):
            mine = np.where((items >> np.uint64(6)) % np.uint64(SKETCH) == column, bits, np.uint64(0))
            sets.sketches[first:last, column] = np.bitwise_xor.reduceat(mine, starts[first:last] - starts[first])
    return sets


def _shape(threshold: float) -> tuple[int, int]:
    """Bands and rows: the most rows (fewest pairs proposed in vain) with which so few bands miss no more than MISS."""
    needed = {rows: math.ceil(math.log(MISS) / math.log1p(-(threshold**rows))) for rows in range(1, MOST_ROWS + 1)}
    rows = max((rows for rows, bands in needed.items() if bands <= MOST_BANDS), default=1)
    return needed[rows], rows


def _bands(sets: _Sets, threshold: float) -> Numbers:
    """MinHash: (bands, N) keys; two sets share a band's key with probability similarity ** rows."""
    bands, rows = _shape(threshold)
    draws = _mix(np.arange(1, bands * rows + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    factors, shifts = (draws | np.uint64(1)).astype(np.uint32), (draws >> np.uint64(32)).astype(np.uint32)
    keys = np.zeros((bands, len(sets)), dtype=np.uint64)
    for first, last in sets.blocks():
        starts = sets.starts[first:last] - sets.starts[first]
        items = (sets.items[sets.starts[first] : sets.starts[last]] >> np.uint64(32)).astype(np.uint32)
        for k, (factor, shift) in enumerate(zip(factors, shifts, strict=True)):
            lowest = np.minimum.reduceat(items * factor + shift, starts)
            keys[k // rows, first:last] = _mix(keys[k // rows, first:last] + lowest)
    return keys


def _may_be_near(sets: _Sets, a: Indices, b: Indices, threshold: float) -> NDArray[np.bool_]:
    """False for pairs (a[k], b[k]) that cannot be near-duplicates: sketches differ in as few bits as sets in items."""
    different = np.bitwise_count(sets.sketches[a] ^ sets.sketches[b]).sum(axis=1, dtype=np.int64)
    first, second = sets.sizes[a], sets.sizes[b]
    common = np.minimum((first + second - different) // 2, np.minimum(first, second))
    may: NDArray[np.bool_] = common >= threshold * (first + second - common) - 1e-6  # rounding must lose no pair
    return may


def _are_near(sets: _Sets, a: Indices, b: Indices, threshold: float) -> NDArray[np.bool_]:
    """Which pairs (a[k], b[k]) are near-duplicates, by the Jaccard similarity of their sets."""
    found = _may_be_near(sets, a, b, threshold)
    todo = np.flatnonzero(found)
    for start in range(0, len(todo), 1 << PAIRS):
        some = todo[start : start + (1 << PAIRS)]
        both = np.stack([a[some], b[some]], axis=1).ravel()
        sizes = sets.sizes[both]
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        items = sets.items[np.repeat(sets.starts[both], sizes) + within] >> np.uint64(PAIRS)
        pair = np.repeat(np.arange(len(both), dtype=np.uint64) // np.uint64(2), sizes)
        merged = np.sort(items | pair << np.uint64(64 - PAIRS))
        shared = merged[1:][merged[1:] == merged[:-1]] >> np.uint64(64 - PAIRS)
        common = np.bincount(shared.astype(np.int64), minlength=len(some))
        found[some] = common / (sizes.reshape(-1, 2).sum(axis=1) - common) >= threshold
    return found


def _components(sets: _Sets, threshold: float) -> Indices:
    """The first member of each set's cluster."""
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is {threshold}; it must be above 0 and at most 1")
    parent = np.arange(len(sets))
    keys = _bands(sets, min(threshold, 1 - 1e-9))
    for band, key in enumerate(keys):
        order = np.argsort(key, kind="stable")
        runs = np.cumsum(np.diff(key[order], prepend=key[order[:1]]) != 0)
        # Neighbours of each run of equal keys first, then the next but one: a run that has grown together is left.
        for step in itertools.count(1):
            order, runs = _unfinished(order, runs, parent, step)
            if not len(order):
                break
            near = np.flatnonzero((runs[step:] == runs[:-step]) & (parent[order[step:]] != parent[order[:-step]]))
            near = near[_may_be_near(sets, order[near], order[near + step], threshold)]
            a, b = order[near], order[near + step]
            new = (keys[:band, a] != keys[:band, b]).all(axis=0)  # looked into in no band before
            a, b = a[new], b[new]
            alike = _are_near(sets, a, b, threshold)
            _join(parent, a[alike], b[alike])
    return parent


def _unfinished(order: Indices, runs: Indices, parent: Indices, step: int) -> tuple[Indices, Indices]:
    """The runs that have members `step` apart and are not one cluster yet."""
    if not len(order):
        return order, runs
    starts = np.flatnonzero(np.diff(runs, prepend=runs[0] - 1))
    lengths = np.diff(starts, append=len(runs))
    roots = parent[order]
    mixed = np.minimum.reduceat(roots, starts) != np.maximum.reduceat(roots, starts)
    keep = np.repeat(mixed & (lengths > step), lengths)
    return order[keep], runs[keep]


def _join(parent: Indices, a: Indices, b: Indices) -> None:
    """Make one cluster of each pair's two; `parent` holds every member's first member before and after."""
    while len(a):
        roots = np.sort(np.stack([parent[a], parent[b]]), axis=0)
        apart = roots[0] != roots[1]
        a, b, roots = a[apart], b[apart], roots[:, apart]
        np.minimum.at(parent, roots[1], roots[0])
        while (parent[parent] != parent).any():
            parent[:] = parent[parent]
