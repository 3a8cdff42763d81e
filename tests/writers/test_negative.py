"""Negative controls are worded of a run's own prompts, by what is near their principles and breaks nothing."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from datagen import recipe as recipes
from datagen.errors import RecipeError
from datagen.records import NEGATIVE, Prompt, Written
from datagen.stages import Context, Shard, prompts
from datagen.world.captions import parse
from datagen.writers import negative
from datagen.writers.offline import OfflineWriter


def written(name: str, *overrides: str) -> tuple[list[Prompt], Written[Prompt]]:
    """The prompts of a recipe, and their negative controls."""
    recipe = recipes.load(name, list(overrides))
    writer = OfflineWriter(recipe, recipe.profile("embedded"))
    principles = writer.principles().rows
    rows = writer.prompts(principles).rows
    return rows, negative.write(recipe, principles, rows)


@pytest.mark.parametrize("name", ["pick-safety", "livo-toxicity"])
def test_neither_wording_keeps_the_principle_better_and_both_are_of_a_prompt_of_the_run(name: str) -> None:
    rows, controls = written(name)
    recipe = recipes.load(name, [])
    principles = {of.principle_id: of for of in OfflineWriter(recipe, recipe.profile("embedded")).principles().rows}
    assert len(controls.rows) == recipe.prompts.count // 10 and controls.drops == {}
    assert len({row.prompt_id for row in (*rows, *controls.rows)}) == len(rows) + len(controls.rows)
    own = {row.prompt: row for row in rows}
    for row in controls.rows:
        of = own[row.prompt]
        assert (row.role, row.cluster, row.split) == (NEGATIVE, of.cluster, of.split)
        broken = parse(principles[row.principle_id].violating.format(prompt=row.prompt))["hazard"]
        sides = [parse(text).get("hazard") for text in (row.chosen_prompt, row.rejected_prompt)]
        assert sides[0] != sides[1] and broken not in sides


@pytest.mark.parametrize(
    ("share", "count", "planned"),
    [(0.0, 360, 0), (0.1, 360, 36), (0.1, 99, 0), (0.1, 100, 10), (0.5, 20, 10), (0.5, 5000, 200), (0.01, 360, 0)],
)
def test_as_many_are_planned_as_tell_something(share: float, count: int, planned: int) -> None:
    recipe = recipes.load("pick-style", [f"labels.controls={share}", f"prompts.count={count}"])
    assert negative.planned(recipe) == planned


def test_what_could_not_be_worded_is_counted() -> None:
    _, few = written("pick-safety", "labels.controls=0.1", "prompts.count=60")
    assert few.rows == [] and few.drops == {negative.TOO_FEW: 6}
    changes = ("prompts.count=30", "prompts.asked_share=0", "prompts.control_share=1")
    _, some = written("pick-safety", "labels.controls=0.5", *changes)
    assert some.rows == [] and some.drops == {negative.UNWORDED: 15}
    _, ranked = written("open-preferences", "labels.controls=0.1")
    assert ranked.rows == [] and ranked.drops == {negative.RANKED: 20}


@pytest.mark.parametrize("name", ["livo-debias", "pick-style", "pick-culture"])
def test_two_groups_and_two_looks_are_no_controls(name: str) -> None:
    rows, none = written(name, "labels.controls=0.1")
    assert none.rows == [] and none.drops == {negative.UNWORDED: len(rows) // 10}


def test_the_same_recipe_writes_the_same_ones_and_another_seed_others() -> None:
    _, one = written("pick-safety")
    _, again = written("pick-safety")
    _, other = written("pick-safety", "seed=1")
    assert one == again and one.rows != other.rows


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("0.6", "labels.controls is 0.6"),
        ("-0.1", "labels.controls is -0.1"),
        ("nan", "labels.controls is nan"),
        ('"many"', "labels.controls is 'many'"),
    ],
)
def test_a_share_that_cannot_be_is_refused(value: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipes.load("pick-style", [f"labels.controls={value}"])


def test_they_stand_after_all_others_and_a_retry_keeps_them() -> None:
    recipe = recipes.load("pick-safety", ["prompts.count=40", "labels.controls=0.25"])
    context = Context(recipe, recipe.profile("embedded"))
    principles: list[Any] = OfflineWriter(recipe, context.profile).principles().rows
    shard = Shard({type(principles[0]): principles})
    rows = list(prompts.run(context, shard).rows)
    assert [row.role == NEGATIVE for row in rows] == [False] * 40 + [True] * 10
    assert list(prompts.retry(context, shard, rows).rows) == rows
    without = recipe.model_copy(update={"labels": recipe.labels.model_copy(update={"controls": 0.0})})
    assert list(prompts.run(dataclasses.replace(context, recipe=without), shard).rows) == rows[:40]
    assert [len(prompts.remarks(row)) for row in rows] == [0] * 40 + [1] * 10
