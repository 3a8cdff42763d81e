"""Labelled pairs: labels in many forms, labels that are no good, and what is found of judges with planted faults."""

from __future__ import annotations

import csv
import random
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stand_ins import Duel, Pale, Red, picks, png, seat

from datagen import cli
from datagen.commands import judge as judging
from datagen.commands.judge import Options, Summary, judge_path
from datagen.errors import InputError, RunError

# The redder one is better in the first, third and fourth; the last is a tie.
REDS = [(9, 1), (8, 2), (1, 7), (6, 3), (4, 5)]
TRUE = [1.0, 0.0, 0.0, 1.0, 0.5]


def judged(given: Path, labels: str, choices: Any, told: list[str] | None = None) -> Summary:
    out = given.parent / "x.parquet"
    say = (lambda line: None) if told is None else told.append
    return judge_path(given, choices, out, Options(pairs=True, labels=labels), say=say)


def table(path: Path, rows: Iterable[Iterable[Any]]) -> str:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return str(path)


COLUMNS: dict[str, tuple[str, dict[str, list[Any]]]] = {
    "Pick-a-Pic": ("label_0", {"label_0": TRUE, "label_1": [1 - p for p in TRUE]}),
    "Pick-a-Pic, the other": ("label_1", {"label_0": TRUE, "label_1": [1 - p for p in TRUE]}),
    "one of two": ("label_1", {"label_1": [1 - p for p in TRUE]}),
    "a probability": ("mine", {"mine": [0.9, 0.2, 0.49, 0.51, 0.5]}),
    "numbers as text": ("mine", {"mine": ["1", "0", "0.0", "1.0", " 0.5 "]}),
    "words": ("mine", {"mine": ["first", "second", "Second", "FIRST", "tie"]}),
    "names of columns": ("mine", {"mine": ["jpg_0", "jpg_1", "jpg_1", "jpg_0", "tie"]}),
}


@pytest.mark.parametrize("form", COLUMNS)
def test_a_column_says_which_image_is_the_better_one(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, columns = COLUMNS[form]
    told: list[str] = []
    given = picks(tmp_path / "p.parquet", REDS, **columns)
    summary = judged(given, labels, seat(monkeypatch, Red(), Duel()), told)
    assert "labels: of 5 pairs jpg_0 is better in 2, jpg_1 in 2, ties 1" in told
    assert summary.trust is not None
    for judge in ("red", "duel"):  # right three times of four
        found = summary.trust.judges[judge]
        assert (found.accuracy.value, found.accuracy.count) == (0.75, 4)
    written = pq.read_table(tmp_path / "x.parquet")["label"].to_pylist()[::4]
    assert [None if p is None else (p > 0.5) - (p < 0.5) for p in written] == [1, -1, -1, 1, 0]


def test_truth_as_booleans_and_rows_that_nobody_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = picks(
        tmp_path / "p.parquet", REDS, mine=[True, True, False, None, True], has_label=[True, True, True, True, False]
    )
    told: list[str] = []
    summary = judged(given, "mine", seat(monkeypatch, Red()), told)
    assert "labels: of 5 pairs jpg_0 is better in 2, jpg_1 in 1, without a label 2" in told
    assert summary.trust is not None and summary.trust.judges["red"].accuracy.value == 1.0


def test_our_own_probability_counts_and_columns_that_say_it_by_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = {"chosen": [png(9), png(1), png(8)], "rejected": [png(1), png(9), png(2)], "prompt": ["a", "b", "c"]}
    pq.write_table(pa.table(pairs | {"probability": [0.9, 0.97, 0.5]}), tmp_path / "ours.parquet")
    for labels, count in (("probability", 2), ("chosen", 3)):
        told: list[str] = []
        summary = judged(tmp_path / "ours.parquet", labels, seat(monkeypatch, Red()), told)
        assert summary.trust is not None
        found = summary.trust.judges["red"].accuracy
        assert (found.count, found.value) == (count, pytest.approx((count - 1) / count))
        assert any(line.startswith("labels: all name the same image of a pair") for line in told)


FILES: dict[str, tuple[list[list[Any]], dict[str, Any]]] = {
    "by id": ([["ranking_id", "label"], *([10 + k, p] for k, p in enumerate(TRUE))], {}),
    "in another order": ([["label", "ranking_id"], *([p, 10 + k] for k, p in reversed(list(enumerate(TRUE))))], {}),
    "with other columns": ([["ranking_id", "who", "label"], *([10 + k, "me", p] for k, p in enumerate(TRUE))], {}),
    "by its only other column": ([["ranking_id", "mine"], *([10 + k, p] for k, p in enumerate(TRUE))], {}),
    "as two labels": ([["ranking_id", "label_0", "label_1"], *([10 + k, p, 1 - p] for k, p in enumerate(TRUE))], {}),
    "by two ids": (
        [["prompt_id", "ranking_id", "label"], *(["p", 10 + k, p] for k, p in enumerate(TRUE))],
        {"prompt_id": ["p"] * 5},
    ),
    "by the pair's name": ([["pair", "label"], *([f"p.parquet#{k}", p] for k, p in enumerate(TRUE))], {}),
}


@pytest.mark.parametrize("form", FILES)
def test_a_file_names_pairs_and_says_which_image_is_better(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, more = FILES[form]
    told: list[str] = []
    given = picks(tmp_path / "p.parquet", REDS, ranking_id=[10 + k for k in range(5)], **more)
    summary = judged(given, table(tmp_path / "l.csv", rows), seat(monkeypatch, Red()), told)
    assert [line for line in told if line.startswith("labels")] == [
        "labels: of 5 pairs jpg_0 is better in 2, jpg_1 in 2, ties 1"
    ]
    assert summary.trust is not None and summary.trust.judges["red"].accuracy.value == 0.75


def test_labels_that_cannot_be_used_are_counted_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [["ranking_id", "label"], [0, 1], [1, 0], [1, 1], [2, 0], [2, 0], [3, "maybe"], [77, 1], [4, ""]]
    told: list[str] = []
    given = picks(tmp_path / "p.parquet", [*REDS, (1, 2)], ranking_id=[0, 1, 2, 3, 4, 0])
    summary = judged(given, table(tmp_path / "l.csv", rows), seat(monkeypatch, Red()), told)
    assert [line for line in told if line.startswith("labels")] == [
        "labels: of 6 pairs jpg_0 is better in 2, jpg_1 in 1, without a label 3",
        "labels: 1 of l.csv are not read, such as line 7: 'maybe' is no label: give how likely the first image is the "
        "better one, 0 to 1, or first, second, tie, jpg_0, jpg_1",
        "labels: 1 pairs of l.csv have two labels and are left out, such as 1",
        "labels: 1 are of pairs that are not in the input, such as 77",
        "labels: 1 name several pairs, such as 0: each of them has that label",
    ]
    assert summary.trust is not None and summary.trust.judges["red"].accuracy.count == 3


def test_labels_of_a_column_that_are_none_are_counted_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    given = picks(tmp_path / "p.parquet", REDS, mine=["first", "2", "second", "", "left"])
    judged(given, "mine", seat(monkeypatch, Red()), told)
    assert "labels: of 5 pairs jpg_0 is better in 1, jpg_1 in 1, without a label 3" in told
    assert any(line.startswith("labels: 2 are not read, such as: '2' is no label") for line in told)


BAD: dict[str, tuple[str, str]] = {
    "no column": ("lable", "p.parquet has no column 'lable' with labels; did you mean 'label'?"),
    "no label is decided": ("ties", "ties labels none of 5 pairs: none says which image is the better one"),
    "no label is one": ("who", "who labels none of 5 pairs: 'me' is no label: give how likely the first image"),
    "no file": ("gone.csv", "there is no file gone.csv"),
    "an empty file": ("empty.csv", "empty.csv"),
    "no names of pairs": ("nameless.csv", "nameless.csv has no column that names pairs"),
    "no labels": ("unlabelled.csv", "unlabelled.csv has no column 'label' with labels"),
    "several columns": ("several.csv", "several.csv has no column 'label' with labels; known: a, b"),
    "of other pairs": (
        "others.csv",
        "labels none of 5 pairs: it names such as '77' by ranking_id, and the input has such as '0'",
    ),
    "contradicting": ("two.csv", "two.csv labels no pair: 1 pairs of two.csv have two labels"),
    "an address": ("https://example.org/l.csv", "there is no file https:/example.org/l.csv"),
}


@pytest.mark.parametrize("what", BAD)
def test_labels_that_say_nothing_are_one_line_before_anything_is_judged(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, rows in {
        "nameless": [["label"], [1]],
        "unlabelled": [["ranking_id"], [1]],
        "several": [["ranking_id", "a", "b"], [1, 2, 3]],
        "others": [["ranking_id", "label"], [77, 1]],
        "two": [["ranking_id", "label"], [1, 1], [1, 0]],
    }.items():
        table(tmp_path / f"{name}.csv", rows)
    (tmp_path / "empty.csv").touch()
    columns: dict[str, Any] = {"label": TRUE, "ties": [0.5] * 5, "who": ["me"] * 5, "ranking_id": list(range(5))}
    given = picks(tmp_path / "p.parquet", REDS, **columns)
    labels, line = BAD[what]
    choices = seat(monkeypatch, Duel(lambda a, b: pytest.fail("asked")))
    with pytest.raises(InputError) as error:
        judged(given.relative_to(tmp_path), labels, choices)
    assert line in str(error.value) and "\n" not in str(error.value)
    assert not list(tmp_path.glob("x.parquet*"))


def test_labels_need_pairs_and_their_file_is_never_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = seat(monkeypatch, Red())
    given = picks(tmp_path / "p.parquet", REDS, label=TRUE, pair=[f"p.parquet#{k}" for k in range(5)])
    with pytest.raises(InputError, match="--labels says which image .*: give --pairs as well"):
        judge_path(given, choices, tmp_path / "x.parquet", Options(labels="label"))
    labels = tmp_path / "l.parquet"
    pq.write_table(pa.table({"pair": ["p.parquet#0"], "label": [1.0]}), labels)
    with pytest.raises(RunError, match=r"l.parquet is the input"):
        judge_path(given, choices, labels, Options(pairs=True, labels=str(labels)))


def test_other_labels_are_other_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(a: float, b: float) -> float:
        if a == 200:
            raise KeyboardInterrupt
        return 0.0

    choices = seat(monkeypatch, Duel(stop))
    given = picks(tmp_path / "p.parquet", [(k, 1) for k in range(17)] + [(200, 1)], ranking_id=range(18))
    labels = table(tmp_path / "l.csv", [["ranking_id", "label"], [3, 1]])
    with pytest.raises(KeyboardInterrupt):
        judged(given, labels, choices)
    table(tmp_path / "l.csv", [["ranking_id", "label"], [3, 0]])
    with pytest.raises(RunError, match="was started with other settings"):
        judged(given, labels, choices)


def test_accuracy_liking_for_a_place_and_agreement_are_found_with_their_intervals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, count = random.Random(1), 600
    reds = [tuple(rng.sample(range(256), 2)) for _ in range(count)]

    def answers(a: float, b: float) -> float:  # 0.7 of the time by what it sees, wrong 0.2 of it; else the first place
        return 1.0 if rng.random() < 0.3 else float((a > b) == (rng.random() < 0.8))

    given = picks(
        tmp_path / "p.parquet", reds, label_0=[float(a > b) for a, b in reds], label_1=[float(a < b) for a, b in reds]
    )
    summary = judged(given, "label_0", seat(monkeypatch, Red(), Pale(), Duel(answers)))
    assert summary.trust is not None
    red, pale, duel = (summary.trust.judges[name] for name in ("red", "pale", "duel"))
    assert red.accuracy.value == pale.accuracy.value == 1.0 and red.accuracy.low > 0.99
    assert duel.first is not None and duel.first.low < 0.65 < duel.first.high
    assert duel.unbiased == pytest.approx(0.8, abs=0.05)
    both = (0.3 + 0.7 * 0.8) * 0.7 * 0.8  # right shown first, and right shown second
    wrong = (0.3 + 0.7 * 0.2) * 0.7 * 0.2
    assert duel.consistent is not None and duel.consistent.value == pytest.approx(both + wrong, abs=0.06)
    assert duel.accuracy.value == pytest.approx(both / (both + wrong), abs=0.06)
    assert duel.consistent.low < duel.consistent.value < duel.consistent.high
    assert summary.trust.agreement["red", "pale"].value == 1.0
    agreed = summary.trust.agreement["red", "duel"]
    assert agreed.count == duel.accuracy.count and agreed.value == pytest.approx(duel.accuracy.value)


def test_the_command_prints_how_far_to_trust_each_judge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = picks(
        tmp_path / "p.parquet", [*REDS, (3, -1)], label_0=[*TRUE, 1.0], label_1=[*(1 - p for p in TRUE), 0.0]
    )
    choices = seat(monkeypatch, Red(), Duel())
    monkeypatch.setattr(judging, "choose", lambda *_: choices)
    arguments = [given, "--judges", "red,duel", "--out", tmp_path / "x.parquet", "--pairs", "--labels", "label_0"]
    monkeypatch.setattr(sys, "argv", ["datagen", "judge", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code
    lines = capsys.readouterr().out.splitlines()
    assert lines[-4].split() == [
        "judge",
        "pairs",
        "right",
        "[95",
        "%]",
        "ties",
        "first",
        "place",
        "both",
        "orders",
        "alike",
    ]
    assert lines[-3].split()[:4] == ["red", "4", "0.750", "[0.250,"]
    assert lines[-2].split()[:4] == ["duel", "4", "0.750", "[0.250,"] and lines[-2].split()[-3] == "1.000"
    assert lines[-1] == "red and duel agree: 1.000 [0.566, 1.000] of 5 pairs"
