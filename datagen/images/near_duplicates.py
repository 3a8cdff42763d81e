"""Pictures that look the same: equal but for compression, size, a slight blur, a little light or contrast.

Two are near-duplicates if their 64-bit hashes differ in at most BITS and, once light and contrast are made equal, no
cell of their thumbnails differs by more than CELL: hashes alone see no colour. Crops and mirrored pictures are not
found. It takes seconds for 100,000 pictures: hashes that differ in few bits agree in whole bands of them, so only
pictures that share bands are compared.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from datagen.images.looks import SMALL, Look

BITS = 4
CELL = 16.0  # of 255
LIGHT = 40.0  # of 255, between the means of two thumbnails
GAIN = (0.7, 1.4)  # of contrast
BANDS, SHARED = 7, 3  # of BITS differences at least 3 of 7 bands have none
# Pictures that share bands are compared each with so many next ones, in the order of a random mixture of their pixels,
# another one for each choice of bands: so many pictures of one hash take no longer, and some of theirs may be missed.
WINDOW = 8
COSINE = 0.8  # of coarse thumbnails: less, and the fine ones need not be compared
CHUNK = 100_000

Places = NDArray[np.int64]


def groups(looks: Sequence[Look]) -> Places:
    """(N,) the number of the first picture that each one is a near-duplicate of, directly or by others in between."""
    found = np.arange(len(looks))
    pictures = _Pictures(looks)
    for one, other in pictures.candidates():
        for start in range(0, len(one), CHUNK):
            some = slice(start, start + CHUNK)
            alike = pictures.alike(one[some], other[some])
            if alike.any():
                found = _joined(found, one[some][alike], other[some][alike])
    return found


def alike(ones: Sequence[Look], others: Sequence[Look]) -> NDArray[np.bool_]:
    """(N,) whether the two pictures of each place are near-duplicates."""
    count = len(ones)
    return _Pictures([*ones, *others]).alike(np.arange(count), count + np.arange(count))


class _Pictures:
    """The hashes (N,) and the thumbnails of some pictures, fine (N, 192) and coarse (N, 48) less their means."""

    def __init__(self, looks: Sequence[Look]) -> None:
        self.hashes = np.array([look.hash for look in looks], dtype=np.uint64)
        small = np.frombuffer(b"".join(look.small for look in looks), dtype=np.uint8)
        self.small = small.reshape(len(looks), 3 * SMALL * SMALL)
        self.means = self.small.mean(1, dtype=np.float32) if len(looks) else np.empty(0, np.float32)
        half = SMALL // 2
        coarse = small.reshape(len(looks), half, 2, half, 2, 3).mean((2, 4), dtype=np.float32)
        self.coarse = coarse.reshape(len(looks), 3 * half * half) - self.means[:, None]
        self.contrast = np.sqrt((self.coarse**2).mean(1))

    def candidates(self) -> Iterator[tuple[Places, Places]]:
        """Places of pictures that share SHARED bands of bits; some come several times."""
        random = np.random.default_rng(0)
        edges = np.linspace(0, 64, BANDS + 1).astype(int)
        bands = [((1 << int(end - start)) - 1) << int(start) for start, end in itertools.pairwise(edges)]
        for chosen in itertools.combinations(bands, SHARED):
            keys = self.hashes & np.uint64(sum(chosen))
            mixture = self.coarse @ random.normal(size=self.coarse.shape[1]).astype(np.float32)
            order = np.lexsort((mixture, keys))
            keys = keys[order]
            for distance in range(1, min(WINDOW, len(order) - 1) + 1):
                same = np.flatnonzero(keys[:-distance] == keys[distance:])
                if not len(same):
                    break
                yield order[same], order[same + distance]

    def alike(self, one: Places, other: Places) -> NDArray[np.bool_]:
        """Whether each two are near-duplicates; what is quick to compare comes first."""
        found: NDArray[np.bool_] = np.bitwise_count(self.hashes[one] ^ self.hashes[other]) <= BITS
        found &= np.abs(self.means[one] - self.means[other]) <= LIGHT
        near = np.flatnonzero(found)
        products = np.einsum("nk,nk->n", self.coarse[one[near]], self.coarse[other[near]]) / self.coarse.shape[1]
        contrasts = self.contrast[one[near]], self.contrast[other[near]]
        flat = np.minimum(*contrasts) < CELL  # their cosine is that of noise
        found[near] = flat | (products >= COSINE * contrasts[0] * contrasts[1])
        near = np.flatnonzero(found)
        found[near] = self._apart(one[near], other[near]) <= CELL
        return found

    def _apart(self, one: Places, other: Places) -> NDArray[np.float32]:
        """The largest difference of a cell once light and contrast are equal."""
        a = self.small[one].astype(np.float32) - self.means[one, None]
        b = self.small[other].astype(np.float32) - self.means[other, None]
        gain = np.clip((a * b).sum(1) / np.maximum((a * a).sum(1), 1e-6), *GAIN)[:, None]
        found: NDArray[np.float32] = np.abs(b - gain * a).max(1, initial=0.0)
        return found


def _joined(found: Places, ones: Places, others: Places) -> Places:
    """`found` once pictures are known to belong together, two by two; the first of all stands for each."""
    from scipy.sparse import coo_array, csgraph

    count = len(found)
    graph = coo_array((np.ones(len(ones)), (found[ones], found[others])), shape=(count, count))
    parts, part = csgraph.connected_components(graph, directed=False)
    first = np.empty(parts, np.int64)
    first[part[::-1]] = np.arange(count)[::-1]  # the last that is written stays
    result: Places = first[part[found]]
    return result
