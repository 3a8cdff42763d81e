"""The work of one call on a run: each stage's missing shards, one stage after the other."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable
from pathlib import Path

from datagen import export, records, store
from datagen import recipe as recipes
from datagen.errors import MachineryError, RecipeError, RunError
from datagen.executors import Executor, Failure, local
from datagen.export import huggingface
from datagen.pipeline import plan
from datagen.pipeline.plan import Job, Plan, Shared, Summary
from datagen.pipeline.shard import Task
from datagen.progress import Progress
from datagen.stages import Context, Stage

FAILURES = "failures.txt"  # reasons and tracebacks of the shards that failed in the last run


@dataclasses.dataclass
class Work:
    """One call of `run`: what it works with, and what it has done so far."""

    run: store.Run
    context: Context
    digest: str
    execute: Executor
    draws: bool
    say: Callable[[str], None]
    progress: Progress
    made: int = 0  # shards, and the dataset
    lease: store.Held | None = None  # while the run is held
    discarded: set[Path] = dataclasses.field(default_factory=set)

    def finished(self) -> Summary | None:
        """What a run holds in which nothing is left to do, or to retry; None of another."""
        plans = self._plans()
        if any(stage.missing or stage.retriable or not stage.shards for stage in plans):
            return None
        wanted = self._export(plans)
        whole = all(self._is_there(wanted, name, folder) for name, folder in self._published().items())
        return self._summary(plans) if whole else None

    def finish(self) -> Summary:
        """Do whatever is missing. Damaged if a shard is found not to be as it was written."""
        failures = dict[str, Failure]()
        before: list[Plan] = []
        self._check_before_paying()
        for stage in plan.STAGES:
            failed = self.do(before, stage)
            failures |= failed
            before.append(self._plan(stage, before))
            if stage == plan.shared_out(plan.STAGES) and not failed:
                self._refuse_nothing(before[-1])
                if not self.draws:
                    return self._summary(before)
            elif not stage.whole:
                _refuse_failed(before[-1])
        if failures:
            raise MachineryError(_list_failures(self.run.root / FAILURES, failures))
        self._publish(before)
        return self._summary(before)

    def count_shards(self) -> int:
        """How many shards the sharded stages have; 0 before the prompts are written, Damaged if they are."""
        before: list[Plan] = []
        for stage in plan.before_sharing(plan.STAGES):
            before.append(self._plan(stage, before))
            if before[-1].damaged:
                raise before[-1].damaged[0]
        return plan.count_shards(before, self.context.recipe.images.shard_size)

    def finish_share(self, stage: Stage[object], share: store.Share, file: Path) -> Shared:
        """Do whatever is missing of a share; why shards failed is written to `file`. Damaged as of `finish`."""
        before: list[Plan] = []
        for earlier in itertools.takewhile(lambda one: one != stage, plan.STAGES):
            before.append(self._plan(earlier, before))
        if failures := self.do(before, stage, share):
            raise MachineryError(_list_failures(file, failures))
        done = self._plan(stage, before)
        mine = [index for index in range(len(done.shards)) if share.has(index)]
        if waiting := [index for index in done.missing if share.has(index)]:
            some = ", ".join(self.run.shard(stage.name, index).stem for index in waiting[:3])
            raise MachineryError(
                f"{len(waiting)} of {len(mine)} shards wait for an earlier stage ({some}): make that first, and rerun"
            )
        rows, errors = (sum(done.shards.column(name)[index] for index in mine) for name in ("rows", "errors"))
        return Shared(share, len(mine), self.made, rows, errors)

    def refuse_unjudged(self) -> None:
        """RunError if a stage before the labels is not done."""
        given = [found for found in self._plans() if found.stage.name not in plan.LABELLING]
        if undone := [found.stage.name for found in given if found.missing or not found.shards]:
            raise RunError(
                f"{self.run.name} is not judged yet ({', '.join(undone)} missing): "
                f"rerun the {_maker(self.context.profile)} first"
            )

    def label(self) -> Summary:
        """Do what is missing from the scores on; rows that failed before them are left as they are."""
        before: list[Plan] = []
        failures = dict[str, Failure]()
        for stage in plan.STAGES:
            if stage.name in plan.LABELLING:
                failures |= self.do(before, stage)
            before.append(self._plan(stage, before))
        if failures:
            raise MachineryError(_list_failures(self.run.root / FAILURES, failures))
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
            raise MachineryError(f"{damaged.name} was made again and is damaged again: look at this disk and memory")
        self.discarded.add(damaged.path)
        self.say(f"{damaged.name} is damaged ({damaged.why}): its rows are made again")
        self.run.files.remove(damaged.path)

    def _plan(self, stage: Stage[object], before: list[Plan]) -> Plan:
        return plan.of_stage(self.run, stage, before, self.context.recipe, self.digest)

    def _plans(self) -> list[Plan]:
        return plan.of_run(self.run, self.context.recipe, self.digest)

    def _export(self, plans: list[Plan]) -> export.Finished:
        found = finished_of(self.run, self.context.recipe, self.context.profile, self.digest, plans)
        return dataclasses.replace(found, progress=self.progress)

    def _published(self) -> dict[str, Path]:
        """What a finished run holds, and where: the dataset, and the ranked lists where there are any."""
        lists = {export.LISTS: self.run.root / export.LISTS}
        return {export.DATASET: self.run.dataset} | (lists if self.context.recipe.pairing == "list" else {})

    def _publish(self, plans: list[Plan]) -> None:
        """Write what is not there as it should be."""
        wanted = self._export(plans)
        for name, folder in self._published().items():
            self.run.files.pull(folder)
            written = export.write(wanted, name, folder, self.say)
            self.made += self.run.files.publish(folder) or written

    def _is_there(self, wanted: export.Finished, name: str, folder: Path) -> bool:
        self.run.files.pull(folder)
        return export.is_there(wanted, name, folder) and self.run.files.is_published(folder)

    def _summary(self, plans: list[Plan]) -> Summary:
        by_name = {stage.stage.name: stage for stage in plans}
        dataset = self.run.dataset
        place = self.run.files.name(dataset)
        return Summary(by_name, self.made, huggingface.splits(dataset), dataset, place)

    def do(self, before: list[Plan], stage: Stage[object], share: store.Share | None = None) -> dict[str, Failure]:
        """Make what a stage, or a share of it, is missing, and retry what failed; the failures by shard file.

        Raises Damaged if it met shards that are not as they were written; the other shards are done by then.
        """
        found = self._plan(stage, before)
        mine = [index for index in range(len(found.shards)) if share is None or share.has(index)]
        for damaged in found.damaged:
            if damaged.path in {self.run.shard(stage.name, index) for index in mine}:
                self.discard(damaged)
        todo = sorted({*found.possible, *found.retriable}.intersection(mine))
        if not todo:
            return {}
        self._refuse_paying(stage)
        job, execute = self._job(found, before, todo), self.execute
        if stage.whole:  # in this process, so that it can report what it does
            llm = dataclasses.replace(job.context.llm, say=self.say, progress=self.progress)
            job, execute = dataclasses.replace(job, context=dataclasses.replace(job.context, llm=llm)), local.run
        if job.retried:
            failed = sum(found.shards.column("errors")[index] for index in job.retried)
            self.say(f"{stage.name}: retrying {failed} failed rows")
        total, done = len(mine), len(set(mine).difference(found.missing))
        failures, spoiled = dict[str, Failure](), list[store.Damaged]()
        self.progress(stage.name, done, total)
        for index, result in execute(Task(job), todo):
            if self.lease is not None:
                self.lease.check()
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

    def _refuse_paying(self, stage: Stage[object]) -> None:
        """RunError where the account of what is paid for would be one machine's, and the run is not."""
        recipe, profile = self.context.recipe, self.context.profile
        writes = stage in plan.before_sharing(plan.STAGES) and recipes.asks_llm(recipe, profile)
        if self.run.address and (writes or stage.one_machine(profile)):
            raise RunError(
                f"{stage.name} are paid for, which is kept account of on one machine's disk, and {self.run.address} "
                "is an object store: make them in a directory, copy that there, and go on"
            )

    def _job(self, found: Plan, before: list[Plan], todo: list[int]) -> Job:
        shards = plan.count_shards(before, self.context.recipe.images.shard_size)
        sources = {index: source for index in todo if (source := found.sources[index]) is not None}
        retried = frozenset(found.retriable).intersection(todo)
        return Job(self.run, found.stage, plan.STAGES, self.context, self.digest, shards, sources, retried)

    def _refuse_nothing(self, prompts: Plan) -> None:
        """Stop if there is nothing to share out: no prompts, or only failed ones."""
        name, footer = prompts.stage.name, prompts.shards[0]
        if not isinstance(footer, store.Footer) or footer.rows == 0:
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


def _list_failures(path: Path, failures: dict[str, Failure]) -> str:
    """One line naming the failed shards; reasons and tracebacks are kept in a file of the run."""
    text = "\n".join(f"{name}: {failure.reason}\n{failure.trace}" for name, failure in sorted(failures.items()))
    store.write_file(path, lambda file: file.write(text.encode()))
    names = sorted(failures)
    some = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    first = failures[names[0]].reason.splitlines()[0][:200]
    return (
        f"{len(names)} shards failed after 2 attempts ({some}; {first}). Everything else is saved; "
        f"rerun to retry. Tracebacks: {path}"
    )


def finished_of(
    run: store.Run, recipe: recipes.Recipe, profile: recipes.Profile, digest: str, plans: list[Plan]
) -> export.Finished:
    """What an export receives of a run that these plans are of; RunError if a stage is not done."""
    if undone := [stage.stage.name for stage in plans if stage.missing or not stage.shards]:
        raise RunError(f"{run.name} is not finished ({', '.join(undone)} missing): rerun the same {_maker(profile)}")
    (pairs,) = (stage for stage in plans if stage.stage.record is records.Pair)
    (images,) = (stage for stage in plans if stage.stage.record is records.Image)
    learnt = next((stage.facts() for stage in plans if stage.stage.record is records.Label), {})
    content, remarks = pairs.content(digest), images.remarks()
    return export.Finished(run, recipe, profile, len(pairs.shards), content, pairs.drops(), remarks, learnt)


def _maker(profile: recipes.Profile) -> str:
    """The command that fills a run."""
    return "datagen label" if profile.model == recipes.FOUND else "datagen run"
