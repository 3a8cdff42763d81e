"""What is judged waits in `OUT.parts`, a run directory, until all is: a killed call is gone on with there.

A shard of scores is the only mark of progress; that of embeddings is written before it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from datagen import store, version
from datagen.commands.judge.labels import Labels
from datagen.commands.judge.others import with_others
from datagen.commands.judge.rows import Told, Work, stream, usable
from datagen.errors import InputError, RunError, UserError
from datagen.judges import panel
from datagen.progress import Progress
from datagen.tables import embeddings
from datagen.tables.items import Input

SHARD = 8 * panel.CHUNK  # images; a killed call judges at most so many of them again
SCORES, EMBEDDINGS = "scores", "embeddings"
LABEL = "label"  # how likely the first image of a pair is the better one; a column where it was asked for


@dataclasses.dataclass(frozen=True)
class Parts:
    """The shards of a call: where they lie, what they hold of each image, and what they are stamped with."""

    run: store.Run
    work: Work
    ids: Sequence[str]
    digest: str
    networks: Sequence[str] = ()  # whose embeddings are kept
    labels: Labels | None = None

    def judge_missing(self, given: Input, say: Callable[[str], None], progress: Progress) -> int:
        """Judge what earlier calls did not; the number of shards. What is judged when it is interrupted is kept."""
        index, done = self._kept(say)
        if done:
            say(f"{done} of {given.total} images were judged before")
        items = with_others(given.items, usable) if self.work.asks_others else given.items
        with contextlib.closing(stream(self.work, itertools.islice(items, done, None))) as chunks:
            while done < given.total:
                started, shard = time.perf_counter(), list[Told]()
                try:
                    for chunk in itertools.islice(chunks, SHARD // panel.CHUNK):
                        shard.append(chunk)
                        done += len(chunk.items)
                        progress("judge", done, given.total)
                except UserError:
                    raise
                except BaseException:
                    with contextlib.suppress(RunError):  # a full disk is told by what raised first
                        if shard:
                            self._commit(index, shard, started)
                    where = f" and kept in {self.run.root}" if done else ""
                    say(f"{done} of {given.total} images are judged{where}")
                    raise
                if not shard:
                    raise InputError(
                        f"{done} of {given.total} images could be read: the input was changed while it was read"
                    )
                self._commit(index, shard, started)
                index += 1
        return index

    def tables(self, count: int, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """The rows of the shards."""
        for index in range(count):
            yield self.run.table(SCORES, index, columns).replace_schema_metadata(None)

    def _commit(self, index: int, shard: Sequence[Told], started: float) -> None:
        if self.networks:
            kept = pa.concat_tables([self._embeddings(told) for told in shard]).combine_chunks()
            self._write(EMBEDDINGS, index, kept, kept["error"], started)
        rows = pa.concat_tables([told.rows for told in shard]).combine_chunks()
        for name, values in self._besides(shard).items():
            rows = rows.append_column(name, pa.array(values, pa.float64() if name == LABEL else pa.string()))
        self._write(SCORES, index, rows, rows["error"], started)

    def _write(self, what: str, index: int, table: pa.Table, errors: Any, started: float) -> None:
        self.run.commit(
            what,
            index,
            table,
            errors=len(errors) - errors.null_count,
            seconds=round(time.perf_counter() - started, 3),
            digest=self.digest,
            version=version(),
            drops={},
        )

    def _besides(self, shard: Sequence[Told]) -> dict[str, list[Any]]:
        """What identifies the rows of the input and how they are labelled, by column; missing where nothing tells."""
        units = [told.items[at] for told in shard for at in range(0, len(told.items), self.work.size)]
        each = range(len(self.work.slots))
        found: dict[str, list[Any]] = {name: [unit.ids.get(name) for unit in units for _ in each] for name in self.ids}
        if self.labels is not None:
            found[LABEL] = [label for label in map(self.labels.of, units) for _ in each]
        return found

    def _embeddings(self, told: Told) -> pa.Table:
        """The embeddings of a few images."""
        texts = {
            "path": [item.path for item in told.items],
            "prompt": told.prompts,
            "error": [error or item.error for item, error in zip(told.items, told.errors, strict=True)],
            embeddings.DIGEST: told.digests,
            **{name: [item.ids.get(name) for item in told.items] for name in self.ids},
        }
        made = {embeddings.PREFIX + name: [own.get(name) for own in told.embeddings] for name in self.networks}
        return pa.table(texts | made, schema=embeddings.schema(self.networks, self.ids))

    def _kept(self, say: Callable[[str], None]) -> tuple[int, int]:
        """The shards that earlier calls finished, and how many images are in them; from a damaged one on none."""
        index = rows = 0
        try:
            while footer := self.run.footer(SCORES, index):
                self.run.verify(SCORES, index)
                if self.networks:
                    self.run.footer(EMBEDDINGS, index)
                    self.run.verify(EMBEDDINGS, index)
                rows += footer.rows
                index += 1
        except store.Damaged as damaged:
            say(f"{damaged.path} is damaged ({damaged.why}): what was judged since then is judged again")
            later = (self.run.shard(SCORES, at) for at in itertools.count(index))
            for shard in itertools.takewhile(Path.exists, later):
                shard.unlink()
        return index, rows // len(self.work.slots) * self.work.size
