"""Where weights are looked for, and what is said of those that are not there."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest

from datagen.errors import ModelError
from datagen.weights import published
from datagen.weights.published import File, Folder

ONE = File("light", "the lamp works", "light.pth", "0123abcd")
ALL = Folder("light", "lamps/light")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DATAGEN_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda repo, file: None)
    (tmp_path / "weights" / "light").mkdir(parents=True)
    return tmp_path / "weights" / "light"


def test_the_root_is_the_users_or_where_systems_keep_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAGEN_WEIGHTS", "~/lamps")
    assert published.root() == Path("~/lamps").expanduser()
    monkeypatch.delenv("DATAGEN_WEIGHTS")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert published.root() == Path("/data/datagen/weights")
    monkeypatch.setenv("XDG_DATA_HOME", "")
    assert published.root() == Path.home() / ".local/share/datagen/weights"


@pytest.mark.parametrize("name", ["light.pth", "weights.safetensors", "weights.npz"])
def test_a_file_is_found_by_its_path_its_folder_and_at_its_place(name: str, place: Path) -> None:
    (place / name).touch()
    assert ONE.find("") == ONE.find(str(place)) == ONE.find(str(place / name)) == place / name


def test_a_file_of_any_name_is_taken_where_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "mine.pth").touch()
    assert ONE.find(str(tmp_path / "mine.pth")) == tmp_path / "mine.pth"


def test_a_folder_is_found_by_its_path_at_its_place_and_in_the_hubs_cache(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda repo, file: str(tmp_path / repo / file))
    assert ALL.find("") == tmp_path / "lamps/light"
    (place / "config.json").touch()
    assert ALL.find("") == ALL.find(str(place)) == place
    (place / "inside").mkdir()
    (place / "inside" / "config.json").touch()
    assert Folder("light", "lamps/light", under="inside").find("") == place / "inside"


@pytest.mark.parametrize("wanted", [ONE, ALL])
@pytest.mark.parametrize("given", ["", "nowhere", "/", "~/nowhere", "empty file", "a" * 200, "\t", "owner/name"])
def test_what_is_missing_is_said_in_one_line_with_what_to_do(
    wanted: File | Folder, given: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if isinstance(wanted, Folder):
        (tmp_path / "empty file").touch()
    with pytest.raises(ModelError, match="the judge light needs .* or give its place with judges.light.weights") as it:
        wanted.find(given)
    assert str(place) in str(it.value) and "\n" not in str(it.value)


def test_the_hash_of_a_file_is_told_where_it_is_known() -> None:
    with pytest.raises(ModelError, match=r"needs light.pth \(its SHA-256 begins with 0123abcd\) of the lamp works"):
        ONE.find("")
    with pytest.raises(ModelError, match="needs light.pth of the lamp works"):
        File("light", "the lamp works", "light.pth").find("")
