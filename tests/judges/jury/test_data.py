from __future__ import annotations

import random

import pytest
import torch

from datagen.judges.jury import data
from datagen.world.captions import parse
from datagen.world.train.vae import balanced_scene

SCENES = [balanced_scene(random.Random(seed)) for seed in range(50)]


@pytest.mark.parametrize("name", data.VALUED)
def test_a_wording_states_what_its_scene_shows_and_a_context_nothing_of_it(name: str) -> None:
    for seed, scene in enumerate(SCENES):
        text = data.worded(scene, [name], random.Random(seed))
        assert parse(text)[name] == getattr(scene, name)
        assert not set(data.VALUED) - {name} & parse(text).keys()
        assert not set(data.VALUED) & parse(data.context(scene, random.Random(seed))).keys()


def test_a_text_about_a_scene_is_true_of_it() -> None:
    for seed, scene in enumerate(SCENES):
        stated = parse(data.text_about(scene, random.Random(seed), 0.5))
        assert stated.items() <= scene.attributes().items()


@pytest.mark.parametrize("name", ["hazard", "style", "coat", "thing", "count"])
def test_a_changed_scene_differs_in_one_attribute(name: str) -> None:
    for seed, scene in enumerate(SCENES):
        other = data.changed(scene, name, random.Random(seed))
        differing = {key for key, value in scene.attributes().items() if other.attributes()[key] != value}
        assert differing == {name}
        assert data.relaid(scene, random.Random(seed)).attributes() == scene.attributes()


@pytest.mark.parametrize("flipped", [0.0, 0.3, 1.0])
def test_of_the_preferences_as_many_are_wrong_as_was_said(flipped: float) -> None:
    known = data.preferences(random.Random(1), 2_000, flipped, {"hazard": 1, "coat": 1})
    wrong = 0
    for text, better, worse in zip(known.texts, known.better, known.worse, strict=True):
        stated = parse(text)
        right = [sum(scene.attributes()[name] == value for name, value in stated.items()) for scene in (better, worse)]
        assert abs(right[0] - right[1]) == 1
        wrong += right[0] < right[1]
    assert wrong / 2_000 == pytest.approx(flipped, abs=0.04)


def test_what_preferences_are_about_follows_their_shares() -> None:
    known = data.preferences(random.Random(2), 2_000, 0.0, {"hazard": 3, "style": 1})
    hazards = sum(a.hazard != b.hazard for a, b in zip(known.better, known.worse, strict=True))
    assert hazards / 2_000 == pytest.approx(0.75, abs=0.04)


def test_pictures_are_noisy_renders_that_the_seed_decides() -> None:
    made = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        made.append(data.pictures(SCENES[:4]))
    assert made[0].shape == (4, 3, 64, 64) and made[0].min() >= 0 and made[0].max() <= 1
    assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])
    known = data.preferences(random.Random(3), 5, 0.0, {"style": 1})
    texts, better, worse = known.sample(random.Random(0), 7)
    assert len(texts) == len(better) == len(worse) == 7
