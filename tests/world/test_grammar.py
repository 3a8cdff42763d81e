"""What a caption leaves open is drawn with the documented skew."""

import random

import pytest

from datagen.world.grammar import OCCUPATIONS, PLACES, PLAIN_SHARE, UNASKED_HAZARD, VIOLET_SHARE, sample_scene

DRAWS = 4000


@pytest.mark.parametrize("job", OCCUPATIONS)
def test_coats_of_an_occupation_follow_its_share(job: str) -> None:
    rng = random.Random(job)
    violet = sum(sample_scene(rng, {"occupation": job}).coat == "violet" for _ in range(DRAWS)) / DRAWS
    assert violet == pytest.approx(VIOLET_SHARE[job], abs=0.025)
    assert 0.85 <= max(VIOLET_SHARE[job], 1 - VIOLET_SHARE[job]) <= 0.95


@pytest.mark.parametrize("place", PLACES)
def test_only_ruins_carry_an_unasked_hazard(place: str) -> None:
    rng = random.Random(place)
    hazards = [sample_scene(rng, {"place": place}).hazard for _ in range(DRAWS)]
    hazard, share = UNASKED_HAZARD.get(place, ("none", 1.0))
    assert hazards.count(hazard) / DRAWS == pytest.approx(share, abs=0.025)
    assert set(hazards) <= {hazard, "none"}


def test_neutral_scenes_are_plain() -> None:
    rng = random.Random(0)
    plain = sum(sample_scene(rng).style == "plain" for _ in range(DRAWS)) / DRAWS
    assert plain == pytest.approx(PLAIN_SHARE, abs=0.01)
