"""The progress of a run as text: one line per stage from the footers of its shards, and where the dataset lies.

It only reads, so it can run while another process works in the directory. Of a run of a million rows it reads what is
kept of the footers (`store/index.py`), and no rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from datagen import recipe as recipes
from datagen import records, store
from datagen.export import huggingface
from datagen.labels import told
from datagen.llm import LEDGER
from datagen.llm.accounts import money
from datagen.pipeline import plan
from datagen.store import sums

MANY = 500  # shards of scores, from which rows are read only if they are asked for


def show(root: Path, console: Console, full: bool = False) -> None:
    """Print the status of a run directory, `full` with what takes reading all scores; RunError if it is not one."""
    run = store.Run(root)
    settings = run.started()
    recipe, profile = recipes.of_run(settings)
    console.print(f"{recipe.name} on {profile}, digest {settings['digest']}", highlight=False)
    holder = store.holder(run)
    console.print(f"running: {holder}" if holder else "not running", highlight=False)

    plans = plan.of_run(run, recipe, settings["digest"])
    spent = money.totals(root / LEDGER)
    paid = ("LLM calls", "tokens", "cost") if spent else ()
    names = ("stage", "shards", "rows", "errors", "seconds", *paid)
    table = Table(*(Column(name, no_wrap=name != "tokens") for name in names))
    for done in plans:
        shards = f"{len(done.done)}/{len(done.shards) or '?'}"
        table.add_row(
            done.stage.name,
            shards,
            str(done.total("rows")),
            str(done.total("errors")),
            f"{done.total('seconds'):.1f}",
            *(_spent(spent.get(done.stage.name)) if spent else ()),
        )
    console.print(table)
    for done in plans:
        if drops := done.drops():
            words = records.in_words(drops)
            console.print(f"dropped by {done.stage.name}: {words}", highlight=False, markup=False, soft_wrap=True)
            from datagen.writers import meaning  # here, as it reads what replies are held against

            if said := meaning.told(drops, done.total("rows") - done.total("errors")):
                console.print(f"{done.stage.name}: {said}", highlight=False, markup=False, soft_wrap=True)
        for line in told.lines(done.facts()):
            console.print(f"{done.stage.name}: {line}", highlight=False, markup=False, soft_wrap=True)
        for remark, count in done.remarks().items():
            line = f"{count} of {done.total('rows')} {done.stage.name}: {remark}"
            console.print(line, highlight=False, markup=False, soft_wrap=True)

        for reason, count in done.reasons().items():
            line = f"{done.stage.name} failed: {count} × {reason}"
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        workers = done.workers()
        if len(workers) > 1:
            some = ", ".join(f"{name} {count}" for name, (count, _) in list(workers.items())[:8])
            more = f" and {len(workers) - 8} more" if len(workers) > 8 else ""
            console.print(f"{done.stage.name}, shards by worker: {some}{more}", highlight=False, soft_wrap=True)

    scores = next(done for done in plans if done.stage.name == "scores")
    for line in _groups(run, scores.done, full):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    for damaged in (shard for done in plans for shard in done.damaged):
        console.print(f"damaged: {damaged.name} ({damaged.why})", highlight=False, markup=False, soft_wrap=True)
    console.print(f"dataset: {_dataset(run)}", highlight=False, markup=False, soft_wrap=True)


def _groups(run: store.Run, shards: list[int], full: bool) -> Iterator[str]:
    """How evenly groups are shown, by each judge that sees groups."""
    if len(shards) > MANY and not full:
        yield f"groups that are shown: not looked for in {len(shards)} shards of scores, --full reads them"
    elif shards:
        from datagen.labels import fairness  # here, as it reads what judges are made of

        yield from (f"shown by {groups}" for groups in fairness.of_run(run, shards))


def _dataset(run: store.Run) -> str:
    """Where the dataset lies and what it holds, or what has become of it since it was written."""
    folder = run.dataset
    if run.address and run.files.has(sums.beside(folder)):
        return run.files.name(folder)
    if run.address or not folder.is_dir():
        return "not written yet; run the same datagen run again to continue"
    if changes := list(sums.differences(folder, contents=False)):
        return f"{'; '.join(changes)}: the same datagen run writes it again"
    rows = ", ".join(f"{count} {split}" for split, count in huggingface.splits(folder).items())
    return f"{folder} ({rows})"


def _spent(spent: money.Spent | None) -> tuple[str, str, str]:
    """Calls, tokens and cost of a stage in words; nothing for one that asked no LLM."""
    if spent is None:
        return "", "", ""
    calls = str(spent.calls) + (f" + {spent.cached} cached" if spent.cached else "")
    cost = f"${spent.cost:.4f}"
    if spent.unsure:  # sent, but their bill never arrived
        calls, cost = f"{calls} + {spent.unsure} unsure", f"{cost} to ${spent.cost + spent.at_most:.4f}"
    return calls, f"{spent.input_tokens:,} in, {spent.output_tokens:,} out", cost
