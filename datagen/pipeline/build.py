"""The stages in order: what of them is missing in a run directory, is made; what is there, is kept.

Stage after stage, not shard by shard: so only one stage's models are in memory at a time, and a judge too large to
stand beside the generator still fits; a killed run loses the shards in flight either way. Content that failed is tried
again on the next run, for its prompts alone; whatever was derived from a shard that changed is made anew.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import importlib
import importlib.metadata
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from datagen import recipe as recipes
from datagen import records, store
from datagen.errors import MachineryError, RecipeError
from datagen.executors import Failure
from datagen.executors.local import local
from datagen.pipeline import retry
from datagen.progress import Progress

if TYPE_CHECKING:
    from datagen.stages import Context

STAGES = tuple(f"datagen.stages.{name}" for name in ("principles", "prompts", "images", "scores", "pairs"))
FAILURES = "failures.txt"  # what the failed shards of the last call died of


@dataclasses.dataclass(frozen=True)
class Plan:
    """How far one stage is: the footers of its shards in order, None where a shard is missing."""

    stage: str
    shards: list[store.Footer | None]
    version: int = 1  # of the stage's code

    @property
    def missing(self) -> list[int]:
        """The shards still to do, those among them that another version of the stage made."""
        return [i for i, footer in enumerate(self.shards) if footer is None or footer.stage_version != self.version]

    @property
    def failed(self) -> list[int]:
        """The shards that hold rows of failed content."""
        return [index for index, footer in enumerate(self.shards) if footer is not None and footer.errors]

    def total(self, field: str) -> int:
        """The sum of a numeric footer field over the shards that are done."""
        return sum(getattr(footer, field) for footer in self.shards if footer is not None)

    def content(self, digest: str) -> str:
        """A hash of the stage's rows and of the recipe they come from."""
        return records.content_id(digest, *(footer.content if footer else None for footer in self.shards))

    def drops(self) -> dict[str, int]:
        """Reason → candidates that did not become rows, the most frequent first."""
        counts: collections.Counter[str] = collections.Counter()
        for footer in self.shards:
            counts.update(footer.drops if footer is not None else {})
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a finished run holds, and how many shards this call had to make."""

    plans: dict[str, Plan]
    made: int
    splits: dict[str, int]  # rows of the dataset by split
    dataset: Path

    def rows(self, stage: str) -> int:
        """The rows of one stage's table."""
        return self.plans[stage].total("rows")


@dataclasses.dataclass(frozen=True)
class Job:
    """Everything a worker needs to do any shard of one stage. Plain data, picklable."""

    run: store.Run
    module: str
    stages: tuple[str, ...]  # the modules of all stages; a spawned worker knows only what it is sent
    context: Context
    digest: str


def version() -> str:
    """The version of this package."""
    try:
        return importlib.metadata.version("datagen")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout that was never installed
        return "0"


def name_of(module: str) -> str:
    """The stage that a module is."""
    return module.rpartition(".")[2]


def plan(run: store.Run, shard_size: int) -> Iterator[Plan]:
    """How far each stage is, in order; a sharded stage has no shards before its prompts are written.

    It reads footers only, each stage's when it is asked for, so a caller may work between two of them.
    """
    for module in STAGES:
        count = 1
        if not importlib.import_module(module).WHOLE:
            prompts = run.footer("prompts", 0)
            count = 0 if prompts is None else math.ceil(prompts.rows / shard_size)
        footers = [run.footer(name_of(module), index) for index in range(count)]
        yield Plan(name_of(module), footers, importlib.import_module(module).VERSION)


def run(
    recipe: recipes.Recipe,
    profile_name: str,
    out: Path,
    *,
    workers: int = 1,
    max_cost: float | None = None,
    batch: bool = False,
    say: Callable[[str], None] = lambda line: None,
    progress: Progress = lambda what, done, total: None,
) -> Summary:
    """Make, or go on making, the dataset of a recipe in `out`.

    `max_cost` (US dollars) bounds what LLM calls ever cost in this directory; `batch` asks through the Batch API.
    Raises RunError if the directory cannot be used, MachineryError if shards failed twice (they are listed, all else
    is done and kept), and the errors of the stages.
    """
    from datagen.export import huggingface
    from datagen.llm import LlmOptions
    from datagen.stages import Context

    context = Context(recipe, recipe.profile(profile_name), LlmOptions(out, max_cost, batch))
    digest = recipes.digest(recipe, profile_name)
    directory = store.Run(out)
    settings = {"digest": digest, "version": version(), "recipe": recipes.resolved(recipe, profile_name)}
    with store.hold(directory, settings):
        (out / FAILURES).unlink(missing_ok=True)
        made, failures = 0, dict[str, Failure]()
        for module, stage in zip(STAGES, plan(directory, recipe.images.shard_size), strict=True):
            job = Job(directory, module, STAGES, context, digest)
            done, failed = _do(job, stage, workers, say, progress)
            made, failures = made + done, failures | failed
            if stage.stage == "prompts" and not failed:
                _some_prompts(directory)
        if failures:
            raise MachineryError(_list_failures(directory, failures))
        plans = {stage.stage: stage for stage in plan(directory, recipe.images.shard_size)}
        pairs = plans["pairs"]
        wrote = huggingface.export(
            directory, len(pairs.shards), pairs.content(digest), recipe, context.profile, pairs.drops()
        )
    return Summary(plans, made + wrote, huggingface.splits(directory.dataset), directory.dataset)


def run_shard(job: Job, index: int) -> bool:
    """Do one shard of one stage, or try its failed rows again; True if that wrote something.

    This is the unit of work of every executor: it reads the shard's rows of the earlier stages and commits its own.
    """
    from datagen.stages import Shard

    started = time.perf_counter()
    stage, name = importlib.import_module(job.module), name_of(job.module)
    shard = Shard(**{name_of(module): _inputs(job, module, index) for module in _before(job)})
    footer = job.run.footer(name, index)
    if footer is None or footer.stage_version != stage.VERSION:
        rows, drops = retry.made(stage.run(job.context, shard))
        rows = retry.in_order(stage, shard, rows)
    else:
        old = job.run.rows(name, index, stage.RECORD)
        rows, drops = retry.made(retry.again(stage, job.context, shard, old))
        drops.update(footer.drops)
        if rows == old:
            return False
    table = records.to_table(stage.RECORD, rows)
    if footer is not None:
        # Derived shards go first: killed in between, the run still knows that it has to make them.
        retry.discard_derived(job, stage, index, job.run.table(name, index), table)
    job.run.commit(
        name,
        index,
        table,
        errors=sum(getattr(row, "error", None) is not None for row in rows),
        seconds=round(time.perf_counter() - started, 3),
        digest=job.digest,
        version=version(),
        drops={str(reason): int(count) for reason, count in drops.items()},
        stage_version=stage.VERSION,
    )
    return True


def _do(
    job: Job, stage: Plan, workers: int, say: Callable[[str], None], progress: Progress
) -> tuple[int, dict[str, Failure]]:
    """Make what a stage is missing; the shards written, and the failures by shard file."""
    module = importlib.import_module(job.module)
    whole = module.WHOLE
    failed = [] if whole and not hasattr(module, "mend") else sorted({*stage.failed} - {*stage.missing})
    todo = _possible(job, sorted(stage.missing + failed))
    if not todo:
        return 0, {}
    if whole:
        desk = dataclasses.replace(job.context.desk, say=say, progress=progress)
        job = dataclasses.replace(job, context=dataclasses.replace(job.context, desk=desk))
    if failed:
        say(f"{stage.stage}: trying {stage.total('errors')} failed rows again")
    total, made = len(stage.shards), 0
    done = total - len(stage.missing)
    failures: dict[str, Failure] = {}
    progress(stage.stage, done, total)
    for index, result in local(functools.partial(run_shard, job), todo, 1 if whole else workers):
        if isinstance(result, Failure):
            failures[job.run.shard(stage.stage, index).stem] = result
            continue
        made += result
        done += index not in failed
        progress(stage.stage, done, total)
    return made, failures


def _possible(job: Job, indices: list[int]) -> list[int]:
    """The shards whose inputs are there: those of a shard that failed in an earlier stage are not."""
    before = [(name_of(module), importlib.import_module(module).WHOLE) for module in _before(job)]
    return [i for i in indices if all(job.run.shard(name, 0 if whole else i).exists() for name, whole in before)]


def _before(job: Job) -> tuple[str, ...]:
    return job.stages[: job.stages.index(job.module)]


def _inputs(job: Job, module: str, index: int) -> list[Any]:
    """The rows of an earlier stage that belong to a shard; prompts that could not be written are left out."""
    stage, name = importlib.import_module(module), name_of(module)
    if not stage.WHOLE:
        rows: list[Any] = job.run.rows(name, index, stage.RECORD)
        return rows
    table = _whole_table(job.run, name, job.run.shard(name, 0).stat().st_mtime_ns)
    if name == "prompts" and not importlib.import_module(job.module).WHOLE:
        size = job.context.recipe.images.shard_size
        table = table.slice(index * size, size)
    return [row for row in records.from_table(stage.RECORD, table) if getattr(row, "error", None) is None]


@functools.lru_cache(maxsize=4)
def _whole_table(run: store.Run, name: str, mtime: int) -> pa.Table:
    """A whole-run table, read once a process instead of once a shard."""
    return run.table(name, 0)


def _some_prompts(run: store.Run) -> None:
    footer = run.footer("prompts", 0)
    if footer is None or footer.rows == 0:
        raise RecipeError("the recipe's principles and grammar yield no prompt: widen them and choose another --out")
    if footer.rows == footer.errors:
        (first, *_) = run.table("prompts", 0, ["error"])["error"].to_pylist()
        raise MachineryError(f"none of {footer.rows} prompts could be written ({first}): rerun to try them again")


def _list_failures(run: store.Run, failures: dict[str, Failure]) -> str:
    """One line naming the failed shards; what each died of is kept in OUT/failures.txt."""
    text = "\n".join(f"{name}: {failure.reason}\n{failure.trace}" for name, failure in sorted(failures.items()))
    path = run.root / FAILURES
    store.write_file(path, lambda file: file.write(text.encode()))
    names = sorted(failures)
    some = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    first = failures[names[0]].reason.splitlines()[0][:200]
    return f"{len(names)} shards failed twice ({some}; {first}): all else is kept, rerun to go on; more in {path}"
