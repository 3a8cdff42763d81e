import random
from types import SimpleNamespace

import numpy as np
import pytest

from datagen import judges
from datagen.errors import ModelError
from datagen.world import grammar, render

CHOICE = SimpleNamespace(clip_model="embedded")
STATED = {"occupation": "chef", "place": "beach", "style": "pixel", "hazard": "none", "coat": "violet"}


def scene() -> grammar.Scene:
    return grammar.sample_scene(random.Random(0), STATED)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("a chef on a beach", 1.0),
        ("a chef in a park", 0.5),
        ("pixel art of a wizard in the ruins", 1 / 3),
        ("a wizard covered in splatter", 0.0),
    ],
)
def test_the_share_of_what_the_text_states(text: str, share: float) -> None:
    assert judges.load("world", CHOICE).score([render.render(scene())], [text]) == pytest.approx([share])


def test_it_abstains_on_texts_about_other_things() -> None:
    scores = judges.load("world", CHOICE).score([render.render(scene())] * 2, ["an oil painting of a fish", "a chef"])
    assert np.isnan(scores[0]) and scores[1] == 1.0


def test_a_picture_given_for_several_texts_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from datagen.world import reader

    seen: list[int] = []
    read = reader.read
    monkeypatch.setattr(reader, "read", lambda images: (seen.append(len(images)), read(images))[1])
    image = render.render(scene())
    judges.load("world", CHOICE).score([image] * 3, ["a chef", "a wizard", "a farmer"])
    assert seen == [1]


def test_the_folder_is_the_registry() -> None:
    assert judges.names() == ["clip", "world"]
    for name in judges.names():
        module = judges.module(name)
        assert module.VERSION and module.__doc__
        assert judges.scale(name, CHOICE) > 0
        assert isinstance(judges.is_absolute(name), bool)


def test_an_unknown_judge_is_told_with_the_nearest_name() -> None:
    with pytest.raises(ModelError, match=r"no judge is called 'wrld'; did you mean 'world'\? known: clip, world"):
        judges.load("wrld", CHOICE)
