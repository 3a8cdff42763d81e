"""Builds a dataset: makes what is missing of each stage in a run directory, and keeps what is there.

Stage by stage, not shard by shard: so only one stage's models are in memory at a time, and a judge too large to
share it with the generator still fits; a killed run loses the shards in flight either way. Content that failed is
retried by the next run, for its prompts alone; whatever was derived from a shard that changed is made again.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datagen import executors, export, records, store
from datagen import recipe as recipes
from datagen.errors import MachineryError, RecipeError, RunError
from datagen.executors import Failure, local
from datagen.export import huggingface
from datagen.llm import LlmOptions
from datagen.pipeline import plan
from datagen.pipeline.plan import Job, Plan, Summary
from datagen.pipeline.shard import run_shard, version
from datagen.progress import Progress
from datagen.stages import Context

FAILURES = "failures.txt"  # reasons and tracebacks of the shards that failed in the last run


def run(
    recipe: recipes.Recipe,
    profile_name: str,
    out: Path,
    *,
    executor: str = "local",
    workers: int = 1,
    max_cost: float | None = None,
    batch: bool = False,
    say: Callable[[str], None] = lambda line: None,
    progress: Progress = lambda what, done, total: None,
) -> Summary:
    """Make, or resume making, the dataset of a recipe in `out`.

    `max_cost` (US dollars) bounds what all LLM calls in this directory may cost; `batch` asks through the Batch API.
    Raises RunError if the directory cannot be used, MachineryError if shards failed in both attempts (they are
    listed, everything else is done and kept), and the errors of the stages.
    """
    context = Context(recipe, recipe.profile(profile_name), LlmOptions(out, max_cost, batch))
    digest = recipes.digest(recipe, profile_name)
    directory = store.Run(out)
    execute = functools.partial(executors.load(executor), workers=workers)
    settings = {"digest": digest, "version": version(), "recipe": recipes.resolved(recipe, profile_name)}
    with store.hold(directory, settings):
        (out / FAILURES).unlink(missing_ok=True)
        made, failures = 0, dict[str, Failure]()
        for stage in plan.of_run(directory, recipe.images.shard_size):
            job = Job(directory, stage.stage, plan.STAGES, context, digest)
            done, failed = _do(job, stage, execute, say, progress)
            made, failures = made + done, failures | failed
            if job.is_shared_out and not failed:
                _refuse_nothing(job)
        if failures:
            raise MachineryError(_list_failures(directory, failures))
        plans = {stage.stage.name: stage for stage in plan.of_run(directory, recipe.images.shard_size)}
        wrote = export.write(finished(directory, recipe, profile_name), export.DATASET, directory.dataset)
    return Summary(plans, made + wrote, huggingface.splits(directory.dataset), directory.dataset)


def finished(run: store.Run, recipe: recipes.Recipe, profile_name: str) -> export.Finished:
    """What an export receives of a run whose stages are all done; RunError if they are not."""
    plans = list(plan.of_run(run, recipe.images.shard_size))
    if undone := [stage.stage.name for stage in plans if stage.missing or not stage.shards]:
        raise RunError(f"{run.root} is not finished ({', '.join(undone)} missing): rerun the same datagen run")
    (pairs,) = (stage for stage in plans if stage.stage.record is records.Pair)
    content = pairs.content(recipes.digest(recipe, profile_name))
    return export.Finished(run, recipe, recipe.profile(profile_name), len(pairs.shards), content, pairs.drops())


def _do(
    job: Job, stage: Plan, execute: Callable[..., Any], say: Callable[[str], None], progress: Progress
) -> tuple[int, dict[str, Failure]]:
    """Make what a stage is missing; the shards written, and the failures by shard file."""
    name, whole = job.stage.name, job.stage.whole
    retried = [] if whole and job.stage.retry is None else sorted({*stage.failed} - {*stage.missing})
    todo = _possible(job, sorted(stage.missing + retried))
    if not todo:
        return 0, {}
    if whole:  # in this process, so that it can report what it does
        llm = dataclasses.replace(job.context.llm, say=say, progress=progress)
        job = dataclasses.replace(job, context=dataclasses.replace(job.context, llm=llm))
        execute = local.run
    if retried:
        say(f"{name}: retrying {stage.total('errors')} failed rows")
    total, made = len(stage.shards), 0
    done = total - len(stage.missing)
    failures: dict[str, Failure] = {}
    progress(name, done, total)
    for index, result in execute(functools.partial(run_shard, job), todo):
        if isinstance(result, Failure):
            failures[job.run.shard(name, index).stem] = result
            continue
        made += result
        done += index not in retried
        progress(name, done, total)
    return made, failures


def _possible(job: Job, indices: list[int]) -> list[int]:
    """The shards whose inputs are there: those of a shard that failed in an earlier stage are not."""
    return [
        index
        for index in indices
        if all(job.run.shard(stage.name, 0 if stage.whole else index).exists() for stage in job.before)
    ]


def _refuse_nothing(job: Job) -> None:
    """Stop if there is nothing to share out: no prompts, or only failed ones."""
    name = job.stage.name
    footer = job.run.footer(name, 0)
    if footer is None or footer.rows == 0:
        raise RecipeError("the recipe's principles and grammar yield no prompt: widen them and choose another --out")
    if footer.rows == footer.errors:
        (first, *_) = job.run.table(name, 0, ["error"])["error"].to_pylist()
        raise MachineryError(f"none of {footer.rows} {name} could be written ({first}): rerun to retry them")


def _list_failures(run: store.Run, failures: dict[str, Failure]) -> str:
    """One line naming the failed shards; reasons and tracebacks are kept in OUT/failures.txt."""
    text = "\n".join(f"{name}: {failure.reason}\n{failure.trace}" for name, failure in sorted(failures.items()))
    path = run.root / FAILURES
    store.write_file(path, lambda file: file.write(text.encode()))
    names = sorted(failures)
    some = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    first = failures[names[0]].reason.splitlines()[0][:200]
    return (
        f"{len(names)} shards failed after 2 attempts ({some}; {first}). Everything else is saved; "
        f"rerun to retry. Tracebacks: {path}"
    )
