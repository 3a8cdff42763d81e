"""Judges that compare are asked about both images of a pair in both orders; what cannot be compared says why."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stand_ins import Duel, Parts, Red, picks, png, seat

from datagen import judges, records
from datagen.commands.judge import Judged, Options, judge_path, shards
from datagen.errors import InputError, ModelError
from datagen.judges import panel
from datagen.judges.panel import inputs

PAIRS = Options(pairs=True)
REDS = [(200, 100), (10, 250), (30, 30)]


def rows(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return found


def said(path: Path) -> list[tuple[str, str, float | None]]:
    return [(row["path"].rpartition("/")[2], row["opponent"].rpartition("/")[2], row["value"]) for row in rows(path)]


def test_each_pair_is_compared_in_both_orders_after_both_images_are_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = seat(monkeypatch, Red(), Duel(lambda a, b: 0.9 if a > b else 0.2))
    out = tmp_path / "x.parquet"
    summary = judge_path(picks(tmp_path / "p.parquet", REDS, ranking_id=[5, 6, 7]), choices, out, PAIRS)
    assert (summary.images, summary.scored, summary.errors) == (6, 12, 0)
    assert said(out)[:4] == [
        ("jpg_0", "", 200.0),
        ("jpg_1", "", 100.0),
        ("jpg_0", "jpg_1", 0.9),
        ("jpg_1", "jpg_0", 0.2),
    ]
    assert said(out)[6:8] == [("jpg_0", "jpg_1", 0.2), ("jpg_1", "jpg_0", 0.9)]
    assert [row["ranking_id"] for row in rows(out)] == [id_ for id_ in "567" for _ in range(4)]
    assert rows(out)[3]["opponent"] == "p.parquet#0/jpg_0"
    assert pq.read_table(out).schema.names == [*records.schema(Judged).names, "ranking_id"]
    duel = summary.tallies[1]
    assert (duel.judge, duel.beats, duel.count, duel.mean) == ("duel", True, 6, pytest.approx((2.2 + 0.4) / 6))


def test_a_judge_that_compares_only_is_asked_with_pairs_and_refused_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = seat(monkeypatch, Duel())
    given, out = picks(tmp_path / "p.parquet", REDS), tmp_path / "x.parquet"
    with pytest.raises(ModelError, match="the judge duel compares two images and scores none by itself: .* --pairs"):
        judge_path(given, choices, out)
    assert not out.exists()
    judge_path(given, choices, out, PAIRS)
    assert [value for _, _, value in said(out)] == [1.0, 0.0, 0.0, 1.0, 0.0, 0.0]
    pq.write_table(pa.table({"image": [png(1)], "prompt": ["x"]}), tmp_path / "single.parquet")
    with pytest.raises(InputError, match="has no two columns of images that are known"):
        judge_path(tmp_path / "single.parquet", choices, out, PAIRS)


@pytest.mark.parametrize("scores", [True, False])
def test_of_a_pair_with_an_image_that_cannot_be_read_both_rows_say_why(
    scores: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = seat(monkeypatch, *([Red()] if scores else []), Duel())
    out = tmp_path / "x.parquet"
    summary = judge_path(picks(tmp_path / "p.parquet", [(1, 2), (3, -1), (-1, -1), (5, 4)]), choices, out, PAIRS)
    compared = [row for row in rows(out) if row["opponent"]]
    errors = [row["error"] for row in compared]
    assert errors[:2] == errors[6:] == [None, None]
    assert errors[2].startswith("compared with an image that cannot be judged: the image cannot be decoded")
    assert all(error.startswith("the image cannot be decoded") for error in errors[3:6])
    assert all((row["value"] is None) == (row["error"] is not None) for row in compared)
    why = "compared with an image that cannot be judged"
    assert summary.errors == (3 if scores else 4)
    assert summary.reasons == {
        "the image cannot be decoded": 3,
        f"the judge duel: {why}" if scores else why: 1,
    }


def test_what_a_judge_could_not_read_and_what_it_abstained_from_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([judges.Failed("unreadable: perhaps"), 0.3, float("nan"), 0.4])
    choices = seat(monkeypatch, Duel(lambda a, b: next(answers)))
    summary = judge_path(picks(tmp_path / "p.parquet", REDS[:2]), choices, tmp_path / "x.parquet", PAIRS)
    found = rows(tmp_path / "x.parquet")
    assert [row["value"] for row in found] == [None, None, 0.3, 0.4]
    assert [row["error"] for row in found] == ["unreadable: perhaps", None, None, None]
    assert summary.reasons == {"unreadable": 1, "the judge duel abstained": 1}


def test_a_refused_prompt_is_compared_by_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choices = seat(monkeypatch, Red(), Duel(lambda a, b: pytest.fail("asked")))
    given = picks(tmp_path / "p.parquet", REDS[:1], caption=["a nude child"])
    judge_path(given, choices, tmp_path / "x.parquet", PAIRS)
    found = rows(tmp_path / "x.parquet")
    assert len(found) == 4 and all(row["error"].startswith("refused: ") and row["prompt"] == "" for row in found)


def test_several_scores_an_image_stand_before_what_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge_path(picks(tmp_path / "p.parquet", [(9, 4)]), seat(monkeypatch, Parts(), Duel()), tmp_path / "x", PAIRS)
    found = [(row["judge"], row["category"], row["value"]) for row in rows(tmp_path / "x")]
    assert found == [
        ("parts", "red", 9.0), ("parts", "green", 0.0), ("parts", "red", 4.0), ("parts", "green", 0.0),
        ("duel", "", 1.0), ("duel", "", 0.0),
    ]  # fmt: skip


def test_images_of_both_orders_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []
    decode = inputs.decode
    monkeypatch.setattr(inputs, "decode", lambda data, *how: asked.append(data) or decode(data, *how))
    judge_path(picks(tmp_path / "p.parquet", REDS[:2]), seat(monkeypatch, Red(), Duel()), tmp_path / "x", PAIRS)
    assert sorted(asked) == sorted(png(red) for pair in REDS[:2] for red in pair)


FORMS = ["ours", "CSV", "JSON Lines", "archive", "metadata"]


@pytest.mark.parametrize("form", FORMS)
def test_pairs_of_every_form_are_compared(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    for red in (7, 9):
        (folder / f"{red}.png").write_bytes(png(red))
    line = {"chosen": "7.png", "rejected": "9.png", "prompt": "x"}
    given = folder
    match form:
        case "ours":
            given = folder / "t.parquet"
            table = {"chosen": [{"bytes": png(7), "path": "a"}], "rejected": [{"bytes": png(9), "path": "b"}]}
            pq.write_table(pa.table(table | {"prompt": ["x"]}), given)
        case "CSV":
            given = folder / "t.csv"
            with given.open("w", newline="") as file:
                csv.writer(file).writerows([line.keys(), line.values()])
        case "JSON Lines":
            given = folder / "t.jsonl"
            given.write_text(json.dumps(line))
        case "archive":
            given = folder / "t.tar"
            with tarfile.open(given, "w") as tar:
                for name, content in (("a.chosen.png", png(7)), ("a.rejected.png", png(9)), ("a.txt", b"x")):
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
        case "metadata":
            names = {"chosen_file_name": "7.png", "rejected_file_name": "9.png", "prompt": "x"}
            (folder / "metadata.jsonl").write_text(json.dumps(names))
    judge_path(given, seat(monkeypatch, Red(), Duel()), tmp_path / "x.parquet", PAIRS)
    assert [value for _, _, value in said(tmp_path / "x.parquet")] == [7.0, 9.0, 0.0, 1.0]


def test_what_was_compared_when_it_was_interrupted_is_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD", panel.CHUNK)
    given = picks(tmp_path / "p.parquet", [(k % 250, k % 7) for k in range(50)], ranking_id=range(50))
    judge_path(given, seat(monkeypatch, Red(), Duel()), tmp_path / "whole.parquet", PAIRS)
    asked: list[int] = []

    class Mortal(Duel):
        dies = 2

        def compare(self, first: Sequence[Any], second: Sequence[Any], prompts: Sequence[str]) -> list[Any]:
            asked.append(len(first))
            if len(asked) == self.dies:
                raise KeyboardInterrupt
            return super().compare(first, second, prompts)

    choices = seat(monkeypatch, Red(), Mortal())
    with pytest.raises(KeyboardInterrupt):
        judge_path(given, choices, tmp_path / "x.parquet", PAIRS)
    told: list[str] = []
    judge_path(given, choices, tmp_path / "x.parquet", PAIRS, say=told.append)
    assert asked == [32, 32, 32, 32, 4]  # pairs in both orders, 16 at a time
    assert "32 of 100 images were judged before" in told
    assert (tmp_path / "x.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
