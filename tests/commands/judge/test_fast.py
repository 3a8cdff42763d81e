"""`fast` decodes JPEGs at a part of their size, and every row says that it did."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from stand_ins import Red, seat

from datagen import judges
from datagen.commands.judge import Options, judge_path
from datagen.judges import views


class Small:
    """The mean of a small view."""

    name, version, scale = "small", "1", 1.0
    facts = judges.Facts(code_license="MIT", reads_text=False)
    needs = views.squash(32)

    def score(self, images: Sequence[Any], prompts: Sequence[str]) -> Any:
        return np.array([float(pixels[::2, ::2].mean()) for pixels in images])


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / "d").mkdir()
    for k in range(3):
        picture = Image.effect_noise((512, 512), 90).convert("RGB")
        picture.save(tmp_path / "d" / f"{k}.jpg", quality=95)
        picture.save(tmp_path / "d" / f"{k}.png")
    return tmp_path / "d"


def test_scores_are_near_and_marked_and_pngs_are_exact(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices, told = seat(monkeypatch, Small()), list[str]()
    judge_path(pictures, choices, tmp_path / "exact.parquet")
    judge_path(pictures, choices, tmp_path / "fast.parquet", Options(fast=True), say=told.append)
    exact, fast = (pq.read_table(tmp_path / f"{name}.parquet").to_pylist() for name in ("exact", "fast"))
    assert {row["judge_version"] for row in exact} == {"1"} and {row["judge_version"] for row in fast} == {"1:fast"}
    apart = {a["path"]: abs(a["value"] - b["value"]) for a, b in zip(exact, fast, strict=True)}
    assert all(value == 0 for path, value in apart.items() if path.endswith(".png"))
    assert 0 < max(apart.values()) < 3 and not [line for line in told if "--fast" in line]


def test_where_it_changes_nothing_that_is_said(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    choices = seat(monkeypatch, Small(), Red())
    for path in pictures.iterdir():
        if path.suffix in (".jpg", ".png"):
            path.with_suffix(".txt").write_text("x")
    judge_path(pictures, choices, tmp_path / "x.parquet", Options(fast=True), say=told.append)
    assert "note: --fast changes nothing, as some judge looks at whole pictures" in told


def test_an_exact_call_does_not_go_on_with_what_a_fast_one_left(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datagen.commands.judge import call

    choices = seat(monkeypatch, Small())
    settings = [
        call._settings(pictures, choices, options, call._opened(pictures, choices, options, []), [Small()])
        for options in (Options(), Options(fast=True))
    ]
    assert settings[0] != settings[1]
