"""Embedding judges are asked about a prompt of another image as well, and scores say where their images are."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from stand_ins import Head, Network, Red, png, seat

from datagen.commands.judge import Options, judge_path, origin
from datagen.commands.judge.others import with_others
from datagen.commands.judge.rows import usable
from datagen.tables.items import Item

PROMPTS = ["a red cat", "a red cat", "two boats at sea", "a red cat", "a red cat on a mat", "two boats at sea"]


def others(prompts: list[str | None]) -> list[str | None]:
    return [item.other for item in with_others((Item(str(k), None, p) for k, p in enumerate(prompts)), usable)]


def test_each_prompt_has_one_other_which_says_least_of_the_same() -> None:
    assert others(list(PROMPTS)) == [
        None, None, "a red cat", "two boats at sea", "two boats at sea", "a red cat",
    ]  # fmt: skip


@pytest.mark.parametrize("prompts", [["one"] * 3, ["A cat.", "a CAT", "a, cat!"], [None, None], [], ["猫", "猫 "]])
def test_where_all_say_the_same_there_is_no_other(prompts: list[str | None]) -> None:
    assert others(prompts) == [None] * len(prompts)


def test_what_is_refused_is_asked_about_by_nobody() -> None:
    assert others(["a naked child", "a red cat", "two boats", "a naked child"]) == [None, None, "a red cat", None]


def folder(path: Path) -> Path:
    path.mkdir()
    for k, prompt in enumerate(PROMPTS):
        (path / f"{k}.png").write_bytes(png(10 * k + 1))
        (path / f"{k}.txt").write_text(prompt)
    return path


def read(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return found


@pytest.mark.parametrize("planted", [False, True])
def test_those_that_read_embeddings_answer_for_another_prompt_and_others_where_it_is_asked_for(
    planted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network()
    choices = seat(monkeypatch, Head("head", network), Red())
    judge_path(folder(tmp_path / "in"), choices, tmp_path / "x.parquet", Options(planted=planted))
    rows = read(tmp_path / "x.parquet")
    head = [row for row in rows if row["judge"] == "head"]
    for row, asked in zip(head, others(list(PROMPTS)), strict=True):
        red = row["value"] - 0.0  # the product with (length, 1, 0) of the text
        assert (row["other"] or None) == asked
        if asked is None:
            assert row["other_value"] is None
        else:
            assert row["other_value"] == pytest.approx(red * len(asked) / len(row["prompt"]), rel=1e-5)
    assert network.asked == len(PROMPTS), "another text is no other look"
    by_red = [row["other_value"] for row in rows if row["judge"] == "red"]
    assert by_red == ([None, None, 21.0, 31.0, 41.0, 51.0] if planted else [None] * 6)


def test_scores_hold_each_images_digest_and_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = folder(tmp_path / "in")
    (source / "5.png").write_bytes(b"junk")
    monkeypatch.chdir(tmp_path)
    judge_path(Path("in"), seat(monkeypatch, Red()), tmp_path / "x.parquet")
    rows = read(tmp_path / "x.parquet")
    assert [row["digest"] for row in rows] == [
        hashlib.sha256((source / f"{k}.png").read_bytes()).hexdigest()[:16] for k in range(6)
    ]
    found = origin.of_metadata(pq.read_schema(tmp_path / "x.parquet").metadata)
    assert found is not None and Path(found.input) == source and not found.pairs and found.slots == 1
    assert found.judges == [{"judge": "red", "name": "red", "options": {}}]


def test_the_same_is_written_wherever_a_call_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for k in range(300):
        (source / f"{k:03d}.png").write_bytes(png(k % 200 + 1, k // 200))
        (source / f"{k:03d}.txt").write_text(f"{'dog' if k % 3 else 'cat'} of number {k % 7}")
    network = Network()
    choices = seat(monkeypatch, Head("head", network))
    judge_path(source, choices, tmp_path / "whole.parquet")

    made, count = network.images, 0

    def stop(pixels: Any) -> Any:
        nonlocal count
        count += len(pixels)
        if count > 280:
            raise KeyboardInterrupt
        return made(pixels)

    network.images = stop  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        judge_path(source, choices, tmp_path / "cut.parquet")
    network.images = made  # type: ignore[method-assign]
    judge_path(source, choices, tmp_path / "cut.parquet")
    assert read(tmp_path / "cut.parquet") == read(tmp_path / "whole.parquet")
