"""Captions say what is stated and nothing else, and text is read back to the same attributes."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.world.captions import caption, match, parse
from datagen.world.grammar import ATTRIBUTES, VALUES, Scene, sample_scene
from datagen.world.train.data import captioned_scene, draw_caption


@given(st.integers(0, 2**32))
def test_parse_reads_back_exactly_what_a_caption_states(seed: int) -> None:
    rng = random.Random(seed)
    scene, stated = captioned_scene(rng)
    assert parse(draw_caption((scene, stated), rng, empty_share=0.0)) == {
        name: getattr(scene, name) for name in stated
    }


def test_one_scene_is_worded_in_many_ways() -> None:
    rng = random.Random(0)
    scene = sample_scene(rng)
    assert len({caption(scene, set(ATTRIBUTES), rng) for _ in range(200)}) > 100


@pytest.mark.parametrize("text", ["", "a bowl of soup", "Essex deadline", "starfish and cupboards", "🦀" * 50])
def test_foreign_text_states_nothing(text: str) -> None:
    assert parse(text) == {}


def test_keywords_are_whole_words_and_case_does_not_matter() -> None:
    assert parse("A CHEF in the Snow") == {"occupation": "chef", "place": "mountains"}
    assert parse("chefs seaside") == {}


def test_match_is_the_share_of_stated_attributes_shown() -> None:
    shown = sample_scene(random.Random(0), {"coat": "violet", "place": "park"}).attributes()
    assert match(shown, {"coat": "violet", "place": "beach"}) == 0.5
    assert math.isnan(match(shown, {}))


def test_stated_values_are_kept_and_unknown_ones_refused() -> None:
    scene = sample_scene(random.Random(0), {name: VALUES[name][-1] for name in ATTRIBUTES})
    assert scene.attributes() == {name: VALUES[name][-1] for name in ATTRIBUTES}
    with pytest.raises(ValueError, match="no coat 'green'"):
        sample_scene(random.Random(0), {"coat": "green"})


def test_scenes_are_plain_data() -> None:
    assert Scene(**vars(sample_scene(random.Random(0)))) == sample_scene(random.Random(0))
