"""The offline writer composes the same distinct, well-formed prompts every time, on every recipe and profile."""

import dataclasses
import random

import pytest

from datagen import recipe as recipes
from datagen import safety
from datagen.errors import RecipeError
from datagen.records import Prompt
from datagen.world.captions import parse
from datagen.writers import offline
from datagen.writers.offline import OfflineWriter, _scene
from datagen.writers.taxonomy import Option, grammar

EMBEDDED = [(name, "embedded") for name in recipes.names()]
EVERY = [
    (name, profile_name)
    for name in recipes.names()
    for recipe in [recipes.load(name, [])]
    for profile_name, profile in recipe.profiles.items()
    if recipe.writer(profile) == "offline"
]


def write(name: str, profile: str, *overrides: str) -> list[Prompt]:
    recipe = recipes.load(name, list(overrides))
    writer = OfflineWriter(recipe, recipe.profile(profile))
    return writer.prompts(writer.principles().rows).rows


@pytest.mark.parametrize(("name", "profile"), EVERY)
def test_every_recipe_gives_as_many_distinct_prompts_as_it_asks_for(name: str, profile: str) -> None:
    prompts = write(name, profile)
    assert len(prompts) == recipes.load(name, []).prompts.count
    assert len({row.prompt_id for row in prompts}) == len(prompts)
    assert [row.prompt_id for row in prompts] == sorted(row.prompt_id for row in prompts)
    for row in prompts:
        assert row.chosen_prompt != row.rejected_prompt
        assert not set("{}") & set(row.prompt + row.chosen_prompt + row.rejected_prompt)


def test_the_same_recipe_gives_the_same_prompts_and_another_seed_gives_others() -> None:
    assert write("pick-style", "embedded") == write("pick-style", "embedded")
    ids = {row.prompt_id for row in write("pick-style", "embedded", "prompts.count=40")}
    assert ids != {row.prompt_id for row in write("pick-style", "embedded", "prompts.count=40", "seed=1")}


@pytest.mark.parametrize("name", ["pick-safety", "livo-toxicity"])
@pytest.mark.parametrize("profile", ["sd15", "sdxl"])
def test_harms_of_real_models_can_be_written_offline(name: str, profile: str) -> None:
    rows = write(name, profile, f"profiles.{profile}.writer=offline")
    assert len(rows) == recipes.load(name, []).prompts.count


def test_a_row_that_the_floor_refuses_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = grammar("people")
    slots = scenes.slots | {
        "subject": [*scenes.slots["subject"], Option(text="a kindergarten teacher", over="female")]
    }
    monkeypatch.setattr(offline, "grammar", lambda name: scenes.model_copy(update={"slots": slots}))
    recipe = recipes.load("pick-safety", ["profiles.sd15.writer=offline", "prompts.count=200"])
    writer = OfflineWriter(recipe, recipe.profile("sd15"))
    written = writer.prompts(writer.principles().rows)
    assert len(written.rows) == 200 and written.drops[safety.MINORS] > 0
    assert all(safety.refusal_of_row(*row.texts) is None for row in written.rows)


def test_fewer_prompts_are_a_subset_of_more() -> None:
    few = {row.prompt_id for row in write("pick-style", "embedded", "prompts.count=20")}
    assert few <= {row.prompt_id for row in write("pick-style", "embedded", "prompts.count=200")}


@pytest.mark.parametrize(("name", "profile"), EVERY)
def test_no_cluster_stands_on_both_sides_of_the_split(name: str, profile: str) -> None:
    sides: dict[str, set[str]] = {}
    for row in write(name, profile):
        sides.setdefault(row.cluster, set()).add(row.split)
    assert all(len(split) == 1 for split in sides.values())
    assert {split for found in sides.values() for split in found} == {"train", "test"}


@pytest.mark.parametrize(("name", "profile"), EMBEDDED)
def test_the_two_wordings_differ_in_what_the_principle_is_about_and_in_nothing_else(name: str, profile: str) -> None:
    about = {
        "pick-style": "style",
        "pick-culture": "style",
        "pick-safety": "hazard",
        "livo-toxicity": "hazard",
        "open-preferences": "hazard",
        "livo-debias": "coat",
    }[name]
    for row in write(name, profile):
        chosen, rejected = parse(row.chosen_prompt), parse(row.rejected_prompt)
        none = "none" if about == "hazard" else None
        assert chosen.pop(about, none) != rejected.pop(about, none), row
        assert chosen == rejected, row


def test_roles_are_what_they_say() -> None:
    prompts = write("livo-toxicity", "embedded")
    assert {row.role for row in prompts} == {"neutral", "asked", "control"}
    for row in prompts:
        asked_for = parse(row.prompt).get("hazard")
        if row.role == "neutral":
            assert asked_for is None
        elif row.role == "asked":
            assert asked_for == row.category and parse(row.chosen_prompt).get("hazard", "none") == "none"
        else:
            assert asked_for not in (None, "none", row.category) and row.chosen_prompt == row.prompt
            assert parse(row.rejected_prompt)["hazard"] == row.category


def test_a_control_of_a_preference_rejects_applying_it_where_something_else_was_asked_for() -> None:
    controls = [row for row in write("pick-style", "embedded") if row.role == "control"]
    assert {str(parse(row.prompt)["style"]) for row in controls} == {"plain", "outline"}
    for row in controls:
        assert row.chosen_prompt == row.prompt and parse(row.rejected_prompt)["style"] == "pixel"


def test_the_chosen_side_of_balance_is_the_group_the_subject_lacks() -> None:
    for row in write("livo-debias", "embedded"):
        if row.role == "neutral":
            job = parse(row.prompt)["occupation"]
            lacking = "amber" if job in ("chef", "farmer", "monarch") else "violet"
            assert parse(row.chosen_prompt)["coat"] == lacking


def test_a_grammar_that_is_used_up_says_how_many_prompts_it_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = offline.grammar("world")
    small = whole.model_copy(update={"slots": {name: options[:1] for name, options in whole.slots.items()}})
    monkeypatch.setattr(offline, "grammar", lambda name: small)
    with pytest.raises(RecipeError, match=r"gives only \d+ distinct prompts, 1000 were asked for"):
        write("livo-debias", "embedded", "prompts.count=1000")


def test_a_prompt_for_several_principles_needs_another_writer() -> None:
    with pytest.raises(RecipeError, match="writes for one principle: leave prompts.principles_each at 1"):
        write("pick-style", "embedded", "prompts.principles_each=2")


def test_an_unknown_principle_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(RecipeError, match="did you mean 'pixel-art'"):
        write("pick-style", "embedded", 'profiles.embedded.principles=["pixle-art"]')


def test_prompts_are_frozen_rows() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        write("pick-style", "embedded", "prompts.count=2")[0].prompt = "other"  # type: ignore[misc]


def test_scenes_that_differ_in_their_joining_word_or_order_are_one_cluster() -> None:
    scenes = grammar("world-styles")
    clusters: dict[frozenset[str], set[str]] = {}
    for number in range(20_000):
        text, _, cluster = _scene(scenes, random.Random(number))
        for joining in ("next to", "with", "beside", "and"):
            text = text.replace(f" {joining} ", " | ")
        clusters.setdefault(frozenset(text.replace(" | ", " ").split()), set()).add(cluster)
    assert len(clusters) > 1000
    assert all(len(found) == 1 for found in clusters.values())
