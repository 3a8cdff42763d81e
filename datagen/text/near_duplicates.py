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

import itertools
import math
from collections.abc import Hashable, Iterable
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datagen.records import content_id
from datagen.text.aside import Aside
from datagen.text.shingled import SKETCH, Places, Sets, mix, pack

MISS = 1e-3  # the chance that a pair right at the threshold is not proposed
MOST_BANDS = 100
MOST_ROWS = 8
IN_MEMORY = 1 << 14  # pairs that are compared together by what is in memory of them
NEARBY = 64  # sets that are looked at before what was read of them is let go: 64 KiB are mapped for each
PAIRS = 12  # bits: 2**12 pairs are compared together, their shingles distinguished by the other 52 bits of a hash


def clusters(texts: Iterable[str], threshold: float = 0.8) -> Places:
    """The near-duplicate cluster of each text, named by the index of its first member; chains are one cluster.

    Which texts lie together does not depend on their order. The texts are gone through once, and what is compared of
    them lies in temporary files; arrays of a few numbers a text are in memory.
    """
    return _components(*_packed(texts), threshold)


def duplicates(texts: Iterable[str], threshold: float = 0.8) -> NDArray[np.bool_]:
    """True for each text that has a near-duplicate among the earlier texts that are kept.

    The first of two near-duplicates is kept, so the order decides: sort by something of the content to be free of it.
    """
    sets, first = _packed(texts)
    dropped: NDArray[np.bool_] = first != np.arange(len(sets), dtype=np.int32)
    parent = _components(sets, first, threshold)
    left = np.flatnonzero(~dropped)
    left = left[np.bincount(parent[left], minlength=len(parent))[parent[left]] > 1]
    left = left[np.argsort(parent[left], kind="stable")]
    while len(left):
        # In every cluster at once: the first that is left is kept and drops its near-duplicates.
        opens = np.diff(parent[left], prepend=-1) != 0
        kept = left[opens][np.cumsum(opens) - 1]
        rest = left[~opens]
        near = _are_near(sets, kept[~opens], rest, threshold)
        dropped[rest[near]] = True
        left = rest[~near]
    return dropped


def split(cluster_ids: Iterable[Hashable], test_share: float, seed: int) -> list[str]:
    """The side of each row, "train" or "test": whole clusters go to test until its share is as close as possible.

    Clusters come in the order of hash(seed, cluster id), and one that would lead away from the share is skipped.
    So a cluster keeps its side when rows are added, except the few at the end of test's list; that holds only if its
    id says what is in it (the text or the id of the prompt that names it), not where it stands.
    """
    keys = np.fromiter((int(content_id("split", seed, str(name)), 16) for name in cluster_ids), np.uint64)
    _, which, sizes = np.unique(keys, return_inverse=True, return_counts=True)
    missing, test = Fraction(test_share) * len(keys), np.zeros(len(sizes), dtype=bool)
    for place, size in enumerate(sizes.tolist()):
        if abs(missing - size) < missing:
            test[place] = True
            missing -= size
    return ["test" if there else "train" for there in test[which]]


def _packed(texts: Iterable[str]) -> tuple[Sets, Places]:
    """The sets of texts, and for each the first that has the same normal form."""
    sets, normal = pack(texts)
    _, first, which = np.unique(normal, return_index=True, return_inverse=True)
    return sets, first.astype(np.int32)[which]


def _shape(threshold: float) -> tuple[int, int]:
    """Bands and rows: the most rows (fewest pairs proposed in vain) with which so few bands miss no more than MISS."""
    needed = {rows: math.ceil(math.log(MISS) / math.log1p(-(threshold**rows))) for rows in range(1, MOST_ROWS + 1)}
    rows = max((rows for rows, bands in needed.items() if bands <= MOST_BANDS), default=1)
    return needed[rows], rows


def _bands(sets: Sets, threshold: float) -> tuple[int, Aside]:
    """MinHash: how many bands, and (bands, N) keys; two sets share one with probability similarity ** rows.

    Of two sets in a billion 32 bits are the same by chance, which costs a comparison.
    """
    bands, rows = _shape(threshold)
    draws = mix(np.arange(1, bands * rows + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    factors, shifts = (draws | np.uint64(1)).astype(np.uint32), (draws >> np.uint64(32)).astype(np.uint32)
    every, hashes = Aside(np.uint32), sets.items.array
    for first, last in sets.blocks():
        starts = sets.starts[first:last] - sets.starts[first]
        items = (hashes[sets.starts[first] : sets.starts[last]] >> np.uint64(32)).astype(np.uint32)
        keys = np.zeros((bands, last - first), dtype=np.uint64)
        for k, (factor, shift) in enumerate(zip(factors, shifts, strict=True)):
            lowest = np.minimum.reduceat(items * factor + shift, starts)
            keys[k // rows] = mix(keys[k // rows] + lowest)
        for band, own in enumerate(keys):
            every.put(band * len(sets) + first, own >> np.uint64(32))
        sets.items.release()
    return bands, every


def _may_be_near(sets: Sets, a: Places, b: Places, threshold: float) -> NDArray[np.bool_]:
    """False for pairs (a[k], b[k]) that cannot be near-duplicates: sketches differ in as few bits as sets in items.

    Most are told apart by words that are in memory; only what those leave is looked at where it lies.
    """
    may = np.zeros(len(a), dtype=bool)
    for start in range(0, len(a), IN_MEMORY):
        one, other = a[start : start + IN_MEMORY], b[start : start + IN_MEMORY]
        different = np.bitwise_count(sets.folded[one] ^ sets.folded[other]).sum(axis=1, dtype=np.int64)
        may[start : start + IN_MEMORY] = _may_have_enough(sets, one, other, different, threshold)
    sketches, left = sets.sketches.array.reshape(-1, SKETCH), np.flatnonzero(may)
    for start in range(0, len(left), NEARBY):
        some = left[start : start + NEARBY]
        one, other = a[some], b[some]
        different = np.bitwise_count(sketches[one] ^ sketches[other]).sum(axis=1, dtype=np.int64)
        may[some] = _may_have_enough(sets, one, other, different, threshold)
        sets.sketches.release()
    return may


def _may_have_enough(
    sets: Sets, one: Places, other: Places, different: NDArray[Any], threshold: float
) -> NDArray[np.bool_]:
    """Whether pairs that differ in so many items at least may be near-duplicates."""
    first, second = sets.sizes[one].astype(np.int64), sets.sizes[other].astype(np.int64)
    common = np.minimum((first + second - different) // 2, np.minimum(first, second))
    found: NDArray[np.bool_] = common >= threshold * (first + second - common) - 1e-6  # rounding must lose no pair
    return found


def _are_near(sets: Sets, a: Places, b: Places, threshold: float) -> NDArray[np.bool_]:
    """Which pairs (a[k], b[k]) are near-duplicates, by the Jaccard similarity of their sets."""
    found = _may_be_near(sets, a, b, threshold)
    todo = np.flatnonzero(found)
    for start in range(0, len(todo), 1 << PAIRS):
        some = todo[start : start + (1 << PAIRS)]
        both = np.stack([a[some], b[some]], axis=1).ravel()
        sizes = sets.sizes[both]
        items = np.concatenate([sets.gathered(part) for part in np.split(both, range(NEARBY, len(both), NEARBY))])
        items >>= np.uint64(PAIRS)
        pair = np.repeat(np.arange(len(both), dtype=np.uint64) // np.uint64(2), sizes)
        merged = np.sort(items | pair << np.uint64(64 - PAIRS))
        shared = merged[1:][merged[1:] == merged[:-1]] >> np.uint64(64 - PAIRS)
        common = np.bincount(shared.astype(np.int64), minlength=len(some))
        found[some] = common / (sizes.reshape(-1, 2).sum(axis=1) - common) >= threshold
    return found


def _components(sets: Sets, parent: Places, threshold: float) -> Places:
    """The first member of each set's cluster; at the beginning `parent` has the first that is the same."""
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is {threshold}; it must be above 0 and at most 1")
    distinct = np.flatnonzero(parent == np.arange(len(sets), dtype=np.int32)).astype(np.int32)
    bands, every = _bands(sets, min(threshold, 1 - 1e-9))
    keys = every.array.reshape(bands, len(sets))
    for band in range(bands):
        key = keys[band][distinct]
        by_key = np.argsort(key, kind="stable")
        key = key[by_key]
        opens = np.zeros(len(key), dtype=bool)
        np.not_equal(key[1:], key[:-1], out=opens[1:])
        runs: Places = np.cumsum(opens, dtype=np.int32)
        order: Places = distinct[by_key]
        del key, by_key
        every.release()
        # Neighbours of each run of equal keys first, then the next but one: a run that has grown together is left.
        for step in itertools.count(1):
            order, runs, roots = _unfinished(order, runs, parent, step)
            if not len(order):
                break
            near = np.flatnonzero((runs[step:] == runs[:-step]) & (roots[step:] != roots[:-step]))
            near = near[_may_be_near(sets, order[near], order[near + step], threshold)]
            a, b = order[near], order[near + step]
            for before in range(band if len(a) else 0):  # what was looked into in a band before is left out
                new = keys[before][a] != keys[before][b]
                a, b = a[new], b[new]
                every.release()
            two = _are_near(sets, a, b, threshold)
            _join(parent, a[two], b[two])
        parent[:] = _first(parent, np.arange(len(parent), dtype=np.int32))
    return parent


def _unfinished(order: Places, runs: Places, parent: Places, step: int) -> tuple[Places, Places, Places]:
    """The runs that have members `step` apart and are not one cluster yet, and the first members of the clusters."""
    if not len(order):
        return order, runs, order
    starts = np.flatnonzero(np.diff(runs, prepend=runs[0] - 1))
    lengths = np.diff(starts, append=len(runs))
    roots = _first(parent, order)
    mixed = np.minimum.reduceat(roots, starts) != np.maximum.reduceat(roots, starts)
    keep = np.repeat(mixed & (lengths > step), lengths)
    return order[keep], runs[keep], roots[keep]


def _join(parent: Places, a: Places, b: Places) -> None:
    """Make one cluster of each pair's two, whose later first member points to the earlier one."""
    while len(a):
        roots = np.sort(np.stack([_first(parent, a), _first(parent, b)]), axis=0)
        apart = roots[0] != roots[1]
        a, b, roots = a[apart], b[apart], roots[:, apart]
        np.minimum.at(parent, roots[1], roots[0])


def _first(parent: Places, members: Places) -> Places:
    """The first member of the cluster of each of some."""
    found = parent[members]
    while (parent[found] != found).any():
        found = parent[found]
    return found
