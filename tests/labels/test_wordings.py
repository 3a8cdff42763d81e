"""Whether a wording is one of its context prompt, by how near texts are to one another."""

from __future__ import annotations

import dataclasses
import hashlib
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from datagen.judges.vectors import unit
from datagen.labels import wordings
from datagen.records import Principle, Prompt

AVOID = Principle(
    "no-splatter", "avoid", "splatter", "splatter considered inappropriate", "{prompt}, clean",
    "{prompt}, covered in splatter", "", "", "t", "s", asked="{prompt}, covered in splatter",
)  # fmt: skip
PREFER = dataclasses.replace(AVOID, principle_id="pixel", kind="prefer", violating="{prompt}, plain", asked="")
BALANCE = dataclasses.replace(
    AVOID, principle_id="coat", kind="balance", aligned="{prompt}, {under}", violating="{prompt}, {over}",
    groups='{"violet": "in a violet coat", "amber": "in an amber coat"}', asked="",
)  # fmt: skip
RULES = {rule.principle_id: rule for rule in (AVOID, PREFER, BALANCE)}
SCENES = [
    "a chef with a red ball in a park", "a wizard beside two green cups on a beach", "an old doctor near three stars",
    "the farmer and one yellow box among ruins", "a monarch next to a pink tree in the snow", "a dog asleep on a sofa",
]  # fmt: skip


SAY_LITTLE = frozenset("a an and at in of on one over that the with i i'm no".split())


def embed(texts: Sequence[str]) -> Any:
    """Texts by their words, each in a direction of its own; what scenes tell of has a little in common."""
    told = {word for scene in SCENES for word in scene.split()}
    rows = []
    for text in texts:
        said = [word.strip(",.").lower() for word in text.split()]
        total = np.zeros(512)
        for word in said:
            if word not in SAY_LITTLE:
                seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
                total += np.random.default_rng(seed).normal(size=512) + 0.4 * (word in told)
        rows.append(total)
    return unit(np.stack(rows))


def rows(rule: Principle = AVOID, **changes: Any) -> list[Prompt]:
    made = []
    for scene in SCENES:
        aligned, violating = (
            text.format(prompt=scene, under="in a violet coat", over="in an amber coat")
            for text in (rule.aligned, rule.violating)
        )
        row = Prompt(
            scene, rule.principle_id, "c", scene, aligned, violating, "", "", scene, "train", "t", scene=scene
        )
        made.append(dataclasses.replace(row, **changes))
    return made


def said(prompts: Sequence[Prompt]) -> dict[tuple[str, str], float]:
    return wordings.nearness(prompts, RULES, embed)


def roles() -> dict[str, list[Prompt]]:
    """Right prompts of every kind and role."""
    asked = [dataclasses.replace(row, role="asked", prompt=row.rejected_prompt) for row in rows()]
    free = [dataclasses.replace(row, prompt=f"a gruesome mess around {row.scene}") for row in asked]
    control = [
        dataclasses.replace(row, role="control", prompt=f"{row.scene}, cracked", chosen_prompt=f"{row.scene}, cracked")
        for row in rows()
    ]
    named = [dataclasses.replace(row, role="control", prompt=row.chosen_prompt) for row in rows(BALANCE)]
    twice = rows(chosen_prompt="", other_principle_ids=["pixel"])
    twice = [dataclasses.replace(row, chosen_prompt=f"{row.scene}, clean, clean") for row in twice]
    bare = [dataclasses.replace(row, scene="") for row in rows()]
    reworded = [
        dataclasses.replace(row, chosen_prompt=f"{row.scene}, spotless", rejected_prompt=f"{row.scene}, all dirty")
        for row in rows()
    ]
    return {
        "neutral": rows(), "prefer": rows(PREFER), "balance": rows(BALANCE), "asked": asked, "in other words": free,
        "control": control, "control of a balance": named, "two principles": twice, "scene not kept": bare,
        "reworded": reworded,
    }  # fmt: skip


@pytest.mark.parametrize("kind", roles())
def test_the_wordings_of_a_prompt_are_nearer_to_it_than_to_any_other(kind: str) -> None:
    found = said(roles()[kind])
    assert len(found) == 2 * len(SCENES)
    assert min(found.values()) > 0


WRONG = [
    "I'm sorry, but I cannot help with that request.", "Content withheld.", "a violin sonata in D minor",
    "annual report, 1987", "No.", "{prompt}", "The stock market closed higher on Thursday.",
]  # fmt: skip


@pytest.mark.parametrize("side", wordings.SIDES)
@pytest.mark.parametrize("text", [*WRONG, "another's"])
@pytest.mark.parametrize("kind", ["neutral", "prefer", "balance", "asked", "control"])
def test_a_wording_of_nothing_or_of_another_prompt_is_not(kind: str, text: str, side: str) -> None:
    good = roles()[kind]
    for place, (row, other) in enumerate(zip(good, good[1:] + good[:1], strict=True)):
        wrong = getattr(other, f"{side}_prompt") if text == "another's" else text
        spoiled = [*good[:place], dataclasses.replace(row, **{f"{side}_prompt": wrong}), *good[place + 1 :]]
        found = said(spoiled)
        assert found.pop((row.prompt_id, side)) < 0
        assert min(found.values()) > 0  # it says nothing of the other wording, nor of other prompts


def test_where_nothing_else_is_there_to_compare_with_nothing_is_said() -> None:
    first, second, *_ = rows()
    assert said([]) == {} and said([first]) == {}
    assert said([first, dataclasses.replace(second, cluster=first.cluster)]) == {}
    assert said([first, dataclasses.replace(first, prompt_id="again", cluster="other")]) == {}
    failed = dataclasses.replace(second, prompt="", chosen_prompt="", rejected_prompt="", error="no reply")
    assert said([first, failed]) == {}
    unknown = [dataclasses.replace(row, principle_id="unknown") for row in rows()]
    assert min(said(unknown).values()) > 0  # the context prompt alone is compared with


def test_the_order_of_prompts_does_not_matter() -> None:
    prompts = [row for some in (rows(), rows(PREFER, cluster="x")) for row in some]
    prompts = [dataclasses.replace(row, prompt_id=f"{place}") for place, row in enumerate(prompts)]
    shuffled = random.Random(0).sample(prompts, len(prompts))
    assert said(shuffled) == pytest.approx(said(prompts))


def test_of_a_grammar_that_kept_no_scenes_nothing_is_said() -> None:
    told = wordings.nearness(rows(scene="", author="grammar:offline"), RULES, embed)
    assert told == {}
    assert wordings.nearness(rows(scene="", author="file:prompts.csv"), RULES, embed) != {}
