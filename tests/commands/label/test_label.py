"""`datagen label`: what was judged becomes a run, and what is not as it was judged is never taken for it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stand_ins import Duel, Head, Network, Pale, Red, picks, png, seat

from datagen import cli, store
from datagen.commands.judge import Options as Judging
from datagen.commands.judge import judge_path
from datagen.commands.label import Labelled, Options, call, label_scores
from datagen.commands.relabel import relabel
from datagen.commands.validate import problems
from datagen.errors import DatagenError, InputError, RecipeError, RunError

PROMPTS, EACH = 12, 3


class Never(Red):
    """Always gives the same."""

    name = "never"

    def score(self, images: Any, prompts: Any) -> Any:
        return np.full(len(images), 3.0)


class Silent(Red):
    """Abstains always."""

    name = "silent"

    def score(self, images: Any, prompts: Any) -> Any:
        return np.full(len(images), np.nan)


def red(prompt: int, place: int) -> int:
    return 20 * place + 3 * prompt + 5


def folder(path: Path, prompts: int = PROMPTS, each: int = EACH) -> Path:
    """Pictures whose redness is their place among those of their prompt."""
    path.mkdir()
    for prompt in range(prompts):
        for place in range(each):
            name = f"{place}-{prompt:03d}"
            (path / f"{name}.png").write_bytes(png(red(prompt, place), prompt))
            (path / f"{name}.txt").write_text(f"scene {'abcdefghijklmnop'[prompt]} of {prompt}")
    return path


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Judge a folder or table by some judges into a file of a name."""

    def judged(source: Path, name: str, *panel: Any, **options: Any) -> Path:
        judge_path(source, seat(monkeypatch, *panel), tmp_path / name, Judging(**options))
        return tmp_path / name

    return judged


def rows(out: Path, table: str = "dataset/data") -> list[dict[str, Any]]:
    return [row for file in sorted((out / table).glob("*.parquet")) for row in pq.read_table(file).to_pylist()]


def seat_all(patch: pytest.MonkeyPatch) -> None:
    seat(patch, Red(), Pale(), Head("head", Network()), Duel(), Never(), Silent())


def said(made: Labelled) -> str:
    return "\n".join(made.notes)


def test_a_folder_of_pictures_becomes_a_run_whose_dataset_is_sound(
    tmp_path: Path, judge: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = folder(tmp_path / "in")
    scores = judge(source, "s.parquet", Red(), Head("head", Network()))
    made = label_scores([scores], tmp_path / "out")
    assert made.summary.rows("prompts") == PROMPTS and made.summary.rows("images") == PROMPTS * EACH
    shutil.rmtree(source)  # the run is whole
    assert list(problems(tmp_path / "out")) == []
    pairs = rows(tmp_path / "out")
    assert len(pairs) == PROMPTS == sum(made.summary.splits.values())
    assert {row["prompt"] for row in pairs} == {f"scene {'abcdefghijklmnop'[k]} of {k}" for k in range(PROMPTS)}
    for row in pairs:
        prompt = int(row["prompt"].split()[-1])
        assert row["chosen"]["bytes"] == png(red(prompt, EACH - 1), prompt), "the very file, the reddest"
        assert row["rejected"]["bytes"] == png(red(prompt, 0), prompt)
        assert 0.5 < row["low"] <= row["probability"] <= row["high"] < 1 or row["probability"] > 0.5
    labels = rows(tmp_path / "out", "tables/labels")
    assert [row["reason"] for row in labels].count("compared for the ranking only") == 2 * PROMPTS
    lists = rows(tmp_path / "out", "lists")
    assert [row["rank"] for row in lists] == [1, 2, 3] * PROMPTS and {row["compared"] for row in lists} == {2}
    assert "planted pairs in its place" in said(made) and "null pairs give the noise" in said(made)
    again = label_scores([scores], tmp_path / "out")
    assert again.summary.made == 0, "nothing is left to do, also without the input"


def test_other_rules_make_other_pairs_of_the_same_run(tmp_path: Path, judge: Callable[..., Path]) -> None:
    scores = judge(folder(tmp_path / "in", each=4), "s.parquet", Red(), Pale())
    made = label_scores([scores], tmp_path / "out", Options(settings=("labels.most_each_prompt=1",)))
    assert made.summary.rows("pairs") == PROMPTS and "nothing planted" in said(made)
    assert relabel(store.Run(tmp_path / "out"), ["labels.most_each_prompt=2"]).rows("pairs") == 2 * PROMPTS
    known = tmp_path / "known.csv"
    pair = rows(tmp_path / "out")[0]["pair_id"]
    known.write_text(f"pair_id,label\n{pair},chosen\nnone,rejected\n")
    facts = relabel(store.Run(tmp_path / "out"), [f"labels.known={known}"]).plans["labels"].facts()
    assert any(note.startswith("1 known labels") for note in facts["notes"])
    assert "1 of 2 labels of people are of no pair of this run" in facts["notes"]


def test_files_of_several_judges_are_joined_and_what_one_lacks_is_said(
    tmp_path: Path, judge: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = folder(tmp_path / "in")
    one = judge(source, "one.parquet", Head("head", Network()))
    (source / "0-000.png").unlink()
    two = judge(source, "two.parquet", Red())
    (source / "0-000.png").write_bytes(png(red(0, 0), 0))
    seat_all(monkeypatch)
    made = label_scores([two, one], tmp_path / "out")
    assert f"1 of {PROMPTS * EACH} images are not in {two}: its judges abstain" in made.notes
    assert made.summary.rows("images") == PROMPTS * EACH
    assert {row["judge"] for row in rows(tmp_path / "out", "tables/scores")} == {"red", "head"}
    with pytest.raises(InputError, match="the judge red has scores in .*two.parquet, twice"):
        label_scores([two, two], tmp_path / "other")
    other = judge(folder(tmp_path / "in2", prompts=1), "three.parquet", Pale())
    for image in (tmp_path / "in2").glob("*.png"):
        image.rename(image.with_stem(f"x{image.stem}"))
        image.with_suffix(".txt").rename(tmp_path / "in2" / f"x{image.stem}.txt")
    other = judge(tmp_path / "in2", "three.parquet", Pale())
    with pytest.raises(InputError, match="have no image in common: .*in \\(36 images\\).*in2 \\(3 images\\)"):
        label_scores([one, other], tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_an_image_that_changed_went_or_got_another_prompt_is_lost_and_counted(
    tmp_path: Path, judge: Callable[..., Path]
) -> None:
    source = folder(tmp_path / "in")
    scores = judge(source, "s.parquet", Red(), Pale())
    (source / "0-000.png").write_bytes(png(9, 9, 9))  # another picture
    (source / "1-001.png").unlink()
    (source / "2-002.txt").write_text("a text of today")
    for place in range(EACH):
        (source / f"{place}-003.png").write_bytes(png(255, place))  # all of a prompt
    made = label_scores([scores], tmp_path / "out")
    total = PROMPTS * EACH
    for line in (
        f"lost: 4 of {total} images are other pictures than those that were judged",
        f"lost: 1 of {total} images are no longer there",
        f"lost: 1 of {total} images have another prompt than when they were judged",
    ):
        assert line in made.notes
    assert made.summary.rows("images") == total - 6
    shown = {row["prompt"] for row in rows(tmp_path / "out")}
    assert len(shown) == PROMPTS - 1 and "scene d of 3" not in shown
    assert all(row["chosen"]["bytes"] != png(9, 9, 9) for row in rows(tmp_path / "out"))
    assert list(problems(tmp_path / "out")) == []


def test_moved_images_are_found_where_they_are_said_to_be(tmp_path: Path, judge: Callable[..., Path]) -> None:
    source = folder(tmp_path / "in")
    scores = judge(source, "s.parquet", Red(), Pale())
    source.rename(tmp_path / "moved")
    with pytest.raises(InputError, match="not where they were: .* if the images were moved, say where .* --images"):
        label_scores([scores], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="no two images of .* are as they were judged: 35 are no longer"):
        label_scores([scores], tmp_path / "out", Options(images=folder(tmp_path / "else", 1, 1)))
    assert list((tmp_path / "out").iterdir()) == []
    assert label_scores([scores], tmp_path / "out", Options(images=tmp_path / "moved")).summary.rows("pairs")


def without_metadata(path: Path) -> None:
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)


def changed(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    table = pq.read_table(path)
    pq.write_table(change(table).replace_schema_metadata(table.schema.metadata), path)


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-300]), "not a readable Parquet file"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "not there": (lambda path: path.unlink(), "there is no"),
    "unfinished": (lambda path: path.rename(f"{path}.parts"), "is not finished, .* run the same datagen judge again"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "is a folder"),
    "another table": (lambda path: pq.write_table(pa.table({"a": [1]}), path), "not what datagen judge wrote"),
    "written anew": (without_metadata, "does not say where its images are"),
    "no rows": (lambda path: changed(path, lambda table: table.slice(0, 0)), "holds no scores"),
    "rows taken out": (lambda path: changed(path, lambda table: table.slice(1, 12)), "are not those"),
    "half an image": (lambda path: changed(path, lambda table: table.slice(0, 7)), "are not those"),
    "rows exchanged": (
        lambda path: changed(path, lambda table: table.take([2, 1, 0, *range(3, table.num_rows)])),
        "are not those",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_what_is_not_as_it_was_written_is_refused_in_one_line(
    how: str, tmp_path: Path, judge: Callable[..., Path]
) -> None:
    scores = judge(folder(tmp_path / "in", 4), "s.parquet", Red(), Pale())
    spoil, why = BROKEN[how]
    spoil(scores)
    with pytest.raises(InputError, match=why) as error:
        label_scores([scores], tmp_path / "out")
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


WRONG: dict[str, tuple[dict[str, Any], type[DatagenError], str]] = {
    "by": ({"by": "group"}, InputError, "no column 'group' to group images by"),
    "pairs": ({"pairs": True}, InputError, "was judged without --pairs"),
    "pairs and by": ({"pairs": True, "by": "id"}, InputError, "give one of them"),
    "two knowns": ({"known": Path("x.csv"), "known_column": "label"}, InputError, "give one of them"),
    "no such known": ({"known": Path("x.csv")}, InputError, "x.csv, which is no file"),
    "no labels": ({"known_column": "label"}, InputError, "judge the pairs with --labels"),
    "a text": ({"known_column": "path"}, InputError, "judge the pairs with --labels"),
    "not labels": ({"settings": ("prompts.count=3",)}, RecipeError, "can be given labels"),
    "no number": ({"settings": ("labels.min_probability=much",)}, RecipeError, "min_probability is 'much'"),
    "no such rule": ({"settings": ("labels.rule=none",)}, RecipeError, "rule"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_options_are_refused_before_anything_is_written(
    what: str, tmp_path: Path, judge: Callable[..., Path]
) -> None:
    scores = judge(folder(tmp_path / "in", 4), "s.parquet", Red(), Pale())
    options, kind, why = WRONG[what]
    with pytest.raises(kind, match=why):
        label_scores([scores], tmp_path / "out", Options(**options))
    assert not (tmp_path / "out").exists()


def test_a_directory_of_something_else_is_left_alone(tmp_path: Path, judge: Callable[..., Path]) -> None:
    source = folder(tmp_path / "in", 4)
    scores = judge(source, "s.parquet", Red(), Pale())
    with pytest.raises(RunError, match="among the images that were judged"):
        label_scores([scores], source / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(RunError, match="holds other files"):
        label_scores([scores], tmp_path / "mine")
    label_scores([scores], tmp_path / "out")
    with pytest.raises(RunError, match="labels.min_probability 0.0 → 0.9"):
        label_scores([scores], tmp_path / "out", Options(settings=("labels.min_probability=0.9",)))
    other = judge(source, "other.parquet", Red())
    with pytest.raises(RunError, match="was started with other settings"):
        label_scores([other], tmp_path / "out")


def test_a_call_that_was_interrupted_is_gone_on_with(
    tmp_path: Path, judge: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = judge(folder(tmp_path / "in"), "s.parquet", Red(), Pale())
    monkeypatch.setattr(call, "AT_ONCE", 6)  # several shards

    def stop(what: str, done: int, total: int | None) -> None:
        if what == "images":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        label_scores([scores], tmp_path / "out", progress=stop)
    assert not (tmp_path / "out" / "dataset").exists()
    with pytest.raises(RunError, match="is not judged yet .* rerun the datagen label first"):
        relabel(store.Run(tmp_path / "out"), [])
    label_scores([scores], tmp_path / "out")
    label_scores([scores], tmp_path / "whole")
    assert rows(tmp_path / "out") == rows(tmp_path / "whole") and list(problems(tmp_path / "out")) == []


def table(path: Path, prompts: list[Any], **columns: Any) -> Path:
    images = [png(11 * k + 1) for k in range(len(prompts))]
    pq.write_table(pa.table({"image": images, "prompt": prompts} | columns), path)
    return path


def test_what_cannot_be_compared_is_left_out_and_counted(tmp_path: Path, judge: Callable[..., Path]) -> None:
    prompts = ["a", "a", "b", None, " ", "a naked child", "c", "c", "silent", "silent", "d", "d"]
    source = table(tmp_path / "t.parquet", prompts)
    given = pq.read_table(source).to_pydict()
    given["image"][6] = b"junk"
    given["image"][11] = given["image"][10]
    pq.write_table(pa.table(given), source)
    made = label_scores([judge(source, "s.parquet", Red())], tmp_path / "out")
    assert [row["prompt"] for row in rows(tmp_path / "out")] == ["a"]
    total = len(prompts)
    for line in (
        f"left out: 3 of {total} images without another of their prompt",  # b, c, d
        f"left out: 2 of {total} images without a prompt",
        f"left out: 1 of {total} images that repeat another of their prompt",
        f"left out: 2 of {total} images of which no judge said anything",
        f"left out: 1 of {total} images of which no judge said anything: the image cannot be decoded",
    ):
        assert line in made.notes, made.notes
    assert any("1 of 12 images with a prompt that is refused" in note for note in made.notes)
    assert "one judge alone" in said(made)
    assert "naked" not in (tmp_path / "out" / "dataset" / "README.md").read_text()


def test_nothing_to_compare_at_all_is_refused_with_the_reasons(tmp_path: Path, judge: Callable[..., Path]) -> None:
    scores = judge(table(tmp_path / "t.parquet", ["a", "b", None]), "s.parquet", Red())
    with pytest.raises(InputError, match="nothing has two images of one prompt .*: of 3 images .* 2 without another"):
        label_scores([scores], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_images_are_grouped_by_a_column_as_far_as_they_have_one_prompt(
    tmp_path: Path, judge: Callable[..., Path]
) -> None:
    source = table(tmp_path / "t.parquet", ["a"] * 6 + ["b"], set_id=["x", "x", "y", "y", None, "z", "x"])
    made = label_scores([judge(source, "s.parquet", Red(), Pale())], tmp_path / "out", Options(by="set_id"))
    assert made.summary.rows("prompts") == 2 and made.summary.rows("pairs") == 2
    assert "left out: 1 of 7 images without a set_id" in made.notes
    assert "left out: 2 of 7 images without another of their prompt" in made.notes
    assert list(problems(tmp_path / "out")) == []


def test_judges_that_tell_nothing_are_named_and_no_pair_comes_of_nothing(
    tmp_path: Path, judge: Callable[..., Path]
) -> None:
    source = folder(tmp_path / "in")
    made = label_scores([judge(source, "s.parquet", Red(), Never())], tmp_path / "out")
    assert "never says next to nothing or always the same: it has no weight." in said(made)
    assert made.summary.rows("pairs") == PROMPTS
    made = label_scores([judge(source, "n.parquet", Never())], tmp_path / "none")
    assert sum(made.summary.splits.values()) == 0
    assert made.summary.plans["pairs"].drops() == {"tie": PROMPTS, "compared for the ranking only": 2 * PROMPTS}
    with pytest.raises(InputError, match="of which no judge said anything"):
        label_scores([judge(source, "q.parquet", Silent())], tmp_path / "quiet")


def test_pairs_that_are_given_stay_pairs_and_their_labels_may_be_known(
    tmp_path: Path, judge: Callable[..., Path]
) -> None:
    reds = [(200, 100), (10, 250), (30, 30), (40, 90), (-1, 5), (60, 61), (1, 99)]
    firsts = [1.0, 0.0, 0.5, 0.0, 1.0, 1.0, 0.0]
    source = picks(
        tmp_path / "p.parquet", reds, label_0=firsts, label_1=[1 - a for a in firsts], caption=["one scene"] * 7
    )
    scores = judge(source, "s.parquet", Red(), Duel(), pairs=True, labels="label_0")
    made = label_scores([scores], tmp_path / "out", Options(pairs=True, known_column="label"))
    pairs = rows(tmp_path / "out")
    assert {(row["chosen"]["bytes"], row["rejected"]["bytes"]) for row in pairs} == {
        (png(max(two)), png(min(two))) for two in [reds[0], reds[1], reds[3], reds[5], reds[6]]
    }
    assert len({row["prompt_id"] for row in pairs}) == 5
    assert (tmp_path / "out" / "known.csv").read_text().splitlines()[1].endswith(",chosen")
    assert any(note.startswith("labels: 5 known labels") for note in made.notes)
    assert "left out: 1 of 14 images that could not be read" in made.notes or "whose partner" in said(made)
    assert "left out: 2 of 14 images whose partner is the same picture" in made.notes
    assert sorted(made.summary.splits.values()) == [0, 5], "pairs of one prompt are on one side"
    single = judge(source, "t.parquet", Red(), image_column="jpg_0", prompt_column="caption")
    with pytest.raises(InputError, match="was judged with --pairs and .* without"):
        label_scores([scores, single], tmp_path / "mixed")


def test_files_of_other_kinds_and_sizes_are_kept_as_they_are(tmp_path: Path, judge: Callable[..., Path]) -> None:
    import io

    from PIL import Image

    data = {}
    for kind, side, colour in (("JPEG", 16, 30), ("WEBP", 24, 120), ("PNG", 16, 60), ("GIF", 16, 200)):
        file = io.BytesIO()
        Image.new("RGB", (side, 16), (colour, 0, 0)).save(file, kind)
        data[kind] = file.getvalue()
    source = tmp_path / "t.parquet"
    pq.write_table(pa.table({"image": list(data.values()), "prompt": ["a", "a", "b", "b"]}), source)
    label_scores([judge(source, "s.parquet", Red(), Pale())], tmp_path / "out")
    first, second = sorted(rows(tmp_path / "out"), key=lambda row: str(row["prompt"]))
    assert (first["chosen"]["bytes"], first["rejected"]["bytes"]) == (data["WEBP"], data["JPEG"])
    assert first["chosen"]["path"].endswith(".webp") and first["rejected"]["path"].endswith(".jpg")
    assert (first["width"], first["height"], second["width"], second["height"]) == (0, 0, 16, 16)
    assert list(problems(tmp_path / "out")) == []


def test_a_judge_whose_weights_are_not_here_is_read_by_its_file(tmp_path: Path) -> None:
    from datagen.labels import judged
    from datagen.recipe import JudgeChoice

    found = judged.readings_of([JudgeChoice(name="pickscore", options={"weights": str(tmp_path / "none")})])
    assert found["pickscore"].higher_is_better and found["pickscore"].scale > 0


def test_scores_of_kept_embeddings_find_the_pictures_that_these_are_of(
    tmp_path: Path, judge: Callable[..., Path]
) -> None:
    source = picks(tmp_path / "p.parquet", [(200, 100), (10, 250)], caption=["a", "a"])
    network = Network()
    judge(source, "s.parquet", Head("head", network), pairs=True, embeddings=tmp_path / "kept.parquet")
    scores = judge(tmp_path / "kept.parquet", "again.parquet", Head("head", network))
    made = label_scores([scores], tmp_path / "out")
    assert made.summary.rows("images") == 4 and made.summary.rows("prompts") == 1 and made.summary.rows("pairs") == 2
    assert {row["chosen"]["bytes"] for row in rows(tmp_path / "out")} <= {png(200), png(250), png(100)}


def test_the_command_says_what_it_did_and_ends_with_its_exit_code(
    tmp_path: Path,
    judge: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def ended(*arguments: object) -> object:
        monkeypatch.setattr(sys, "argv", ["datagen", "label", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return stopped.value.code

    source = folder(tmp_path / "in", 4)
    scores, never = judge(source, "s.parquet", Red()), judge(source, "n.parquet", Never())
    seat_all(monkeypatch)
    assert ended(scores, never, "--out", tmp_path / "out", "--set", "labels.most_each_prompt=1") == 0
    told = capsys.readouterr().out
    assert "4 prompts, 12 images, 4 pairs" in told and "never says next to nothing" in told
    assert ended(never, "--out", tmp_path / "none") == 1
    assert "no pair passed, so there is nothing to train on (dropped: " in capsys.readouterr().err
    assert ended(tmp_path / "nothing.parquet", "--out", tmp_path / "x") == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"error: there is no {tmp_path / 'nothing.parquet'}"
    assert not (tmp_path / "x").exists()


def test_judges_that_compare_only_are_enough_for_pairs(tmp_path: Path, judge: Callable[..., Path]) -> None:
    reds = [(200, 100), (10, 250), (-1, 40), (5, 90)]
    source = picks(tmp_path / "p.parquet", reds)
    made = label_scores([judge(source, "s.parquet", Duel(), pairs=True)], tmp_path / "out")
    assert {row["chosen"]["bytes"] for row in rows(tmp_path / "out")} == {png(200), png(250), png(90)}
    assert made.summary.rows("pairs") == 3 and "nothing planted" in said(made)
