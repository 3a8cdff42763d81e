"""Fills a run directory with images that exist and what the judges said of them, a shard at a time in memory."""

from __future__ import annotations

import collections
import csv
import dataclasses
import io
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from datagen import store
from datagen.commands.label import pictures, tables
from datagen.commands.label.groups import Grouped
from datagen.commands.label.joined import Joined
from datagen.commands.label.pictures import Picture, Source
from datagen.errors import InputError
from datagen.labels import people
from datagen.pipeline.given import Given
from datagen.progress import Progress
from datagen.recipe import Recipe
from datagen.records import Embedding, Image, Principle, Prompt, Score, content_id
from datagen.tables.items import Input

KNOWN = "known.csv"  # labels of the input's own pairs that calibrate, in the run


@dataclasses.dataclass
class Filling:
    """The tables of a run that is held, written shard by shard as the images of each have come."""

    run: store.Run
    recipe: Recipe
    digest: str
    given: Joined
    found: Grouped
    progress: Progress

    def fill(self, moved: Path | None, *, known: bool) -> Counter[str]:
        """Write all of them; how many images were lost, by reason. InputError if none was found.

        `moved` is where the images are now, `known` whether the labels of the input's pairs are taken for known.
        """
        input = pictures.open_again(self.given.origin, moved)
        written = Given.begin(self.run, self.recipe, self.digest)
        author = f"file:{Path(self.given.origin.input).name}"
        written.commit(Principle, 0, [tables.PRINCIPLE])
        share = self.recipe.prompts.test_share
        rows = tables.prompts(self.given, self.found.groups, author, share, self.recipe.seed)
        written.commit(Prompt, 0, rows, self._dropped())
        if known:
            self._write_known()
        others = tables.others(self.given, self.found.groups)
        lost, done, whole = Counter[str](), 0, 0
        for index, sources in self._shards(input, lost):
            some = self.found.groups[index * self._size : (index + 1) * self._size]
            kept, reasons = self._read(sources)
            written.commit(
                Image, index, [row for group in some for row in tables.images(group, self.given, kept)], reasons
            )
            written.commit(Embedding, index, [])
            written.commit(
                Score,
                index,
                [
                    row
                    for group in some
                    for row in tables.scores(group, self.given, kept, others.get(group.prompt_id, ()))
                ],
            )
            lost += reasons
            done += len(kept)
            whole += sum(len(kept.keys() & set(group.members)) > 1 for group in some)
            self.progress("images", done, sum(len(group.members) for group in self.found.groups))
        if not whole:
            why = ", ".join(f"{count} {reason}" for reason, count in lost.most_common())
            raise InputError(f"no two images of {self.given.origin.input} to compare are as they were judged: {why}")
        return lost

    @property
    def _size(self) -> int:
        return self.recipe.images.shard_size

    def _dropped(self) -> dict[str, int]:
        return {f"images {reason}": count for reason, count in self.found.left_out.items()}

    def _shards(self, input: Input, lost: Counter[str]) -> Iterator[tuple[int, dict[int, Source]]]:
        """Each shard with where its images are, as soon as all have come; those that lack some at the end."""
        shard = {place: at // self._size for at, group in enumerate(self.found.groups) for place in group.members}
        missing = Counter(shard.values())
        waiting: dict[int, dict[int, Source]] = collections.defaultdict(dict)
        for place, source in pictures.find(input, self.given.images, set(shard), lost):
            index = shard[place]
            waiting[index][place] = source
            if len(waiting[index]) == missing[index]:
                yield index, waiting.pop(index)
                del missing[index]
        for index in sorted(missing):
            yield index, waiting[index]

    def _read(self, sources: dict[int, Source]) -> tuple[dict[int, Picture], Counter[str]]:
        kept, reasons = dict[int, Picture](), Counter[str]()
        for place, source in sources.items():
            found = pictures.read(source, self.given.images[place])
            if isinstance(found, Picture):
                kept[place] = found
            else:
                reasons[found] += 1
        return kept, reasons

    def _write_known(self) -> None:
        """The labels of the input's own pairs as a table of labels by people."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow([people.PAIR, people.LABEL])
        images = self.given.images
        for group in self.found.groups:
            one, other = group.members
            if not math.isnan(first := images[one].label):
                name = content_id(group.prompt_id, images[one].digest, images[other].digest)
                table.writerow([name, "tie" if first == 0.5 else "chosen" if first > 0.5 else "rejected"])
        store.write_file(self.run.root / KNOWN, lambda file: file.write(text.getvalue().encode()))
