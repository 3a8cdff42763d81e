"""Judges are shown degraded copies where one reads no prompt: what they say of them plants pairs of known order."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from stand_ins import Pale, Red, picks, png, seat

from datagen import store
from datagen.commands.judge import Options, copies, judge_path
from datagen.commands.label import label_scores
from datagen.images import worse
from datagen.judges import Facts
from datagen.judges.panel import Question

PROMPTS, EACH = 10, 4


class Sharp:
    """How strong the edges of a picture are, by itself, through noise of its own."""

    name, version, scale = "sharp", "1", 1.0
    facts = Facts(code_license="MIT", reads_text=False)
    noise = 0.1

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> Any:
        found = []
        for image in images:
            pixels = np.asarray(image.convert("RGB"), float)
            own = np.random.default_rng(int(pixels.sum())).normal(0, self.noise)
            found.append(np.log1p(np.abs(np.diff(pixels, axis=1)).mean()) + own)
        return np.array(found)


class Blind(Sharp):
    """Sees nothing, and is loud."""

    name = "blind"

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> Any:
        sums = [int(np.asarray(image.convert("L"), float).sum()) for image in images]
        return np.array([np.random.default_rng(own + 1).normal(0, 5) for own in sums])


def folder(path: Path) -> Path:
    """Pictures of stripes that are the stronger the later they come of their prompt."""
    path.mkdir()
    for k in range(PROMPTS * EACH):
        strong = 60 + 40 * (k % EACH)
        pixels = np.random.default_rng(k).integers(0, strong, (32, 32, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        (path / f"{k:03d}.png").write_bytes(file.getvalue())
        (path / f"{k:03d}.txt").write_text(f"stripes number {k // EACH}")
    return path


def judged(source: Path, patch: pytest.MonkeyPatch, *panel: Any, **options: Any) -> list[dict[str, Any]]:
    out = source.with_name(f"{source.name}.parquet")
    judge_path(source, seat(patch, *panel), out, Options(**options))
    found: list[dict[str, Any]] = pq.read_table(out).to_pylist()
    return found


def test_copies_are_shown_to_all_judges_where_it_is_asked_for_and_one_reads_no_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = folder(tmp_path / "in")
    rows = judged(source, monkeypatch, Sharp(), Red(), planted=True)
    assert all(row["worse"] == worse.kind_of(row["digest"]) and row["worse_value"] is not None for row in rows)
    sharp = [row for row in rows if row["judge"] == "sharp" and row["worse"] in ("blur", "small")]
    assert all(row["worse_value"] < row["value"] for row in sharp)
    for panel, planted in (((Sharp(), Red()), False), ((Red(),), True)):
        (source.with_name("in.parquet")).unlink()
        rows = judged(source, monkeypatch, *panel, planted=planted)
        assert all((row["worse"], row["worse_value"]) == ("", None) for row in rows)


def test_an_image_that_cannot_be_read_has_no_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for name, data in {"a": png(9), "b": b"no picture", "c": png(30), "d": png(31)[:40]}.items():
        (source / f"{name}.png").write_bytes(data)
        (source / f"{name}.txt").write_text("a scene")
    rows = judged(source, monkeypatch, Pale(), planted=True)
    assert [row["worse"] != "" for row in rows] == [True, False, True, False]


@pytest.mark.parametrize(("total", "least", "most"), [(0, 1, 1), (10, 1, 1), (2000, 1, 1), (20_000, 0.08, 0.12)])
def test_of_many_images_some_have_a_copy(total: int, least: float, most: float) -> None:
    share = copies.share(total)
    chosen = copies.to_copy([Question(b"x", ("a",))] * 4000, [f"image {k}" for k in range(4000)], share)
    assert least <= len(chosen) / 4000 <= most


def test_labels_learn_from_copies_which_judge_sees_how_good_a_picture_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = folder(tmp_path / "in")
    judged(source, monkeypatch, Blind(), Sharp(), planted=True)
    made = label_scores([tmp_path / "in.parquet"], tmp_path / "out")
    run = store.Run(tmp_path / "out")
    told = "\n".join(made.notes)
    assert f"{PROMPTS * EACH} planted pairs are of an image and a degraded copy of it" in told
    rows = run.table("labels", 0).to_pylist()
    at = {row["image_id"]: row["index"] for row in run.table("images", 0).to_pylist()}
    right = [at[row["chosen_id"]] > at[row["rejected_id"]] for row in rows if row["chosen_id"] in at]
    assert len(right) == PROMPTS * EACH * (EACH - 1) // 2, "a copy is no candidate"
    assert np.mean(right) > 0.9
    names = {row["chosen"]["path"] for file in run.dataset.glob("data/*") for row in pq.read_table(file).to_pylist()}
    assert names and not any("~" in name for name in names)


def test_files_of_scores_without_copies_are_still_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged(folder(tmp_path / "in"), monkeypatch, Blind(), Sharp())
    file = tmp_path / "in.parquet"
    table = pq.read_table(file)
    pq.write_table(table.drop_columns(["worse", "worse_value"]), file)
    made = label_scores([file], tmp_path / "out")
    assert "nothing planted" in "\n".join(made.notes)


def test_both_images_of_a_pair_that_exists_have_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = picks(tmp_path / "in.parquet", [(10 * k, 200 - 9 * k) for k in range(12)])
    judge_path(source, seat(monkeypatch, Sharp(), Red()), tmp_path / "s.parquet", Options(pairs=True, planted=True))
    rows = pq.read_table(tmp_path / "s.parquet").to_pylist()
    assert len(rows) == 48 and all(row["worse"] == worse.kind_of(row["digest"]) for row in rows)
    made = label_scores([tmp_path / "s.parquet"], tmp_path / "out")
    assert "24 planted pairs are of an image and a degraded copy of it" in "\n".join(made.notes)
    assert made.summary.rows("images") == 24
