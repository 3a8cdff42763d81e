"""`datagen review`: a person labels a sample of a run's pairs in a browser, and its labels are calibrated by it."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from datagen import recipe as recipes
from datagen import store
from datagen.errors import InputError, RunError
from datagen.labels import people
from datagen.pipeline import build, plan
from datagen.progress import Progress
from datagen.records import Label, Pair, Principle
from datagen.report import look
from datagen.report.entries import HARM
from datagen.review import journal as journals
from datagen.review import lock, outcome, sample, server
from datagen.review.journal import Journal, Planned
from datagen.review.outcome import Outcome
from datagen.review.pictures import Pictures
from datagen.review.session import Asked, Session

BY = "review"  # as `people` calls who answers on the page


def review(
    root: Path,
    count: int,
    port: int,
    *,
    say: Callable[[str], None] = lambda line: None,
    progress: Progress = lambda what, done, total: None,
) -> Outcome:
    """Have `count` pairs of a run answered on a page at a port, any free one for 0; ends when the page is finished.

    RunError if the run is not labelled, has no pair, or is reviewed already.
    """
    run = store.Run(root)
    recipe, name = recipes.of_run(run.started())
    _refuse_unlabelled(run)
    with lock.hold(root):
        journal = Journal(root / journals.FILE)
        if journal.torn:
            say(f"{journal.path} ended in half an answer, of a process that was killed: that pair is asked again")
        _plan(journal, run, count, recipe.seed)
        texts, shards = _texts(run, recipe, journal.planned)
        session = Session(journal, texts, Pictures(run, shards))
        for line in _told(session, count):
            say(line)
        judges = [choice.name for choice in recipe.profile(name).judges]
        finish = functools.partial(_calibrate, run, session, judges, shards, progress)
        return asyncio.run(_serve(session, recipe.name, finish, port, say))


async def _serve(
    session: Session, name: str, finish: Callable[[], Outcome], port: int, say: Callable[[str], None]
) -> Outcome:
    page = server.Server(session, name, finish)
    ready = "open {} in a browser on this machine; Ctrl-C ends it, and every answer is kept"
    return await page.serve(port, lambda address: say(ready.format(address)))


def _refuse_unlabelled(run: store.Run) -> None:
    """RunError if the labels of a run are not there as its recipe wants them."""
    settings = run.started()
    recipe, _ = recipes.of_run(settings)
    (labels,) = (stage for stage in plan.of_run(run, recipe, settings["digest"]) if stage.stage.record is Label)
    if labels.damaged:
        raise labels.damaged[0]
    if labels.missing or not labels.shards:
        raise RunError(f"{run.root} is not labelled yet: datagen status says how far it is, and what to run first")


def _plan(journal: Journal, run: store.Run, count: int, seed: int) -> None:
    """Choose as many pairs as are missing to `count`; RunError if the run has none."""
    if len(journal.planned) >= count:
        return
    labels = run.table("labels", 0, sample.COLUMNS)
    # What is asked besides is drawn by another seed, or it would be what was drawn before.
    new, sizes = sample.draw(labels, count - len(journal.planned), seed + len(journal.planned), journal.planned)
    if not new and not journal.planned:
        raise RunError(f"{run.root} has no two images that could be compared: datagen status says why")
    if new:
        journal.plan(new, sizes)


def _texts(
    run: store.Run, recipe: recipes.Recipe, planned: Sequence[Planned]
) -> tuple[dict[str, Asked], dict[str, int]]:
    """What is told of the prompts of planned pairs, and in which shard each prompt's images are."""
    principles = {row.principle_id: row for row in run.rows("principles", 0, Principle)}
    wanted = {pair.prompt_id for pair in planned}
    columns = ["prompt_id", "prompt", "principle_id", "other_principle_ids"]
    table = run.table("prompts", 0, columns)
    shards = {
        name: place // recipe.images.shard_size
        for place, name in enumerate(table["prompt_id"].to_pylist())
        if name in wanted
    }
    texts = {}
    for row in table.filter(pc.is_in(table["prompt_id"], pa.array(sorted(wanted), pa.string()))).to_pylist():
        names = (row["principle_id"], *row["other_principle_ids"])
        own = [principles[name] for name in names if name in principles]
        statements = " ".join(f"{one.statement.rstrip('.')}." for one in own)
        harmful = any(one.kind == HARM for one in own)
        texts[row["prompt_id"]] = Asked(look.clean(row["prompt"]), look.clean(statements), harmful)
    return texts, shards


def _told(session: Session, count: int) -> list[str]:
    """What is to be known before the page is opened."""
    state, sizes = session.state(), session.journal.sizes
    total = sum(sizes.values())
    lines = [
        f"{state['total']} of {total:,} pairs are asked, drawn from the {sizes.get(sample.UNCERTAIN, 0):,} least "
        f"certain and from the other {sizes.get(sample.REST, 0):,}"
    ]
    if count > len(session.journal.planned):
        lines.append(f"there are no more, though {count} were wanted")
    if session.lost:
        lines.append(f"{session.lost} pairs of the sample are no longer in the run: they are left out")
    if state["done"]:
        lines.append(f"{state['done']} of them are answered")
    if not state["pair"]:
        lines.append(f"all are answered: the page can finish; --count {2 * count} asks for more")
    return lines


def _calibrate(
    run: store.Run, session: Session, judges: Sequence[str], shards: Mapping[str, int], progress: Progress
) -> Outcome:
    """Label the run anew with the answers; InputError if none of them says which image is better."""
    answers, planned = session.journal.answers, list(session.pairs.values())
    weights = sample.weights(planned, answers, session.journal.sizes)
    rows = outcome.people_rows(planned, answers, weights)
    if not any(label in people.MEANS for _, label, _ in rows):
        raise InputError("no answer says which image is better, so there is nothing to calibrate by")
    settings = run.started()
    recipe, _ = recipes.of_run(settings)
    before, kept = _labels(run, planned), _pairs(plan.of_run(run, recipe, settings["digest"]))
    path = people.join(run.root, BY, rows, recipe.labels.known)
    summary = build.relabel(run, {"known": str(path.absolute())}, progress=progress)
    leans = {
        name: own
        for shard in sorted(set(shards.values()))
        for name, own in outcome.margins(
            run.table("verdicts", shard, ["prompt_id", "image_id", "lean"]),
            [pair for pair in planned if shards.get(pair.prompt_id) == shard],
        ).items()
    }
    labels, pairs = (before, _labels(run, planned)), (kept, summary.rows("pairs"))
    return outcome.compare(planned, answers, weights, leans, judges, labels, pairs)


def _pairs(plans: Sequence[plan.Plan]) -> int:
    """How many pairs a run has published."""
    return sum(found.total("rows") for found in plans if found.stage.record is Pair)


def _labels(run: store.Run, planned: Sequence[Planned]) -> outcome.Labels:
    footer = run.footer("labels", 0)
    return outcome.labels(run.table("labels", 0, sample.COLUMNS), footer.facts if footer else {}, planned)
