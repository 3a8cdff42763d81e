"""What a profile is told about before it runs, and that the recipes that come with the package are told nothing."""

from __future__ import annotations

from typing import Any

import pytest

from datagen import recipe
from datagen.commands.hints import hints


@pytest.mark.parametrize("name", recipe.names())
def test_our_own_recipes_need_no_hint(name: str) -> None:
    assert [hint for profile in recipe.load(name, []).profiles.values() for hint in hints(profile)] == []


@pytest.mark.parametrize(
    ("profile", "changes", "said"),
    [
        ("sdxl", {"width": 256, "height": 256}, ["made for 1024×1024 px, draws fragments at 256×256: take 512 px"]),
        ("sdxl", {"width": 1024, "height": 448}, ["draws fragments at 1024×448"]),
        ("sdxl", {"width": 2080, "height": 1024}, ["repeats things at 2080×1024: take 2048 px or less"]),
        ("sdxl", {"width": 1000, "height": 1000}, ["1000 px: .* multiples of 32"]),
        ("sdxl", {"width": 1000, "height": 1016}, ["1000 and 1016 px: .* multiples of 32"]),
        ("sd15", {"width": 544, "height": 512}, ["544 px: .* multiples of 64"]),
        ("sd15", {"width": 128, "height": 128}, ["made for 512×512 px, draws fragments at 128×128: take 256 px"]),
        ("sd15", {"width": 768, "height": 512}, []),
        ("sdxl", {"width": 832, "height": 1216}, []),
        ("sdxl", {"guidance": 0.0}, ["guidance 0 is none: negative prompts are not read"]),
        ("sd15", {"guidance": 1.0}, ["guidance 1 is none"]),
        ("sd15", {"guidance": 0.5}, ["guidance 0.5 is none"]),
        ("sd15", {"guidance": 30.0}, ["guidance 30 burns colours out"]),
        ("sd15", {"guidance": 0.0, "width": 64}, ["draws fragments at 64×512", "guidance 0 is none"]),
        ("embedded", {"width": 24}, ["made for 64×64 px, draws fragments at 24×64", "24 px: .* multiples of 16"]),
        ("sd15", {"model": "nobody/knows-this", "guidance": 0.0}, []),
        ("sd15", {"model": "no.such.generator:x", "guidance": 0.0}, []),
    ],
)
def test_what_a_model_was_not_made_for_is_said(profile: str, changes: dict[str, Any], said: list[str]) -> None:
    import re

    given = recipe.load("pick-safety", []).profile(profile).model_copy(update=changes)
    found = hints(given)
    assert len(found) == len(said)
    for hint, expected in zip(found, said, strict=True):
        assert hint.startswith(f"{given.model}: ") and re.search(expected, hint), hint


def test_each_model_of_a_profile_is_looked_at() -> None:
    given = recipe.load("open-preferences", [])
    name = next(name for name, profile in given.profiles.items() if profile.other_models)
    profile = given.profile(name).model_copy(update={"width": 128})
    assert len(hints(profile)) == 1 + len(profile.other_models)
