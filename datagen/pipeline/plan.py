"""The stages in order, and a run's progress in each of them: plain data for workers and `status`.

A shard's footer holds a hash of the rows that it was derived from. It is done while that is the hash of the rows that
are there now: so whatever changes a table, a retry, a damaged disk or a stranger's file, what was derived from it is
made again, and nothing else is.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datagen import recipe as recipes
from datagen import records, store
from datagen.errors import RecipeError, nearest
from datagen.progress import Progress
from datagen.recipe import Recipe
from datagen.stages import Context, Stage, embeddings, images, labels, pairs, principles, prompts, scores, verdicts

STAGES: tuple[Stage[Any], ...] = (
    principles.STAGE,
    prompts.STAGE,
    images.STAGE,
    embeddings.STAGE,
    scores.STAGE,
    verdicts.STAGE,
    labels.STAGE,
    pairs.STAGE,
)
MANY = 1_000  # shards of a stage, whose footers take a while to read
LABELLING = ("verdicts", "labels", "pairs")  # the stages that ask nobody and draw nothing


@dataclasses.dataclass(frozen=True)
class Plan:
    """The progress of one stage: the footers of its shards in order, none where a shard is still to do."""

    stage: Stage[Any]
    shards: store.Footers
    sources: list[str | None] = dataclasses.field(default_factory=list)  # hash of what each shard is derived from

    @property
    def damaged(self) -> list[store.Damaged]:
        """The shards that are not as they were written."""
        return self.shards.damaged()

    @property
    def missing(self) -> list[int]:
        """The shards still to do, damaged ones included."""
        return self.shards.missing()

    @property
    def done(self) -> list[int]:
        """The shards that are done."""
        return [index for index, rows in enumerate(self.shards.column("rows")) if rows is not None]

    @property
    def possible(self) -> list[int]:
        """The missing shards whose inputs are there: those of a shard that failed in an earlier stage are not."""
        return [index for index in self.missing if self.sources[index] is not None]

    @property
    def retriable(self) -> list[int]:
        """The shards that hold rows of failed content which can be tried again."""
        if self.stage.whole and self.stage.retry is None:
            return []
        return [index for index, errors in enumerate(self.shards.column("errors")) if errors]

    def total(self, field: str) -> Any:
        """The sum of a numeric footer field over the shards that are done."""
        return self.shards.total(field)

    def content(self, digest: str) -> str:
        """A hash of the stage's rows and of the recipe they come from."""
        return records.content_id(digest, *self.shards.column("content"))

    def facts(self) -> dict[str, Any]:
        """What was learnt of the rows of a whole stage; {} before it is done."""
        footer = self.shards[0] if self.stage.whole else None
        return dict(footer.facts) if isinstance(footer, store.Footer) else {}

    def drops(self) -> dict[str, int]:
        """Reason → candidates that did not become rows, the most frequent first."""
        return _ordered(self.shards.counts("drops"))

    def reasons(self) -> dict[str, int]:
        """Why content failed → rows, the most frequent first."""
        return _ordered(self.shards.counts("reasons"))

    def remarks(self) -> dict[str, int]:
        """What is to be known of rows → of how many, the most frequent first."""
        return _ordered(self.shards.counts("remarks"))

    def workers(self) -> dict[str, tuple[int, float]]:
        """Who made shards that are there → how many, and in how many seconds."""
        found: dict[str, tuple[int, float]] = {}
        for worker, took in zip(self.shards.column("worker"), self.shards.column("seconds"), strict=True):
            if worker:
                count, seconds = found.get(worker, (0, 0.0))
                found[worker] = count + 1, seconds + took
        return dict(sorted(found.items()))


def _ordered(counts: Mapping[str, int]) -> dict[str, int]:
    """The most frequent first."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a finished run holds, and how many shards this call had to make."""

    plans: dict[str, Plan]
    made: int
    splits: dict[str, int]  # rows of the dataset by split
    dataset: Path
    place: str = ""  # where that lies, in words, if not here

    def rows(self, stage: str) -> int:
        """The rows of one stage's table."""
        return int(self.plans[stage].total("rows"))

    def losses(self) -> list[str]:
        """Lines about what did not become a row: candidates that were dropped, and rows whose content failed."""
        lines = []
        for stage in ("principles", "prompts", "pairs"):
            if stage in self.plans and (drops := self.plans[stage].drops()):
                lines.append(f"dropped {stage}: {records.in_words(drops)}")
        for stage, plan in self.plans.items():
            lines += [f"{count} of {plan.total('rows')} {stage}: {remark}" for remark, count in plan.remarks().items()]
        failed = {stage: plan.total("errors") for stage, plan in self.plans.items() if plan.total("errors")}
        if failed:
            rows = ", ".join(f"{count} {stage}" for stage, count in failed.items())
            lines.append(f"failed rows: {rows}; the same command retries them")
        return lines


@dataclasses.dataclass(frozen=True)
class Shared:
    """What a finished share of a stage holds, and how many shards this call had to make."""

    share: store.Share
    shards: int
    made: int
    rows: int
    errors: int  # rows of failed content

    def line(self) -> str:
        """It in words."""
        if not self.shards:
            return f"{self.share}: nothing to do, there are fewer shards than shares"
        made = f"{self.made} of {self.shards} shards made" if self.made else f"nothing to do, {self.shards} shards"
        failed = f", {self.errors} failed rows, which the same command retries" if self.errors else ""
        return f"{self.share}: {made}, {self.rows} rows{failed}"


@dataclasses.dataclass(frozen=True)
class Job:
    """Everything a worker needs to do any shard of one stage. Plain data, picklable."""

    run: store.Run
    stage: Stage[Any]
    stages: tuple[Stage[Any], ...]  # all of them; a spawned worker knows only what it is given
    context: Context
    digest: str
    shards: int  # how many shards the sharded stages have; 0 before the rows that are shared out are written
    sources: Mapping[int, str]  # shard to do → hash of what it is derived from
    retried: frozenset[int]  # those of them that are there, with failed rows

    @property
    def before(self) -> tuple[Stage[Any], ...]:
        """The stages whose rows this one reads."""
        return self.stages[: self.stages.index(self.stage)]

    @property
    def is_shared_out(self) -> bool:
        """Whether the sharded stages divide the rows of this stage into their shards."""
        return self.stage == shared_out(self.stages)


def stage_in_shards(name: str) -> Stage[Any]:
    """The stage of that name; RecipeError, which says which there are, if it is none that is done in shards."""
    known = {stage.name: stage for stage in STAGES if not stage.whole}
    if name in known:
        return known[name]
    whole = any(stage.name == name for stage in STAGES)
    why = f"{name} is done as a whole, by datagen run" if whole else f"no stage is called {name!r}"
    raise RecipeError(f"{why}; {nearest(name, known)}")


def before_sharing(stages: Sequence[Stage[Any]]) -> Sequence[Stage[Any]]:
    """The whole stages before the first that is sharded: those that write."""
    return list(itertools.takewhile(lambda stage: stage.whole, stages))


def shared_out(stages: Sequence[Stage[Any]]) -> Stage[Any]:
    """The stage whose rows are cut into shards, the prompts: the last that writes."""
    return before_sharing(stages)[-1]


def count_shards(plans: Sequence[Plan], shard_size: int) -> int:
    """How many shards the rows that are shared out make; 0 before they are written."""
    shared = next((plan for plan in plans if plan.stage == shared_out(STAGES)), None)
    return math.ceil(shared.total("rows") / shard_size) if shared else 0


def of_run(run: store.Run, recipe: Recipe, digest: str, progress: Progress | None = None) -> list[Plan]:
    """The progress of each stage, in order; a sharded stage has no shards before its prompts are written.

    It reads footers only; of a run that has very many, `progress` is told stage by stage.
    """
    plans: list[Plan] = []
    for count, stage in enumerate(STAGES, 1):
        plans.append(of_stage(run, stage, plans, recipe, digest))
        if progress is not None and len(plans[-1].shards) > MANY:
            progress("stages", count, len(STAGES))
    return plans


def of_stage(run: store.Run, stage: Stage[Any], before: Sequence[Plan], recipe: Recipe, digest: str) -> Plan:
    """The progress of one stage, `before` being that of the stages before it."""
    count = 1 if stage.whole else count_shards(before, recipe.images.shard_size)
    sources = sources_of(before, stage, range(count), recipe)
    shards = store.footers(run, stage.name, count)
    says = [shards.column(name) for name in ("digest", "stage_version", "made_from")]
    for index, (theirs, *made) in enumerate(zip(*says, strict=True)):
        if theirs is not None and theirs != digest:
            shards[index] = run.damaged(stage.name, index, "it is of another recipe")
        elif theirs is not None and made != [stage.version, sources[index]]:
            shards[index] = None
    return Plan(stage, shards, sources)


def sources_of(before: Sequence[Plan], stage: Stage[Any], indices: Sequence[int], recipe: Recipe) -> list[str | None]:
    """The hash of what each of some shards is derived from; None while some of it is still to do."""
    rules: list[Any] = [recipes.label_rules(recipe)] if stage.relabels else []
    shared, columns = shared_out(STAGES), list[Sequence[str | None]]()
    for plan in (plan for plan in before if stage.sees(plan.stage)):
        contents = plan.shards.column("content")
        if stage.whole:
            columns += [[content] for content in contents]
        elif plan.stage == shared:
            footer = plan.shards[0]
            parts = footer.parts if isinstance(footer, store.Footer) else None
            columns.append([parts[index] if parts else None for index in indices])
        else:
            columns.append([contents[0 if plan.stage.whole else index] for index in indices])
    rows = zip(*columns, strict=True) if columns else [()] * len(indices)
    return [None if None in row else records.content_id(*rules, *row) for row in rows]
