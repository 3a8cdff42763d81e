"""What the judges are asked about the images of a prompt."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from datagen.labels import axes
from datagen.records import NEGATIVE, Principle, Prompt

NAN = float("nan")
AVOID = Principle(
    "no-splatter", "avoid", "splatter", "splatter considered inappropriate", "{prompt}, clean",
    "{prompt}, covered in splatter", "", "", "t", "s", asked="{prompt}, covered in splatter",
)  # fmt: skip
PREFER = dataclasses.replace(AVOID, principle_id="pixel", kind="prefer", statement="pixel art preferred", asked="")
BALANCE = dataclasses.replace(AVOID, principle_id="coat", kind="balance", aligned="{prompt}, {under}", asked="")
BY_ID = {principle.principle_id: principle for principle in (AVOID, PREFER, BALANCE)}


def prompt(text: str, principle: str = "no-splatter", **changes: Any) -> Prompt:
    row = Prompt(text, principle, "c", text, f"{text} +", f"{text} -", "", "", f"cluster of {text}", "train", "t")
    return dataclasses.replace(row, **changes)


def asked(*prompts: Prompt) -> axes.Asked:
    return axes.of_shard(prompts, BY_ID)[prompts[0].prompt_id]


@pytest.mark.parametrize(
    ("row", "keeps", "breaks"),
    [
        (prompt("a chef."), "a chef, clean", "a chef, covered in splatter"),
        (prompt("a chef, covered in splatter", role="asked"), "a chef, clean", "a chef, covered in splatter"),
        (prompt("a bloody fight", role="asked"), "an image, clean", "an image, covered in splatter"),
        (prompt("a chef, cracked", role="control"), "a chef, cracked", "a chef, cracked, covered in splatter"),
        (prompt("a chef, outlined", "pixel", role="control"), "a chef, outlined", "a chef, outlined, clean"),
        (
            prompt("a chef", other_principle_ids=["pixel"], role="conflict"),
            "a chef, clean, clean",
            "a chef, covered in splatter, covered in splatter",
        ),
        (prompt("a chef", "coat"), None, None),
        (prompt("a chef", "unknown"), None, None),
    ],
)
def test_the_principle_words_the_context_prompt_itself(row: Prompt, keeps: str | None, breaks: str | None) -> None:
    texts = dict(zip(axes.TEXTS, asked(row).texts, strict=False))
    assert (texts[axes.KEEPS], texts[axes.BREAKS]) == (keeps, breaks)
    assert (texts[axes.MATCH], texts[axes.ALIGNED]) == (row.prompt, row.chosen_prompt)


def test_a_question_is_asked_where_yes_means_the_better_image() -> None:
    assert asked(prompt("a chef")).question == (
        'Does this image keep to the principle "splatter considered inappropriate"?'
    )
    assert asked(prompt("a chef", role="control")).question is not None  # an avoided harm is still avoided
    assert asked(prompt("a chef", "pixel", role="control")).question is None
    assert asked(prompt("a chef", "coat")).question is None


def test_others_are_the_next_context_prompts_of_other_clusters_each_once() -> None:
    rows = [prompt(text) for text in "abcde"]
    rows[1] = dataclasses.replace(rows[1], cluster=rows[0].cluster)
    rows[3] = dataclasses.replace(rows[3], prompt="c")
    found = axes.of_shard(rows, BY_ID)
    assert [found[row.prompt_id].texts[-axes.OTHER_PROMPTS :] for row in (rows[0], rows[4])] == [
        ("c", "e", None), ("a", "b", "c"),
    ]  # fmt: skip
    assert asked(prompt("a")).texts[-axes.OTHER_PROMPTS :] == (None,) * axes.OTHER_PROMPTS


def test_questions_that_the_wordings_should_not_touch_are_asked_around_the_context_prompt() -> None:
    questions = [("{prompt} on the left", "{prompt} on the right"), ("dawn: {prompt}", "dusk: {prompt}")]
    rows = [prompt("a {x} chef."), prompt("b")]
    texts = axes.of_shard(rows, BY_ID, questions)["a {x} chef."].texts
    assert texts[-4:] == (
        "a {x} chef on the left", "a {x} chef on the right", "dawn: a {x} chef", "dusk: a {x} chef",
    )  # fmt: skip
    said = axes.by_axis([0.5, 0.6, 0.1, 0.7, 0.2, 0.3, 0.4, NAN, 0.2, 1.0, 0.9, 0.8, NAN])
    assert said[axes.MATCH] == 0.5 and said[axes.OTHERS] == pytest.approx(0.3)
    assert [said[axes.control(k, side)] for k, side in ((0, 0), (0, 1), (1, 0))] == [1.0, 0.9, 0.8]
    assert axes.by_axis([0.5] * 9).keys() == set(axes.TEXTS)


def test_a_negative_control_is_asked_about_by_its_principle_alone_whatever_it_was_drawn_from() -> None:
    texts = asked(prompt("a chef.", role=NEGATIVE)).texts
    assert texts[:5] == ("a chef.", *("a chef, clean", "a chef, covered in splatter") * 2)
