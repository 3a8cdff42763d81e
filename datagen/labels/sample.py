"""Some prompts of a large run, of which judges are learnt: by a hash of their names, and all that people spoke of."""

from __future__ import annotations

import collections
import itertools
import zlib
from collections.abc import Container, Iterable

import pyarrow as pa
import pyarrow.compute as pc

from datagen.records import pair_id

TOGETHER = 250_000  # images that are labelled at once: what that takes in memory is what a run takes
LEARNT = (
    100_000  # of them judges are learnt, where there are more; of half as many labels are off by half as much again
)


def count(images: int) -> int:
    """Into how many parts a run of so many images is cut: so that each is labelled beside those learnt of."""
    return 1 if images <= TOGETHER else -(-images // (TOGETHER - LEARNT))


def of(
    parts: Iterable[tuple[pa.Table, pa.Table]], images: int, known: Container[str] = frozenset()
) -> tuple[pa.Table, pa.Table]:
    """Prompts and verdicts of about LEARNT of so many images, and of the prompts of the pairs that are `known`."""
    below = LEARNT / max(images, 1) * 2**32
    drawn = [_drawn(prompts, verdicts, below, known) for prompts, verdicts in parts]
    prompts, verdicts = zip(*drawn, strict=True)
    return pa.concat_tables(prompts), pa.concat_tables(verdicts)


def _drawn(prompts: pa.Table, verdicts: pa.Table, below: float, known: Container[str]) -> tuple[pa.Table, pa.Table]:
    names = prompts["prompt_id"].to_pylist()
    told = _told(verdicts, known) if known else frozenset()
    kept = [zlib.crc32(name.encode()) < below or name in told for name in names]
    mine = prompts.filter(pa.array(kept, pa.bool_()))
    return mine, verdicts.filter(pc.is_in(verdicts["prompt_id"], mine["prompt_id"].combine_chunks()))


def _told(verdicts: pa.Table, known: Container[str]) -> set[str]:
    """The prompts of which two images are a known pair, whichever of them is called chosen."""
    images: dict[str, list[str]] = collections.defaultdict(list)
    for prompt, image in zip(verdicts["prompt_id"].to_pylist(), verdicts["image_id"].to_pylist(), strict=True):
        images[prompt].append(image)
    return {
        prompt
        for prompt, own in images.items()
        if any(pair_id(prompt, *two) in known for two in itertools.permutations(own, 2))
    }
