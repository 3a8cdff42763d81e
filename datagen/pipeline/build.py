"""Builds a dataset: makes what is missing of each stage in a run directory, and keeps what is there.

Stage by stage, not shard by shard: so only one stage's models are in memory at a time, and a judge too large to
share it with the generator still fits; a killed run loses the shards in flight either way. Content that failed is
retried by the next run, for its prompts alone; whatever was derived from a shard that changed is made again. So is a
shard that is found to be damaged, which is named.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datagen import executors, export, store, version
from datagen import recipe as recipes
from datagen.errors import RunError
from datagen.executors import local
from datagen.llm import LlmOptions
from datagen.pipeline import plan
from datagen.pipeline.plan import Shared, Summary
from datagen.pipeline.work import FAILURES, Work, finished_of
from datagen.progress import Progress
from datagen.stages import Context


def run(
    recipe: recipes.Recipe,
    profile_name: str,
    out: Path,
    *,
    executor: str = "local",
    workers: int = 1,
    max_cost: float | None = None,
    batch: bool = False,
    draws: bool = True,
    say: Callable[[str], None] = lambda line: None,
    progress: Progress = lambda what, done, total: None,
) -> Summary:
    """Make, or resume making, the dataset of a recipe in `out`; a finished one is looked at, and nothing is written.

    `max_cost` (US dollars) bounds what all LLM calls in this directory may cost; `batch` asks through the Batch API;
    without `draws` it ends when the prompts are written, and a later call goes on from there.
    Raises RunError if the directory cannot be used, MachineryError if shards failed in both attempts (they are
    listed, everything else is done and kept), and the errors of the stages.
    """
    execute = functools.partial(executors.load(executor), workers=workers)
    work, settings = _begin(
        recipe,
        profile_name,
        LlmOptions(out, max_cost, batch),
        execute=execute,
        draws=draws,
        say=say,
        progress=progress,
    )
    if store.check(work.run, settings) and (summary := work.finished()):
        return summary
    with store.hold(work.run, settings, say) as work.lease:
        (out / FAILURES).unlink(missing_ok=True)
        while True:
            try:
                return work.finish()
            except store.Damaged as damaged:
                work.discard(damaged)


def run_share(
    recipe: recipes.Recipe,
    profile_name: str,
    out: Path,
    share: store.Share,
    *,
    executor: str = "local",
    workers: int = 1,
    max_cost: float | None = None,
    say: Callable[[str], None] = lambda line: None,
    progress: Progress = lambda what, done, total: None,
) -> Shared:
    """Make what is missing of one share of a stage's shards, beside others that do theirs, and retry what failed.

    Raises RecipeError for a stage that is not shared out, RunError if the prompts are not written yet or if another
    process does these shards, MachineryError if shards failed in both attempts or wait for an earlier stage.
    """
    stage = plan.stage_in_shards(share.stage)
    execute = functools.partial(executors.load(executor), workers=workers)
    work, settings = _begin(
        recipe, profile_name, LlmOptions(out, max_cost), execute=execute, draws=True, say=say, progress=progress
    )
    if not store.check(work.run, settings) or not work.count_shards():
        where = work.run.name
        raise RunError(
            f"the prompts of {where} are not written yet: datagen write … --out {where} comes before shares"
        )
    one_machine = stage.one_machine(work.context.profile)
    with store.hold_share(work.run, settings, share, one_machine, say) as work.lease:
        failures = out / f"{share.file}-{FAILURES}"
        failures.unlink(missing_ok=True)
        while True:
            try:
                return work.finish_share(stage, share, failures)
            except store.Damaged as damaged:
                if damaged.path.parent.name != stage.name:  # others may read it now
                    raise
                work.discard(damaged)


def _begin(
    recipe: recipes.Recipe, profile_name: str, llm: LlmOptions, *, say: Callable[[str], None], **how: Any
) -> tuple[Work, dict[str, Any]]:
    """What a run works with, and what its recipe.json holds."""
    directory = store.Run(llm.folder)
    recipe = recipes.as_begun(recipe, directory.settings())
    digest = recipes.digest(recipe, profile_name)
    labelled = recipes.relabelled(recipe, directory.settings())
    if labelled != recipe:
        say("labels: by the rules that datagen relabel gave this run")
    context = Context(labelled, recipe.profile(profile_name), llm)
    settings = {"digest": digest, "version": version(), "recipe": recipes.resolved(recipe, profile_name)}
    return Work(directory, context, digest, say=say, **how), settings


def relabel(
    run: store.Run,
    changes: dict[str, Any],
    *,
    workers: int = 1,
    say: Callable[[str], None] = lambda line: None,
    progress: Progress = lambda what, done, total: None,
) -> Summary:
    """Label a run anew with `changes` in its recipe's [labels], which it keeps; nothing is drawn, and nobody is asked.

    Raises RunError if its scores are not all there.
    """
    settings = run.started()
    settings[recipes.RELABELLED] = settings.get(recipes.RELABELLED, {}) | changes
    recipe, name = recipes.of_run(settings)
    context = Context(recipe, recipe.profile(name))
    work = Work(run, context, settings["digest"], functools.partial(local.run, workers=workers), False, say, progress)
    with store.hold(run, settings, say) as work.lease:
        work.refuse_unjudged()
        store.write_settings(run, settings)
        while True:
            try:
                return work.label()
            except store.Damaged as damaged:
                work.discard_labels(damaged)


def finished(
    run: store.Run,
    digest: str,
    recipe: recipes.Recipe,
    profile_name: str,
    progress: Progress = lambda what, done, total: None,
) -> export.Finished:
    """What an export receives of a run whose stages are all done; RunError if they are not.

    `digest` is the one that the run was started with: its recipe's files may have changed since.
    """
    plans = plan.of_run(run, recipe, digest, progress)
    if damaged := [shard for stage in plans for shard in stage.damaged]:
        raise damaged[0]
    found = finished_of(run, recipe, recipe.profile(profile_name), digest, plans)
    return dataclasses.replace(found, progress=progress)
