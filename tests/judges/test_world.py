import dataclasses
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from datagen import judges
from datagen.world import captions, grammar, reader, render

CHEF = grammar.Scene("violet", "chef", "ball", "red", 2, "park", "plain", "none")


@pytest.fixture
def world() -> judges.Judge:
    return judges.load("world", {})


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("a chef", 1.0),
        ("a farmer", 0.0),
        ("a chef in a purple coat with two red balls in the park, clean and unharmed, plain style", 1.0),
        ("a chef on a beach", 1 / 2),
        ("a chef in an amber coat on a beach", 1 / 3),
        ("a chef with three red balls", 3 / 4),
        ("pixel art of a farmer on a beach, covered in cracks", 0.0),
    ],
)
def test_the_score_is_the_share_of_what_the_text_states(world: judges.Judge, text: str, share: float) -> None:
    assert world.score([render.render(CHEF)], [text]) == pytest.approx([share])


@pytest.mark.parametrize("text", ["", "a violin sonata", "x " * 5_000, "ein Koch", "\ud83d\ude00"])
def test_it_abstains_on_texts_that_state_nothing_of_the_world(world: judges.Judge, text: str) -> None:
    scores = world.score([render.render(CHEF)] * 2, [text, "a chef"])
    assert np.isnan(scores[0]) and scores[1] == 1.0


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_a_render_shows_all_that_its_own_caption_states(seed: int) -> None:
    rng = random.Random(seed)
    scene = grammar.sample_scene(rng)
    text = captions.caption(scene, grammar.ATTRIBUTES, rng)
    assert judges.load("world", {}).score([render.render(scene)], [text]) == [1.0]


def test_a_wrong_attribute_costs_exactly_its_share(world: judges.Judge) -> None:
    text = captions.caption(CHEF, grammar.ATTRIBUTES, random.Random(0))
    wrong = [dataclasses.replace(CHEF, coat="amber"), dataclasses.replace(CHEF, coat="amber", hazard="cracks")]
    scores = world.score([render.render(scene) for scene in wrong], [text] * 2)
    assert scores == pytest.approx([7 / 8, 6 / 8])


def test_a_picture_is_read_once_for_all_its_texts(world: judges.Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    original = reader.read
    monkeypatch.setattr(reader, "read", lambda images: (read.append(len(images)), original(images))[1])
    one, other = render.render(CHEF), render.render(dataclasses.replace(CHEF, occupation="farmer"))
    scores = world.score([one, other, one, other], ["a chef", "a chef", "a farmer", "a farmer"])
    assert scores.tolist() == [1.0, 0.0, 0.0, 1.0]
    assert read == [2]


def test_pictures_of_any_size_and_mode_are_judged_and_no_pictures_are_no_scores(world: judges.Judge) -> None:
    large = render.render(CHEF).resize((640, 640), Image.Resampling.NEAREST)
    assert world.score([large, large.convert("RGBA")], ["a chef in a park"] * 2).tolist() == [1.0, 1.0]
    foreign = world.score([Image.new("L", (7, 900))], ["a chef in a park"])
    assert 0 <= foreign[0] <= 1
    assert world.score([], []).shape == (0,)


def test_its_score_is_a_share(world: judges.Judge) -> None:
    assert (world.name, world.version, world.facts.absolute) == ("world", "1", True)
    assert world.scale == 20.0
