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

from datagen import executors, export, records, store, version
from datagen import recipe as recipes
from datagen.errors import MachineryError, RecipeError, RunError
from datagen.executors import Executor, Failure, local
from datagen.export import huggingface
from datagen.llm import LlmOptions
from datagen.pipeline import plan
from datagen.pipeline.plan import Job, Plan, Summary
from datagen.pipeline.shard import Task
from datagen.progress import Progress
from datagen.stages import Context, Stage

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
    directory = store.Run(out)
    recipe = recipes.as_begun(recipe, directory.settings())
    digest = recipes.digest(recipe, profile_name)
    labelled = recipes.relabelled(recipe, directory.settings())
    if labelled != recipe:
        say("labels: by the rules that datagen relabel gave this run")
    context = Context(labelled, recipe.profile(profile_name), LlmOptions(out, max_cost, batch))
    execute = functools.partial(executors.load(executor), workers=workers)
    work = _Work(directory, context, digest, execute, draws, say, progress)
    settings = {"digest": digest, "version": version(), "recipe": recipes.resolved(recipe, profile_name)}
    if store.check(directory, settings) and (summary := work.finished()):
        return summary
    with store.hold(directory, settings):
        (out / FAILURES).unlink(missing_ok=True)
        while True:
            try:
                return work.finish()
            except store.Damaged as damaged:
                work.discard(damaged)


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
    work = _Work(run, context, settings["digest"], functools.partial(local.run, workers=workers), False, say, progress)
    with store.hold(run, settings):
        work.refuse_unjudged()
        store.write_settings(run, settings)
        while True:
            try:
                return work.label()
            except store.Damaged as damaged:
                work.discard_labels(damaged)


def finished(run: store.Run, digest: str, recipe: recipes.Recipe, profile_name: str) -> export.Finished:
    """What an export receives of a run whose stages are all done; RunError if they are not.

    `digest` is the one that the run was started with: its recipe's files may have changed since.
    """
    plans = plan.of_run(run, recipe, digest)
    if damaged := [shard for stage in plans for shard in stage.damaged]:
        raise damaged[0]
    return _finished(run, recipe, recipe.profile(profile_name), digest, plans)


def _finished(
    run: store.Run, recipe: recipes.Recipe, profile: recipes.Profile, digest: str, plans: list[Plan]
) -> export.Finished:
    if undone := [stage.stage.name for stage in plans if stage.missing or not stage.shards]:
        raise RunError(f"{run.root} is not finished ({', '.join(undone)} missing): rerun the same datagen run")
    (pairs,) = (stage for stage in plans if stage.stage.record is records.Pair)
    (images,) = (stage for stage in plans if stage.stage.record is records.Image)
    learnt = next((stage.facts() for stage in plans if stage.stage.record is records.Label), {})
    content, remarks = pairs.content(digest), images.remarks()
    return export.Finished(run, recipe, profile, len(pairs.shards), content, pairs.drops(), remarks, learnt)


@dataclasses.dataclass
class _Work:
    """One call of `run`: what it works with, and what it has done so far."""

    run: store.Run
    context: Context
    digest: str
    execute: Executor
    draws: bool
    say: Callable[[str], None]
    progress: Progress
    made: int = 0  # shards, and the dataset
    discarded: set[Path] = dataclasses.field(default_factory=set)

    def finished(self) -> Summary | None:
        """What a run holds in which nothing is left to do, or to retry; None of another."""
        plans = self._plans()
        if any(stage.missing or stage.retriable or not stage.shards for stage in plans):
            return None
        wanted = self._export(plans)
        whole = all(export.is_there(wanted, name, folder) for name, folder in self._published().items())
        return self._summary(plans) if whole else None

    def finish(self) -> Summary:
        """Do whatever is missing. Damaged if a shard is found not to be as it was written."""
        failures = dict[str, Failure]()
        before: list[Plan] = []
        self._check_before_paying()
        for stage in plan.STAGES:
            failed = self._do(before, stage)
            failures |= failed
            before.append(self._plan(stage, before))
            if stage == plan.shared_out(plan.STAGES) and not failed:
                self._refuse_nothing(before[-1])
                if not self.draws:
                    return self._summary(before)
            elif not stage.whole:
                _refuse_failed(before[-1])
        if failures:
            raise MachineryError(_list_failures(self.run, failures))
        self._publish(before)
        return self._summary(before)

    def refuse_unjudged(self) -> None:
        """RunError if a stage before the labels is not done."""
        given = [found for found in self._plans() if found.stage.name not in plan.LABELLING]
        if undone := [found.stage.name for found in given if found.missing or not found.shards]:
            raise RunError(
                f"{self.run.root} is not judged yet ({', '.join(undone)} missing): rerun the datagen run first"
            )

    def label(self) -> Summary:
        """Do what is missing from the scores on; rows that failed before them are left as they are."""
        before: list[Plan] = []
        failures = dict[str, Failure]()
        for stage in plan.STAGES:
            if stage.name in plan.LABELLING:
                failures |= self._do(before, stage)
            before.append(self._plan(stage, before))
        if failures:
            raise MachineryError(_list_failures(self.run, failures))
        self._publish(before)
        return self._summary(before)

    def discard_labels(self, damaged: store.Damaged) -> None:
        """As `discard`, of what labels are made of; raises what was damaged if it cannot be made again here."""
        if damaged.path.parent.name not in plan.LABELLING:
            raise damaged
        self.discard(damaged)

    def _check_before_paying(self) -> None:
        """Where an LLM is still to be paid for what is drawn, ask each stage first whether it can do its work."""
        if not self.draws:
            return
        paid = recipes.asks_llm(self.context.recipe, self.context.profile)
        first = [found for found in self._plans() if found.stage in plan.before_sharing(plan.STAGES)]
        if not paid or not any(found.missing for found in first):
            return
        for stage in plan.STAGES:
            if stage.check is not None:
                self.say(f"{stage.name}: a test before anything is paid for")
                for _, result in self.execute(functools.partial(_check, stage, self.context), [0]):
                    if isinstance(result, Failure):
                        raise MachineryError(f"{stage.name} cannot be made, nothing was paid: {result.reason}")

    def discard(self, damaged: store.Damaged) -> None:
        """Delete a damaged shard, so that it is made again; MachineryError if it was already."""
        if damaged.path in self.discarded:
            raise MachineryError(f"{damaged.path} was made again and is damaged again: look at this disk and memory")
        self.discarded.add(damaged.path)
        self.say(f"{damaged.path} is damaged ({damaged.why}): its rows are made again")
        with store.writing(damaged.path):
            damaged.path.unlink(missing_ok=True)

    def _plan(self, stage: Stage[object], before: list[Plan]) -> Plan:
        return plan.of_stage(self.run, stage, before, self.context.recipe, self.digest)

    def _plans(self) -> list[Plan]:
        return plan.of_run(self.run, self.context.recipe, self.digest)

    def _export(self, plans: list[Plan]) -> export.Finished:
        return _finished(self.run, self.context.recipe, self.context.profile, self.digest, plans)

    def _published(self) -> dict[str, Path]:
        """What a finished run holds, and where: the dataset, and the ranked lists where there are any."""
        lists = {export.LISTS: self.run.root / export.LISTS}
        return {export.DATASET: self.run.dataset} | (lists if self.context.recipe.pairing == "list" else {})

    def _publish(self, plans: list[Plan]) -> None:
        """Write what is not there as it should be."""
        wanted = self._export(plans)
        for name, folder in self._published().items():
            self.made += export.write(wanted, name, folder, self.say)

    def _summary(self, plans: list[Plan]) -> Summary:
        by_name = {stage.stage.name: stage for stage in plans}
        return Summary(by_name, self.made, huggingface.splits(self.run.dataset), self.run.dataset)

    def _do(self, before: list[Plan], stage: Stage[object]) -> dict[str, Failure]:
        """Make what a stage is missing, and retry what failed; the failures by shard file.

        Raises Damaged if it met shards that are not as they were written; the other shards are done by then.
        """
        found = self._plan(stage, before)
        for damaged in found.damaged:
            self.discard(damaged)
        todo = sorted(found.possible + found.retriable)
        if not todo:
            return {}
        job, execute = self._job(found, before, todo), self.execute
        if stage.whole:  # in this process, so that it can report what it does
            llm = dataclasses.replace(job.context.llm, say=self.say, progress=self.progress)
            job, execute = dataclasses.replace(job, context=dataclasses.replace(job.context, llm=llm)), local.run
        if job.retried:
            self.say(f"{stage.name}: retrying {found.total('errors')} failed rows")
        total, done = len(found.shards), len(found.shards) - len(found.missing)
        failures, spoiled = dict[str, Failure](), list[store.Damaged]()
        self.progress(stage.name, done, total)
        for index, result in execute(Task(job), todo):
            if isinstance(result, store.Damaged):
                spoiled.append(result)
            elif isinstance(result, Failure):
                failures[self.run.shard(stage.name, index).stem] = result
            else:
                self.made += result
                done += index not in job.retried
                self.progress(stage.name, done, total)
        if spoiled:
            *others, last = {one.path: one for one in spoiled}.values()  # several shards may have met the same one
            for damaged in others:
                self.discard(damaged)
            raise last
        return failures

    def _job(self, found: Plan, before: list[Plan], todo: list[int]) -> Job:
        shards = plan.count_shards(before, self.context.recipe.images.shard_size)
        sources = {index: source for index in todo if (source := found.sources[index]) is not None}
        retried = frozenset(found.retriable)
        return Job(self.run, found.stage, plan.STAGES, self.context, self.digest, shards, sources, retried)

    def _refuse_nothing(self, prompts: Plan) -> None:
        """Stop if there is nothing to share out: no prompts, or only failed ones."""
        name, footer = prompts.stage.name, prompts.shards[0]
        if footer is None or footer.rows == 0:
            raise RecipeError(
                "the recipe's principles and grammar yield no prompt: widen them and choose another --out"
            )
        if footer.rows == footer.errors:
            (first, *_) = self.run.table(name, 0, ["error"])["error"].to_pylist()
            raise MachineryError(f"none of {footer.rows} {name} could be written ({first}): rerun to retry them")


def _check(stage: Stage[object], context: Context, _index: int) -> None:
    """A stage's check as an executor's task, as it is where the stage works that it must be able to."""
    assert stage.check is not None
    stage.check(context)


def _refuse_failed(found: Plan) -> None:
    """Stop where a stage is done and every row of it failed: what comes after would be made of nothing."""
    rows = found.total("rows")
    if rows and not found.missing and found.total("errors") == rows:
        why = "; ".join(f"{count} × {remark}" for remark, count in list(found.remarks().items())[:3])
        raise MachineryError(f"none of {rows} {found.stage.name} could be made ({why}): mend that and rerun")


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
