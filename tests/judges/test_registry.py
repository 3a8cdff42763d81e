from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from datagen import judges
from datagen.errors import ModelError

CHOICE: Any = SimpleNamespace(clip_model="embedded")


def test_the_folder_is_the_registry() -> None:
    files = {path.stem for path in Path(judges.__file__).parent.glob("*.py")} - {"__init__"}
    assert judges.names() == sorted(files)
    assert {"clip", "world"} <= files


@pytest.mark.parametrize("name", judges.names())
def test_every_judge_says_its_version_and_scale_without_its_model(name: str) -> None:
    assert judges.module(name).VERSION
    assert judges.scale(name, CHOICE) > 0
    assert isinstance(judges.is_absolute(name), bool)


@pytest.mark.parametrize(("given", "near"), [("wrold", "world"), ("clop", "clip"), ("World", "world")])
def test_an_unknown_judge_is_answered_with_the_nearest_name(given: str, near: str) -> None:
    for ask in (judges.module, judges.is_absolute, lambda name: judges.scale(name, CHOICE)):
        with pytest.raises(ModelError, match=f"no judge is called '{given}'; did you mean '{near}'"):
            ask(given)


@pytest.mark.parametrize("name", ["", "..", "__init__", "os.path", "clip.py"])
def test_nothing_but_a_file_of_the_folder_is_a_judge(name: str) -> None:
    with pytest.raises(ModelError, match="known: clip, world"):
        judges.load(name, CHOICE)


def test_a_picture_given_twice_is_one_picture_but_equal_pictures_are_two() -> None:
    one, other = Image.new("RGB", (2, 2)), Image.new("RGB", (2, 2))
    unique, places = judges.distinct([one, other, one, one, other])
    assert unique[0] is one and unique[1] is other and len(unique) == 2
    assert places == [0, 1, 0, 0, 1]
    assert judges.distinct([]) == ([], [])
