"""The folder of judges as a registry: what is found, made with its options, and refused before anything is asked."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from datagen import judges
from datagen.errors import ModelError
from datagen.judges import JUDGES, panel
from datagen.recipe import JudgeChoice

WHOLE = '''
"""How light a picture is."""

import numpy as np
from pydantic import Field

from datagen import judges


class Options(judges.Options):
    gain: float = Field(default=1.0, gt=0)


class Judge:
    name = "light"
    version = "1"
    scale = 0.1
    facts = judges.Facts(code_license="MIT")

    def __init__(self, options):
        self.gain = options.gain

    def score(self, images, prompts):
        return np.array([self.gain * np.asarray(image).mean() for image in images])
'''


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder on the import path, and no judge of an earlier test."""
    monkeypatch.syspath_prepend(str(tmp_path))
    judges._load_once.cache_clear()
    yield
    judges._load_once.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "mine"]:
        del sys.modules[name]


def outside(tmp_path: Path, source: str = WHOLE) -> str:
    """A judge that lies elsewhere, by its dotted name."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").touch()
    (tmp_path / "mine" / "judge.py").write_text(source)
    return "mine.judge"


def test_the_folder_is_the_registry() -> None:
    files = {path.stem for path in Path(judges.__file__).parent.glob("*.py")} - {"__init__", *judges.NOT_JUDGES}
    assert JUDGES.names() == sorted(files)
    assert {"clip", "world"} <= files


@pytest.mark.parametrize("name", JUDGES.names())
def test_every_judge_says_its_scale_without_its_model_or_what_it_needs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAGEN_WEIGHTS", str(tmp_path))
    try:
        judge = judges.load(name, {})
    except ModelError as error:
        assert f"the judge {name} needs " in str(error) and str(tmp_path / name) in str(error)
        assert "\n" not in str(error)
        return
    assert judge.name == name and judge.version
    assert judge.scale > 0
    assert judge.facts.code_license


@pytest.mark.parametrize(("given", "near"), [("wrold", "world"), ("clop", "clip"), ("World", "world")])
def test_an_unknown_judge_is_answered_with_the_nearest_name(given: str, near: str) -> None:
    with pytest.raises(ModelError, match=f"no judge is called '{given}'; did you mean '{near}'"):
        judges.load(given, {})


@pytest.mark.parametrize(
    "name", ["", "..", "__init__", "panel", "protocol", "vectors", "backbones", "os.path", "clip.py"]
)
def test_nothing_but_a_judge_is_a_judge(name: str) -> None:
    with pytest.raises(ModelError, match="known: .*clip, "):
        judges.load(name, {})


def test_a_module_from_elsewhere_is_a_judge_by_its_dotted_name_and_is_made_once_for_equal_options(
    tmp_path: Path,
) -> None:
    name = outside(tmp_path)
    judge = judges.load(name, {"gain": 2})
    assert judge.score([Image.new("RGB", (2, 2), "white")], ["a chef"]).tolist() == [510.0]
    assert judges.load(name, {"gain": 2}) is judge
    assert judges.load(name, {}) is not judge


def test_what_a_package_announces_is_a_judge_by_that_name_and_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = importlib.metadata.EntryPoint("light", outside(tmp_path), "datagen.judges")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [entry] if group == entry.group else [])
    assert judges.load("light", {"gain": 3}).name == "light"
    assert {"clip", "light", "world"} <= set(JUDGES.names())
    assert dict(JUDGES.described())["light"] == "the module mine.judge"
    with pytest.raises(ModelError, match="did you mean 'light'"):
        judges.load("lihgt", {})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"gian": 2}, "unknown option 'gian': did you mean 'gain'"),
        ({"gain": "much"}, "option gain is 'much': it should be a valid number"),
        ({"gain": -1}, "option gain is -1: it should be greater than 0"),
    ],
)
def test_an_option_that_cannot_be_used_is_one_line(options: dict[str, object], says: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="^the judge mine.judge: [^\n]*$") as caught:
        judges.load(outside(tmp_path), options)
    assert says in str(caught.value)


def test_options_of_a_judge_without_any_are_refused() -> None:
    with pytest.raises(ModelError, match="the judge world has no options, but model was given"):
        judges.load("world", {"model": "embedded"})


FAULTS: dict[str, tuple[str, str, str]] = {
    "no class": ("class Judge:", "class Jugde:", "mine.judge is not a judge: it has no class Judge; "),
    "no scale": ("    scale = 0.1\n", "", "it has no scale (log-odds of a label per unit of score, positive)"),
    "scale of words": ("scale = 0.1", "scale = 'steep'", "it has 'steep' as scale"),
    "scale of nothing": ("scale = 0.1", "scale = 0", "it has 0 as scale"),
    "no facts": ('    facts = judges.Facts(code_license="MIT")\n', "", "it has no facts (a judges.Facts)"),
    "facts in words": ('judges.Facts(code_license="MIT")', "'MIT'", "it has 'MIT' as facts"),
    "no version": ('    version = "1"\n', "", "it has no version (raised"),
    "version as a number": ('version = "1"', "version = 1", "it has 1 as version"),
    "no name": ('    name = "light"\n', "", "it has no name"),
    "no score": ("def score", "def scores", "it has none of score, compare, answer"),
    "score of images alone": ("images, prompts", "images", "its score takes other arguments"),
    "options of one's own kind": ("(judges.Options)", "", "its Options must be a class made from judges.Options"),
    "a file that is not Python": ("import numpy", "imoprt numpy", "cannot be loaded: SyntaxError"),
    "a library that is not here": ("import numpy as np", "import nowhere", "cannot be loaded: ModuleNotFoundError"),
    "a judge that cannot be made": ("options.gain", "options.gian", "cannot be loaded: AttributeError"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_missing_or_wrong_in_a_file_is_one_line_when_the_judge_is_made(fault: str, tmp_path: Path) -> None:
    before, after, says = FAULTS[fault]
    assert before in WHOLE
    with pytest.raises(ModelError, match="^[^\n]*$") as caught:
        judges.load(outside(tmp_path, WHOLE.replace(before, after)), {})
    assert says in str(caught.value) and len(str(caught.value)) < 400


def test_a_judge_bears_the_name_of_its_file_and_two_of_one_name_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = outside(tmp_path, WHOLE.replace('"light"', '"world"'))
    with pytest.raises(ModelError, match=r"world and mine.judge are both called 'world': leave one out"):
        panel.load([JudgeChoice(name="world"), JudgeChoice(name=name)])
    entry = importlib.metadata.EntryPoint("dark", name, "datagen.judges")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [entry] if group == entry.group else [])
    with pytest.raises(ModelError, match="the judge dark calls itself 'world'"):
        judges.load("dark", {})


def test_a_picture_given_twice_is_one_picture_but_equal_pictures_are_two() -> None:
    one, other = Image.new("RGB", (2, 2)), Image.new("RGB", (2, 2))
    unique, places = judges.distinct([one, other, one, one, other])
    assert unique[0] is one and unique[1] is other and len(unique) == 2
    assert places == [0, 1, 0, 0, 1]
    assert judges.distinct([]) == ([], [])
