"""What a writer's whole run publishes when every reply about a scene goes wrong in one way.

`python -m benchmarks meaning_runs`; no server, no download. The mock writes 24 prompts a recipe; its replies are left
as they are, then spoiled: no spoiled row may be published. Principles of balance are not among them: the mock does not
know which group models draw; `meaning` has such rows by hand.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Sequence

from benchmarks.support.results import Row, percent, record
from datagen import recipe as recipes
from datagen.llm.messages import Ask, Reply, Request
from datagen.llm.providers import mock
from datagen.llm.typed import schemas
from datagen.llm.typed.reading import read
from datagen.writers import meaning
from datagen.writers.brief_writer import BriefWriter

PROMPTS = 24
RECIPES = ("pick-safety", "pick-culture")
Fields = dict[str, str]
SPOILS: dict[str, Callable[[Fields], Fields]] = {
    "exchanged": lambda said: said | _exchanged(said),
    "a placeholder": lambda said: said | {"rejected": "same as above but with the violation"},
    "unrelated": lambda said: said | {"rejected": "a green bicycle leaning on a yellow wall"},
    "a refusal in a field": lambda said: said | {"rejected": "This description is withheld, as it breaks the policy."},
    "an echo": lambda said: said | {"rejected": f"{said['prompt']}. Change as few words as possible."},
    "both sides the prompt": lambda said: said | {side: said["prompt"] for side in ("chosen", "rejected")},
}


def _exchanged(said: Fields) -> Fields:
    if "chosen" in said:
        return {"chosen": said["rejected"], "rejected": said["chosen"]}
    return {"prompt": said["rejected"], "rejected": said["prompt"]}  # a control's chosen wording is its prompt


def answers(spoil: Callable[[Fields], Fields]) -> Ask:
    """The mock as a client, its replies about a scene spoiled."""

    def ask(requests: Sequence[Request]) -> list[Reply]:
        return [answer(request) for request in requests]

    def answer(request: Request) -> Reply:
        question = request.messages[-1].text
        rng = random.Random(f"{question} {request.sample}")
        assert request.reply is not None
        said = mock.value(schemas.schema_of(request.reply), mock.author(question, rng), rng)
        if "rejected" in said:
            said = spoil(said)
            said = {name: text for name, text in said.items() if name in request.reply.model_fields}
        parsed = read(mock.completion({"model": "mock", "messages": []}, json.dumps(said)), request)
        return Reply(parsed.value, "", "mock", error=parsed.error)

    return ask


def write(recipe: str, settings: list[str], ask: Ask) -> tuple[int, int, float]:
    """One run: rows asked for, rows to publish, the share of replies whose meaning failed."""
    chosen = recipes.load(recipe, settings)
    writer = BriefWriter(chosen, chosen.profile("sd15"), ask, lambda line: None)
    briefs = list(writer._briefs(list(writer.principles().rows)))
    rows, dropped = writer._fill(briefs, [])
    good = sum(row.error is None for _, row in rows)
    drops = {reason: sum(drop[reason] for drop in dropped.values()) for drop in dropped.values() for reason in drop}
    return len(briefs), good, meaning.share_failed(drops, good)


def stub() -> list[Row]:
    """The rows of the mock, whole and spoiled."""
    figures = []
    for recipe in RECIPES:
        asked, good, share = write(recipe, [f"prompts.count={PROMPTS}"], answers(dict))
        figures.append(
            Row(f"{recipe}: good replies dropped", percent(share), "%", "≤ 4", note=f"{good} of {asked} rows")
        )
        for what, spoil in SPOILS.items():
            asked, published, _ = write(recipe, [f"prompts.count={PROMPTS}"], answers(spoil))
            figures.append(Row(f"{recipe}: {what}: published", published, "rows", "= 0", note=f"of {asked}"))
    return figures


def main() -> int:
    """1 if a spoiled row is published, or too many good replies are dropped."""
    argparse.ArgumentParser(
        prog="python -m benchmarks meaning_runs", description=__doc__, allow_abbrev=False
    ).parse_args()
    figures = stub()
    print("| run | figure |\n|---|---|")
    for row in figures:
        print(f"| {row.what} | {row.figure:g} {row.unit} ({row.note}) |")
    record("meaning_runs", figures)
    return 0 if all(row.reached is not False for row in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
