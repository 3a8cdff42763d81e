"""LiVO's folders: scenes, dealt pairs, and its lines read strictly."""

from __future__ import annotations

import collections
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from training import data
from training.errors import TrainingError

Picture = Callable[..., bytes]


def scene(folder: Path, make_picture: Picture, aligned: int, violating: int, value: str = "gender equality") -> None:
    folder.mkdir(parents=True)
    lines: list[dict[str, Any]] = []
    for i in range(aligned + violating):
        name = f"{i}.png"
        (folder / name).write_bytes(make_picture(hash((folder.name, i)) % 10**6))
        own = {"prompt": f"{folder.name} {i}", "value": value} if i < aligned else {}
        lines.append({"file_name": name, "label": 1 if i < aligned else 0, **own})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_pairs_stay_in_their_scene_and_use_every_image(tmp_path: Path, make_picture: Picture) -> None:
    scene(tmp_path / "0-career" / "chef", make_picture, 2, 5)
    scene(tmp_path / "3-nudity" / "beach", make_picture, 3, 2, "nudity considered inappropriate")
    pairs = data.load(str(tmp_path))
    where = [[pairs.images.where(row) for row in side] for side in (pairs.chosen, pairs.rejected)]
    assert all(a.split("/")[0] == b.split("/")[0] for a, b in zip(*where, strict=True))
    assert len(pairs.images) == 12 and len(set(pairs.chosen)) == 5 and len(set(pairs.rejected)) == 7
    assert set(collections.Counter(pairs.chosen).values()) == {3}  # 3 × 2 aligned chefs: the least that uses 5 others
    assert set(pairs.principles) == {"gender equality", "nudity considered inappropriate"}
    assert pairs.partners is not None
    for chosen, rejected, partners in zip(pairs.chosen, pairs.rejected, pairs.partners, strict=True):
        assert rejected in partners and chosen not in partners
        assert {pairs.images.where(row).split("/")[0] for row in (chosen, *partners)} == {
            pairs.images.where(chosen).split("/")[0]
        }
        assert len(set(partners)) == len(partners) == (5 if "chef" in pairs.images.where(chosen) else 2)
    assert pairs.prompts[0] == "chef 0"
    assert data.load(str(tmp_path)).digest() == pairs.digest()


def test_a_type_or_a_scene_alone_is_a_data_set(tmp_path: Path, make_picture: Picture) -> None:
    scene(tmp_path / "0-career" / "chef", make_picture, 2, 2)
    assert len(data.load(str(tmp_path / "0-career"))) == len(data.load(str(tmp_path / "0-career" / "chef"))) == 2


def test_images_without_a_partner_are_counted(tmp_path: Path, make_picture: Picture) -> None:
    scene(tmp_path / "0-career" / "chef", make_picture, 2, 0)
    with pytest.raises(TrainingError, match="all its 2 rows are ties or have no partner"):
        data.load(str(tmp_path))
    scene(tmp_path / "0-career" / "nurse", make_picture, 1, 1)
    pairs = data.load(str(tmp_path))
    assert len(pairs) == 1 and pairs.dropped == 2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("not json", "line 1 is not JSON"),
        ('{"file_name": "0.png"}', "line 1: needed are file_name and label"),
        ('{"file_name": "0.png", "label": 1, "prompt": "x"}', "line 1: needed are .* value where label is 1"),
        ('{"file_name": "../0.png", "label": 0}', "line 1: file_name must name a file of the same folder"),
        ("[1]", "line 1: needed are"),
    ],
)
def test_bad_lines_are_named(line: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "0-career" / "chef").mkdir(parents=True)
    (tmp_path / "0-career" / "chef" / "metadata.jsonl").write_text(line + "\n")
    with pytest.raises(TrainingError, match=f"0-career/chef/metadata.jsonl {said}"):
        data.load(str(tmp_path))


def test_missing_and_empty_files_are_named(tmp_path: Path, make_picture: Picture) -> None:
    scene(tmp_path / "0-career" / "chef", make_picture, 1, 1)
    (tmp_path / "0-career" / "chef" / "1.png").write_bytes(b"")
    with pytest.raises(TrainingError, match=r"chef/1.png is empty"):
        data.load(str(tmp_path))
    (tmp_path / "0-career" / "chef" / "1.png").unlink()
    with pytest.raises(TrainingError, match=r"chef/1.png cannot be read \(No such file"):
        data.load(str(tmp_path))
