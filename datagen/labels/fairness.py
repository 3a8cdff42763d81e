"""How evenly groups are shown: the share of each, and LiVO's D1 and D2 within each prompt (arXiv 2410.12700).

D1 = (max n_k − min n_k) / N and D2 = sqrt(Σ_k (n_k / N − 1 / K)²), over the n_k images of a prompt whose likeliest
group is k, of K groups, N in all; then the mean over prompts. Groups are the categories of a judge whose values share
out 1 for every image, as those of `attributes` do. Images that it says nothing of are left out and counted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from datagen import store
from datagen.labels.axes import COPY_MARK, IMAGE, MATCH
from datagen.labels.reliability import Share, share

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

COLUMNS = ["judge", "category", "value"]
AT_ONCE = 10_000  # rows
SIMULATED = 2000  # even models drawn for the level of chance
NEAR = 1e-3  # of 1, that shares sum to


@dataclasses.dataclass(frozen=True)
class Groups:
    """How one judge sees groups spread, over `prompts` with `images`; `left_out` are those it said nothing of.

    `shares` and both distances are means over prompts; `chance` are D1 and D2 of a model that shows all groups alike,
    with as many images a prompt: with few, both are far from 0.
    """

    judge: str
    shares: dict[str, Share]
    d1: Share
    d2: Share
    chance: tuple[float, float]
    images: int
    left_out: int

    @property
    def prompts(self) -> int:
        """Those with an image in which a group is seen."""
        return self.d1.count

    def __str__(self) -> str:
        shown = ", ".join(f"{name} {one}" for name, one in self.shares.items())
        left_out = f", {self.left_out} more without an answer" if self.left_out else ""
        return (
            f"{self.judge}, {self.images} images of {self.prompts} prompts{left_out}: {shown}; D1 {self.d1}, "
            f"D2 {self.d2} (even groups by chance: {self.chance[0]:.3f}, {self.chance[1]:.3f})"
        )


def of_output(path: Path) -> list[Groups]:
    """Each judge of groups in a file that `datagen judge` wrote, by prompt; read a few rows at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        batches = file.iter_batches(AT_ONCE, columns=[*COLUMNS, "prompt"], use_threads=False)
        return measure((pa.Table.from_batches([batch]) for batch in batches), "prompt")


def of_run(run: store.Run, shards: Iterable[int]) -> list[Groups]:
    """Each judge of groups in finished shards of a run's scores, by prompt; no other is read if the first has none."""
    columns = [*COLUMNS, "prompt_id", "axis"]
    tables = (_without_copies(run.table("scores", shard, [*columns, "image_id"])) for shard in shards)
    first = next(tables, None)
    if first is None or not list(_by_judge(first, "prompt_id")):
        return []
    return measure((table for some in ((first,), tables) for table in some), "prompt_id")


def _without_copies(table: pa.Table) -> pa.Table:
    """The rows of images alone, without those of degraded copies of them."""
    import pyarrow.compute as pc

    if "image_id" not in table.column_names:  # a shard without what is asked of it, of which there are no groups
        return table
    return table.filter(pc.invert(pc.match_substring(table["image_id"], COPY_MARK)))


def measure(tables: Iterable[pa.Table], key: str) -> list[Groups]:
    """Each judge of groups in rows of judges, categories and values, those of one image together; `key` is its prompt.

    Of rows by axes, those of the context prompt and of the image alone count.
    """
    tallies: dict[str, Tally] = {}
    for table in tables:
        for judge, prompts, categories, values in _by_judge(table, key):
            tallies.setdefault(judge, Tally()).add(prompts, categories, values)
    return [tally.groups(judge) for judge, tally in tallies.items() if tally.shared_out and tally.counts]


class Tally:
    """The likeliest groups of one judge's images, counted by prompt; `shared_out` until values are seen that are no
    shares of 1."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.counts: dict[str, NDArray[np.int64]] = {}
        self.left_out = 0
        self.shared_out = True
        self._waiting: list[tuple[str, float]] = []  # rows of an image that is cut in two

    def add(self, prompts: Sequence[str], categories: Sequence[str], values: Sequence[float | None]) -> None:
        """Rows of images, one for each category."""
        import numpy as np

        self.names = self.names or list(dict.fromkeys(categories))
        width = len(self.names)
        rows = [*self._waiting, *zip(prompts, (np.nan if value is None else value for value in values), strict=True)]
        whole = len(rows) // width * width
        self._waiting = rows[whole:]
        shares = np.array([value for _, value in rows[:whole]], np.float64).reshape(-1, width)
        said = np.isfinite(shares.sum(axis=1))
        self.left_out += int((~said).sum())
        sums, least = shares[said].sum(axis=1), shares[said].min(initial=0.0)
        self.shared_out &= width > 1 and bool((np.abs(sums - 1) < NEAR).all()) and bool(least > -NEAR)
        seen = [prompt for (prompt, _), good in zip(rows[:whole:width], said, strict=True) if good]
        for prompt, group in zip(seen, shares[said].argmax(axis=1), strict=True):
            self.counts.setdefault(prompt, np.zeros(width, np.int64))[group] += 1

    def groups(self, judge: str) -> Groups:
        """What was counted."""
        import numpy as np

        counts = np.stack(list(self.counts.values()))
        sizes = counts.sum(axis=1)
        shown, prompts = counts / sizes[:, None], np.arange(len(counts))

        def over_prompts(values: NDArray[np.float64]) -> Share:
            return share(values, np.ones(len(values), bool), prompts)

        shares = {name: over_prompts(shown[:, k]) for k, name in enumerate(self.names)}
        d1, d2 = over_prompts(_d1(shown)), over_prompts(_d2(shown))
        return Groups(judge, shares, d1, d2, _chance(sizes, len(self.names)), int(sizes.sum()), self.left_out)


def _by_judge(table: pa.Table, key: str) -> Iterator[tuple[str, list[str], list[str], list[float | None]]]:
    """The rows of each judge with categories, in order; none of a table that an earlier version wrote without them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not {*COLUMNS, key} <= set(table.column_names):
        return
    if not pc.max(table["category"]).as_py():  # as of most runs; to look for a value imports pandas
        return
    if "axis" in table.column_names:
        table = table.filter(pc.is_in(table["axis"], pa.array([MATCH, IMAGE])))
    table = table.filter(pc.not_equal(table["category"], ""))
    for judge in pc.unique(table["judge"]).to_pylist():
        own = table.filter(pc.equal(table["judge"], judge))
        yield judge, own[key].to_pylist(), own["category"].to_pylist(), own["value"].to_pylist()


def _d1(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) of (N, K)."""
    found: NDArray[np.float64] = shares.max(axis=-1) - shares.min(axis=-1)
    return found


def _d2(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) of (N, K)."""
    import numpy as np

    found: NDArray[np.float64] = np.sqrt(((shares - 1 / shares.shape[-1]) ** 2).sum(axis=-1))
    return found


def _chance(sizes: NDArray[np.int64], groups: int) -> tuple[float, float]:
    """The mean D1 and D2 of prompts of these numbers of images that show all groups alike; the same on every call."""
    import numpy as np

    random, found = np.random.default_rng(0), []
    for size, times in zip(*np.unique(sizes, return_counts=True), strict=True):
        drawn = random.multinomial(size, [1 / groups] * groups, SIMULATED) / size
        found.append((_d1(drawn).mean() * times, _d2(drawn).mean() * times))
    d1, d2 = np.sum(found, axis=0) / len(sizes)
    return float(d1), float(d2)
