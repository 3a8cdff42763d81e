"""What becomes of prompts whose wordings are wrong, when they get past all checks of the writer.

`python -m benchmarks past_the_writer [RECIPE …]`. The two wordings of 24 neutral prompts of a recipe are exchanged,
are those of another scene, of no scene at all, or a refusal in one field; they are drawn, judged and labelled with the
recipe's own judges and thresholds. None of these should be published, and of the right ones nearly all.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.support.results import Row, record
from datagen import recipe as recipes
from datagen.records import Embedding, Image, Label, Principle, Prompt, Score, Verdict
from datagen.stages import Context, Shard, embeddings, images, labels, pairs, principles, prompts, scores, verdicts

COUNT = 24
REFUSAL = "I'm sorry, but I cannot help with that request."
Tamper = Callable[[Prompt, Prompt], Prompt]


def exchanged(prompt: Prompt, other: Prompt) -> Prompt:
    """Each wording in the other's field."""
    return dataclasses.replace(prompt, chosen_prompt=prompt.rejected_prompt, rejected_prompt=prompt.chosen_prompt)


def another(prompt: Prompt, other: Prompt) -> Prompt:
    """The wordings of another scene, which keep and break the same principle."""
    return dataclasses.replace(prompt, chosen_prompt=other.chosen_prompt, rejected_prompt=other.rejected_prompt)


def nothing(prompt: Prompt, other: Prompt) -> Prompt:
    """Wordings of nothing that the prompt speaks of."""
    return dataclasses.replace(
        prompt, chosen_prompt="a violin sonata in D minor", rejected_prompt="annual report, 1987"
    )


def chosen_refused(prompt: Prompt, other: Prompt) -> Prompt:
    """A refusal as the chosen wording."""
    return dataclasses.replace(prompt, chosen_prompt=REFUSAL)


def rejected_refused(prompt: Prompt, other: Prompt) -> Prompt:
    """A refusal as the rejected wording."""
    return dataclasses.replace(prompt, rejected_prompt=REFUSAL)


TAMPERS: dict[str, Tamper] = {
    "as written": lambda prompt, other: prompt,
    "exchanged": exchanged,
    "another scene": another,
    "no scene": nothing,
    "refusal as chosen": chosen_refused,
    "refusal as rejected": rejected_refused,
}


def written(name: str) -> tuple[Context, list[Principle], list[Prompt]]:
    """The context of a recipe's embedded profile, its principles, and neutral prompts of as many scenes."""
    recipe = recipes.load(name, ["prompts.count=96", "prompts.asked_share=0", "prompts.control_share=0"])
    context = Context(recipe, recipe.profile("embedded"))
    rules = list(principles.run(context, Shard()).rows)
    made = prompts.run(context, Shard({Principle: rules})).rows
    by_cluster = {prompt.cluster: prompt for prompt in made if prompt.error is None}
    return context, rules, list(by_cluster.values())[:COUNT]


def published(context: Context, rules: list[Principle], rows: Sequence[Prompt]) -> tuple[set[str], dict[str, int]]:
    """The prompts of which a run makes pairs, and how many it dropped for which reason."""
    size = context.recipe.images.shard_size
    merged: dict[type, list[object]] = collections.defaultdict(list)
    for start in range(0, len(rows), size):
        tables: dict[type, list[object]] = {Principle: list(rules), Prompt: list(rows[start : start + size])}
        steps: list[tuple[type, Any]] = [(Image, images.run), (Embedding, embeddings.run)]
        steps += [(Score, scores.run), (Verdict, verdicts.run)]
        for record_, run in steps:
            tables[record_] = list(run(context, Shard(tables)).rows)
        for record_, made in tables.items():
            merged[record_] += made
    merged[Principle] = list(rules)
    (labelled,) = labels.run(context, Shard(merged)).tables or ()
    written_ = pairs.run(context, Shard({**merged, Label: labelled}))
    return {name for table in written_.tables or () for name in table["prompt_id"].to_pylist()}, dict(written_.drops)


def main() -> int:
    """Print a line for each recipe and kind; 1 if any wrong one is published, or if a right one too many is lost."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks past_the_writer", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("recipes", nargs="*", default=["pick-safety", "pick-style"])
    measured, wrong = [], False
    print("| recipe | wordings | prompts | published | dropped |\n|---|---|---|---|---|")
    for name in parser.parse_args().recipes:
        context, rules, rows = written(name)
        for kind, tamper in TAMPERS.items():
            after = [*rows[1:], rows[0]]
            tampered = [tamper(prompt, other) for prompt, other in zip(rows, after, strict=True)]
            whose, drops = published(context, rules, tampered)
            why = ", ".join(f"{count} {reason}" for reason, count in drops.items())
            print(f"| {name} | {kind} | {len(rows)} | {len(whose)} | {why} |", flush=True)
            goal = "≥ 23" if kind == "as written" else "= 0"
            wrong |= len(whose) < COUNT - 1 if kind == "as written" else bool(whose)
            measured.append(Row(f"{name}: published of {COUNT}, {kind}", len(whose), "", goal, note=why))
    record("past_the_writer", measured)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
