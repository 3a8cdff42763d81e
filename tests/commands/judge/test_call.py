"""`datagen judge`: what comes out, what becomes a row with its error, and what is one line with exit code 2."""

import csv
import gc
import io
import os
import random
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from datagen import cli, judges, records, store
from datagen.commands import judge as judging
from datagen.commands.judge import Options, merge, shards
from datagen.errors import InputError, ModelError, RunError
from datagen.judges import panel
from datagen.recipe import JudgeChoice
from datagen.world import captions, grammar, render

ROOT = Path(__file__).parents[3]
WORLD = [JudgeChoice(name="world")]


class Shy:
    """A judge that abstains on texts of an odd length; it says how often it was asked, and can fail."""

    name, version, scale = "world", "9", 1.0
    facts = judges.Facts(code_license="MIT")

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.fails: BaseException | None = None

    def score(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> Any:
        self.asked.append(len(images))
        if self.fails is not None and len(self.asked) > 1:
            raise self.fails
        return np.array([float("nan") if len(text) % 2 else float(len(text)) for text in prompts])


@pytest.fixture
def shy(monkeypatch: pytest.MonkeyPatch) -> Shy:
    it = Shy()
    monkeypatch.setattr(judges, "load", lambda name, options: it)
    return it


def put(folder: Path, name: str, prompt: str | None, image: bytes | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if image is None:
        Image.new("RGB", (8, 8), "red").save(folder / f"{name}.png")
    else:
        (folder / f"{name}.png").write_bytes(image)
    if prompt is not None:
        (folder / f"{name}.txt").write_text(prompt)
    return folder


def rows(path: Path) -> list[dict[str, Any]]:
    table = pq.read_table(path)
    assert table.schema.equals(records.schema(judging.Judged))
    found: list[dict[str, Any]] = table.to_pylist()
    return found


def test_the_caption_of_a_picture_scores_above_another_s_by_both_judges(tmp_path: Path) -> None:
    rng = random.Random(0)
    scenes = [grammar.sample_scene(rng) for _ in range(6)]
    texts = [captions.caption(scene, grammar.ATTRIBUTES, rng) for scene in scenes]
    for k, scene in enumerate(scenes):
        for kind, text in (("right", texts[k]), ("wrong", texts[k - 1])):
            put(tmp_path / "d", f"{k}-{kind}", text)
            render.render(scene).save(tmp_path / "d" / f"{k}-{kind}.png")
    summary = judging.judge_path(tmp_path / "d", judging.choose(["clip,world"], []), tmp_path / "x.parquet")
    assert summary == judging.Summary(images=12, scored=24, errors=0)
    values = {(row["path"], row["judge"]): row["value"] for row in rows(tmp_path / "x.parquet")}
    for k in range(6):
        assert values[f"{k}-right.png", "world"] == 1.0
        for judge in ("clip", "world"):
            assert values[f"{k}-right.png", judge] > values[f"{k}-wrong.png", judge]


def test_a_judge_that_abstains_leaves_null_and_no_error(shy: Shy, tmp_path: Path) -> None:
    put(put(tmp_path / "d", "a", "four"), "b", "three")
    summary = judging.judge_path(tmp_path / "d", WORLD, tmp_path / "x.parquet")
    assert summary == judging.Summary(images=2, scored=1, errors=0)
    assert [(row["value"], row["error"], row["judge_version"]) for row in rows(tmp_path / "x.parquet")] == [
        (4.0, None, "9"),
        (None, None, "9"),
    ]


def test_it_streams_and_tells_how_far_it_is_and_a_judge_named_twice_is_one(shy: Shy, tmp_path: Path) -> None:
    count = panel.CHUNK + 3
    for k in range(count):
        put(tmp_path / "d", f"{k:03}", "four")
    told: list[tuple[str, int, int]] = []
    judging.judge_path(
        tmp_path / "d",
        judging.choose(["world", "world"], []),
        tmp_path / "x.parquet",
        progress=lambda *at: told.append(at),
    )
    assert shy.asked == [panel.CHUNK, 3]
    assert told == [("judge", panel.CHUNK, count), ("judge", count, count)]
    assert [row["path"] for row in rows(tmp_path / "x.parquet")] == [f"{k:03}.png" for k in range(count)]


def truncated_png() -> bytes:
    """Half of a picture."""
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(buffer, "PNG")
    return buffer.getvalue()[: len(buffer.getvalue()) // 2]


def large_png() -> bytes:
    """200 megapixels in 25 kilobytes."""
    buffer = io.BytesIO()
    Image.new("1", (20_000, 10_000)).save(buffer, "PNG")
    return buffer.getvalue()


CONTENT: dict[str, tuple[Callable[[], bytes] | None, str | None, str]] = {
    "corrupt": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(100), "four", "the image cannot be decoded"),
    "truncated": (truncated_png, "four", "the image cannot be decoded"),
    "empty": (lambda: b"", "four", "the image is empty (0 bytes)"),
    "200 megapixels": (large_png, "four", "the image is too large: over 100 megapixels"),
    "no sidecar": (None, None, "no prompt: expected bad.txt (.caption, .json) next to the image"),
    "empty sidecar": (None, "", "no prompt: bad.txt is empty"),
    "100,000 characters": (None, "x" * 100_000, "refused: text of 100,000 characters"),
    "refused": (None, "a nude child", "refused: sexual content involving minors"),
}


@pytest.mark.parametrize("what", CONTENT)
def test_what_is_wrong_with_one_image_is_its_row_and_harms_nobody_else(what: str, shy: Shy, tmp_path: Path) -> None:
    make, prompt, error = CONTENT[what]
    folder = put(put(tmp_path / "d", "a", "four"), "z", "sixsix")
    put(folder, "bad", prompt, make() if make else None)
    summary = judging.judge_path(folder, WORLD, tmp_path / "x.parquet")
    assert summary == judging.Summary(images=3, scored=2, errors=1)
    first, bad, last = rows(tmp_path / "x.parquet")
    assert (first["value"], last["value"]) == (4.0, 6.0)
    assert bad["value"] is None and bad["error"].startswith(error) and len(bad["error"]) < 300
    assert len(bad["prompt"]) < 10
    assert shy.asked == [2]


def test_a_folder_of_nothing_but_failures_is_judged_all_the_same(tmp_path: Path) -> None:
    put(put(tmp_path / "d", "a", None), "b", "four", b"no image")
    assert judging.judge_path(tmp_path / "d", WORLD, tmp_path / "x.parquet").errors == 2


def test_a_csv_that_names_files_that_are_not_there_is_a_row_each(shy: Shy, tmp_path: Path) -> None:
    put(tmp_path / "d", "a", None)
    with (tmp_path / "p.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "prompt"), ("a.png", "four"), ("gone.png", "four"), ("", "four")])
    summary = judging.judge_path(tmp_path / "d", WORLD, tmp_path / "x.parquet", Options(prompts=tmp_path / "p.csv"))
    assert summary == judging.Summary(images=3, scored=1, errors=2)
    errors = [row["error"] for row in rows(tmp_path / "x.parquet")]
    assert errors == [
        None,
        f"there is no such file: {tmp_path / 'd' / 'gone.png'}, nor in {tmp_path}",
        "no image: the cell is empty",
    ]
    assert summary.reasons == {"there is no such file": 1, "no image": 1}


def test_a_set_of_pairs_is_judged_image_by_image(shy: Shy, tmp_path: Path) -> None:
    put(tmp_path / "d", "a", None)
    cell = {"bytes": (tmp_path / "d" / "a.png").read_bytes(), "path": "a.png"}
    table = pa.table({"chosen": [cell], "rejected": [{"bytes": b"cut", "path": "b.png"}], "prompt": ["four"]})
    pq.write_table(table, tmp_path / "pairs.parquet")
    judging.judge_path(tmp_path / "pairs.parquet", WORLD, tmp_path / "x.parquet")
    good, bad = rows(tmp_path / "x.parquet")
    assert (good["path"], good["value"]) == ("pairs.parquet#0/chosen", 4.0)
    assert bad["path"] == "pairs.parquet#0/rejected" and "cannot be decoded" in bad["error"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), RuntimeError("boom"), OSError(28, "No space left on device")])
def test_what_stops_half_way_leaves_what_was_there_before(stop: BaseException, shy: Shy, tmp_path: Path) -> None:
    for k in range(panel.CHUNK + 1):
        put(tmp_path / "d", f"{k}", "four")
    out = tmp_path / "scores" / "x.parquet"
    out.parent.mkdir()
    out.write_text("before")
    shy.fails = stop
    with pytest.raises(type(stop)):
        judging.judge_path(tmp_path / "d", WORLD, out)
    assert out.read_text() == "before"
    assert sorted(out.parent.iterdir()) == [out, out.with_name("x.parquet.parts")]
    shy.fails = None
    shy.asked.clear()
    assert judging.judge_path(tmp_path / "d", WORLD, out).scored == panel.CHUNK + 1
    assert shy.asked == [1]  # what was judged is kept
    assert list(out.parent.iterdir()) == [out]


def test_a_full_disk_is_told_and_leaves_nothing(shy: Shy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    put(tmp_path / "d", "a", "four")
    monkeypatch.setattr(os, "fsync", full)
    out = tmp_path / "scores" / "x.parquet"
    with pytest.raises(RunError, match="disk full while writing .*: free some space and rerun"):
        judging.judge_path(tmp_path / "d", WORLD, out)
    assert list(out.parent.iterdir()) == []


def test_the_images_or_the_prompts_are_never_overwritten_with_their_scores(shy: Shy, tmp_path: Path) -> None:
    put(tmp_path / "d", "a", None)
    data = tmp_path / "d.parquet"
    pq.write_table(pa.table({"image": [(tmp_path / "d" / "a.png").read_bytes()], "prompt": ["four"]}), data)
    listed = tmp_path / "p.parquet"
    pq.write_table(pa.table({"image": ["a.png"], "prompt": ["four"]}), listed)
    (tmp_path / "link.parquet").symlink_to(data)
    before = {path: path.read_bytes() for path in (data, listed)}
    for path, out, prompts in (
        (data, data, None),
        (data, tmp_path / "d" / ".." / "d.parquet", None),
        (data, tmp_path / "link.parquet", None),
        (tmp_path / "d", listed, listed),
    ):
        with pytest.raises(RunError, match="is the input; give another name"):
            judging.judge_path(path, WORLD, out, Options(prompts=prompts))
    assert {path: path.read_bytes() for path in before} == before


def test_errors_are_raised_before_a_model_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*arguments: object) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr(judges, "load", load)
    out = tmp_path / "x.parquet"
    with pytest.raises(ModelError, match="no judge was named; known: .*clip, "):
        judging.choose([], [])
    with pytest.raises(ModelError, match="did you mean 'world'"):
        judging.choose(["clip", "wrold"], [])
    with pytest.raises(InputError, match="holds no images"):
        judging.judge_path(tmp_path, judging.choose(["clip"], []), out)


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """Run the command in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", ["datagen", "judge", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
        raise SystemExit(0)
    return int(stop.value.code or 0)


def test_judges_that_know_the_embedded_world_only_say_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clip_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "d", "a", "a chef")
    for n, (asked, known) in enumerate((("clip", "clip"), ("world,clip", "world and clip"), ("world", "world"))):
        assert call(monkeypatch, tmp_path / "d", "--judges", asked, "--out", tmp_path / f"{n}.parquet") == 0
        assert f"note: {known} can judge the embedded model's images only" in capsys.readouterr().err
    named = ("--judges", "clip", "--set", f"clip.model={clip_folder}")
    assert call(monkeypatch, tmp_path / "d", *named, "--out", tmp_path / "named.parquet") == 0
    assert "embedded" not in capsys.readouterr().err


def test_the_command_says_what_it_did(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(put(put(tmp_path / "d", "a", "a chef"), "b", "nothing known"), "c", None)
    out = tmp_path / "new" / "folder" / "x.parquet"
    assert call(monkeypatch, tmp_path / "d", "--judges", " world, ,", "--out", out) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"3 images, 1 scored, 1 errors: {out}",
        "      1 the judge world abstained",
        "      1 no prompt",
        "",
        "judge  values  mean  spread  from                      to",
        "world       1     0       0     0  |█               |   0",
    ]
    assert len(rows(out)) == 3


BAD: dict[str, tuple[list[str], str]] = {
    "no folder": (["nowhere"], "there is no nowhere"),
    "no images": (["empty"], "empty holds no images"),
    "a name that no file can have": (["x" * 5_000], "there is no xxx"),
    "zero bytes": (["zero.parquet"], "zero.parquet is empty (0 bytes)"),
    "truncated": (["cut.parquet"], "cut.parquet is not a readable Parquet file"),
    "no table": (["d/a.txt"], "a.txt is none of what can be judged: give a picture, a table (Parquet, Arrow, CSV"),
    "addresses": (["urls.csv"], "urls.csv line 2: column 'image' holds addresses (https://example.org/a.png), and"),
    "no pairs": (["d", "--pairs"], "--pairs needs two images a row"),
    "no archive": (["none.tar"], "none.tar is not a readable tar archive"),
    "unknown judge": (["d", "--judges", "wrold"], "no judge is called 'wrold'; did you mean 'world'"),
    "no judge": (["d", "--judges", ","], "no judge was named"),
    "unknown column": (["data.parquet", "--image-column", "imag"], "no column 'imag'; did you mean 'image'"),
    "no column of that name": (["data.parquet", "--image-column", "chosen"], "no column 'chosen'"),
    "unknown prompt column": (["data.parquet", "--prompt-column", "text"], "no column 'text'; known: image, prompt"),
    "unknown CLIP": (["d", "--judges", "clip", "--clip-model", "ViT-L-14/opnai"], "no CLIP model is called"),
    "no CLIP folder": (["d", "--judges", "clip", "--clip-model", "./empty"], "empty is not an open_clip folder"),
    "no prompts": (["d", "--prompts", "gone.csv"], "there is no file gone.csv"),
    "prompts for a file": (["data.parquet", "--prompts", "p.csv"], "--prompts names prompts for a folder"),
    "prompts without files": (["d", "--prompts", "p.csv"], "p.csv has no column 'image' with the files"),
    "out in a system folder": (["d", "--out", "/proc/x.parquet"], "cannot write /proc/x.parquet"),
    "out under a file": (["d", "--out", "p.csv/x.parquet"], "cannot write p.csv/x.parquet"),
    "out is a folder": (["d", "--out", "empty"], "empty is a folder; give the name of a Parquet file"),
    "out has no name": (["d", "--out", "x" * 5_000], "cannot write xxx"),
    "out is CSV": (
        ["d", "--out", "scores.csv"],
        "scores.csv would be a Parquet file; give a name that ends in .parquet",
    ),
    "out is JSON": (["d", "--out", "scores.jsonl"], "give a name that ends in .parquet"),
    "out is the input": (["data.parquet", "--out", "data.parquet"], "data.parquet is the input"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_used_is_one_line_and_exit_code_2_and_nothing_is_written_or_lost(
    what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "d", "a", "a chef")
    (tmp_path / "empty").mkdir()
    (tmp_path / "zero.parquet").touch()
    (tmp_path / "p.csv").write_text("x,prompt\n1,a chef\n")
    (tmp_path / "urls.csv").write_text("image,prompt\nhttps://example.org/a.png,x\n")
    (tmp_path / "none.tar").write_text("none")
    table = pa.table({"image": [(tmp_path / "d" / "a.png").read_bytes()], "prompt": ["a chef"]})
    pq.write_table(table, "data.parquet")
    (tmp_path / "cut.parquet").write_bytes(Path("data.parquet").read_bytes()[:-9])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    arguments, line = BAD[what]
    defaults = {"--judges": "world", "--out": "x.parquet"}
    given = [part for name, value in defaults.items() if name not in arguments for part in (name, value)]
    assert call(monkeypatch, *arguments, *given) == 2
    told = capsys.readouterr()
    assert told.out == ""
    (error,) = told.err.splitlines()
    assert error.startswith("error: ") and line in error
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_damage_that_shows_half_way_is_one_line_and_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    table = pa.table({"image": [rng.bytes(2_000) for _ in range(200)], "prompt": ["a chef"] * 200})
    pq.write_table(table, tmp_path / "d.parquet", row_group_size=50)
    data = bytearray((tmp_path / "d.parquet").read_bytes())
    data[len(data) // 2 : len(data) * 3 // 4] = b"\xff" * (len(data) * 3 // 4 - len(data) // 2)
    (tmp_path / "d.parquet").write_bytes(data)
    out = tmp_path / "x.parquet"
    assert call(monkeypatch, tmp_path / "d.parquet", "--judges", "world", "--out", out) == 2
    gc.collect()  # nothing may complain on its way out
    *progress, error = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ") and "is damaged after row" in error
    assert all(line.startswith("judge: ") for line in progress)
    assert [path.name for path in tmp_path.iterdir()] == ["d.parquet"]


def test_judges_given_twice_are_merged_and_options_are_typed_by_their_judge() -> None:
    chosen = judging.choose(["clip, world", "world"], ["clip.model=ViT-L-14/openai"])
    assert chosen == [JudgeChoice(name="clip", options={"model": "ViT-L-14/openai"}), JudgeChoice(name="world")]
    assert judging.choose(["clip"], [], clip_model="x") == judging.choose(["clip"], ["clip.model=x"])
    assert judging.choose(["world"], [], clip_model="x") == WORLD


SETTINGS: dict[str, tuple[str, str]] = {
    "unknown option": ("clip.modle=x", "the judge clip: unknown option 'modle': did you mean 'model'"),
    "of another type": ("clip.model=3", "the judge clip: option model is 3: it should be a valid string"),
    "no judge": ("model=x", "give JUDGE.OPTION=VALUE for one of --judges: clip"),
    "another judge": ("world.model=x", "give JUDGE.OPTION=VALUE for one of --judges: clip"),
    "no value": ("clip.model", "give key=value, for example --set clip.model=ViT-L-14/openai"),
}


@pytest.mark.parametrize("what", SETTINGS)
def test_an_option_that_cannot_be_used_is_one_line(
    what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "d", "a", "a chef")
    setting, line = SETTINGS[what]
    out = tmp_path / "x.parquet"
    assert call(monkeypatch, tmp_path / "d", "--judges", "clip", "--set", setting, "--out", out) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ") and line in error
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_the_older_name_of_clip_s_option_still_works(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clip_folder: Path
) -> None:
    put(tmp_path / "d", "a", "a chef")
    for option, out in ((("--clip-model", clip_folder), "x"), (("--set", f"clip.model={clip_folder}"), "y")):
        assert call(monkeypatch, tmp_path / "d", "--judges", "clip", *option, "--out", tmp_path / out) == 0
    assert rows(tmp_path / "x") == rows(tmp_path / "y")
    assert rows(tmp_path / "x")[0]["judge_version"].startswith("2:cosine:clip@")


# A judge from elsewhere that writes down what it was asked, and kills its process at the call that a file names.
MORTAL = '''
"""Mortal."""

import os
import signal
from pathlib import Path

from datagen import judges

HERE = Path(__file__).parent


class Judge:
    name, version, scale = "mortal", "1", 1.0
    facts = judges.Facts(code_license="MIT")

    def score(self, images, prompts):
        with (HERE / "asked").open("a") as file:
            file.writelines(f"{prompt}\\n" for prompt in prompts)
        calls = HERE / "calls"
        left = int(calls.read_text()) - 1
        calls.write_text(str(left))
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return [float(prompt) for prompt in prompts]
'''


@pytest.mark.slow  # processes that are killed
def test_after_kill_9_it_goes_on_and_judges_at_most_one_shard_again(tmp_path: Path) -> None:
    (tmp_path / "mortal").mkdir()
    (tmp_path / "mortal" / "__init__.py").touch()
    (tmp_path / "mortal" / "judge.py").write_text(MORTAL)
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    total = 3 * shards.SHARD + 40
    table = pa.table({"image": [picture.getvalue()] * total, "prompt": [str(k) for k in range(total)]})
    pq.write_table(table, tmp_path / "d.parquet")

    def judge(out: str, calls: int) -> subprocess.CompletedProcess[str]:
        (tmp_path / "mortal" / "calls").write_text(str(calls))
        command = [sys.executable, "-m", "datagen", "judge", "d.parquet", "--judges", "mortal.judge", "--out", out]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    assert judge("whole", 10_000).returncode == 0
    asked = tmp_path / "mortal" / "asked"
    asked.unlink()
    a_shard = shards.SHARD // panel.CHUNK
    for calls in (a_shard + 3, 2, a_shard + 1):
        assert judge("x", calls).returncode == -signal.SIGKILL
        assert not (tmp_path / "x").exists()
    done = judge("x", 10_000)
    assert done.returncode == 0, done.stderr
    assert f"{2 * shards.SHARD} of {total} images were judged before" in done.stderr
    assert done.stdout.splitlines()[0] == f"{total} images, {total} scored, 0 errors: x"
    assert (tmp_path / "x").read_bytes() == (tmp_path / "whole").read_bytes()
    assert not (tmp_path / "x.parts").exists()
    assert len(asked.read_text().splitlines()) <= total + 3 * shards.SHARD
    assert set(asked.read_text().splitlines()) == {str(k) for k in range(total)}


@pytest.fixture
def interrupted(shy: Shy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A call that was interrupted after its first shard; the file that it was to write."""
    monkeypatch.setattr(shards, "SHARD", panel.CHUNK)
    for k in range(panel.CHUNK + 1):
        put(tmp_path / "d", f"{k:03}", "four")
    shy.fails = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        judging.judge_path(tmp_path / "d", WORLD, tmp_path / "d" / "x.parquet")
    shy.fails = None
    return tmp_path / "d" / "x.parquet"


def test_what_was_finished_when_it_was_interrupted_is_not_judged_again(shy: Shy, interrupted: Path) -> None:
    shy.asked.clear()
    summary = judging.judge_path(interrupted.parent, WORLD, interrupted)
    assert summary == judging.Summary(images=panel.CHUNK + 1, scored=panel.CHUNK + 1, errors=0)
    assert shy.asked == [1]
    assert [path.name for path in interrupted.parent.iterdir() if path.suffix not in (".png", ".txt")] == ["x.parquet"]


@pytest.mark.parametrize("change", ["a prompt", "an image", "a column"])
def test_what_was_finished_of_other_input_is_not_taken_for_this_one_s(change: str, interrupted: Path) -> None:
    folder, column = interrupted.parent, "caption" if change == "a column" else "prompt"
    if change == "a prompt":
        (folder / "000.txt").write_text("sixsix")
    if change == "an image":
        put(folder, "new", "four")
    with pytest.raises(RunError, match=r"x.parquet.parts was started with other settings .*choose another --out"):
        judging.judge_path(folder, WORLD, interrupted, Options(prompt_column=column))
    assert not interrupted.exists()


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_ctrl_c_keeps_every_image_that_was_judged_and_says_how_many(
    kept: int, shy: Shy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for k in range(4 * panel.CHUNK):
        put(tmp_path / "d", f"{k:03}", "four")
    arguments = (tmp_path / "d", "--judges", "world", "--out", tmp_path / "x.parquet")
    score, calls = shy.score, iter(range(10))

    def stop(images: Sequence[Image.Image], prompts: Sequence[str]) -> Any:
        if next(calls) == kept:
            raise KeyboardInterrupt
        return score(images, prompts)

    monkeypatch.setattr(shy, "score", stop)
    assert call(monkeypatch, *arguments) == 130
    told = capsys.readouterr().err
    where = f" and kept in {tmp_path / 'x.parquet.parts'}" if kept else ""
    assert f"{kept * panel.CHUNK} of {4 * panel.CHUNK} images are judged{where}\n" in told
    assert (tmp_path / "x.parquet.parts").exists() == bool(kept)
    monkeypatch.setattr(shy, "score", score)
    shy.asked.clear()
    assert call(monkeypatch, *arguments) == 0
    assert shy.asked == [panel.CHUNK] * (4 - kept)
    assert [row["path"] for row in rows(tmp_path / "x.parquet")] == [f"{k:03}.png" for k in range(4 * panel.CHUNK)]


def test_row_groups_are_of_10_000_rows_wherever_it_was_interrupted(
    shy: Shy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "ROW_GROUP", 50)
    for k in range(4 * panel.CHUNK):
        put(tmp_path / "d", f"{k:03}", "four")
    judging.judge_path(tmp_path / "d", WORLD, tmp_path / "whole.parquet")
    shy.asked.clear()
    shy.fails = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        judging.judge_path(tmp_path / "d", WORLD, tmp_path / "x.parquet")
    shy.fails = None
    judging.judge_path(tmp_path / "d", WORLD, tmp_path / "x.parquet")
    assert (tmp_path / "x.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    found = pq.ParquetFile(tmp_path / "x.parquet").metadata
    assert [found.row_group(k).num_rows for k in range(found.num_row_groups)] == [50, 50, 28]


def test_a_damaged_part_is_said_and_judged_again(shy: Shy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD", panel.CHUNK)
    for k in range(4 * panel.CHUNK):
        put(tmp_path / "d", f"{k:03}", "four")
    judging.judge_path(tmp_path / "d", WORLD, tmp_path / "whole.parquet")
    score, calls = shy.score, iter(range(10))

    def stop(images: Sequence[Image.Image], prompts: Sequence[str]) -> Any:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return score(images, prompts)

    monkeypatch.setattr(shy, "score", stop)
    with pytest.raises(KeyboardInterrupt):
        judging.judge_path(tmp_path / "d", WORLD, tmp_path / "x.parquet")
    shard = store.Run(tmp_path / "x.parquet.parts").shard("scores", 1)
    data = bytearray(shard.read_bytes())
    data[len(data) // 3] ^= 1
    shard.write_bytes(data)
    monkeypatch.setattr(shy, "score", score)
    shy.asked.clear()
    said: list[str] = []
    judging.judge_path(tmp_path / "d", WORLD, tmp_path / "x.parquet", say=said.append)
    assert any(f"{shard} is damaged" in line for line in said)
    assert shy.asked == [panel.CHUNK] * 3
    assert (tmp_path / "x.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_the_file_that_a_killed_call_left_half_written_is_removed(shy: Shy, tmp_path: Path) -> None:
    put(tmp_path / "d", "a", "four")
    leftover, other = tmp_path / ".x.parquet.4711.tmp", tmp_path / ".y.parquet.4711.tmp"
    leftover.touch()
    other.touch()
    judging.judge_path(tmp_path / "d", WORLD, tmp_path / "x.parquet")
    assert not leftover.exists() and other.exists()


def test_scores_in_the_folder_that_is_judged_are_left_out_of_the_next_call(shy: Shy, tmp_path: Path) -> None:
    folder = put(put(tmp_path / "d", "a", "four"), "b", "four")
    for out in ("x.parquet", "x.parquet", "y.parquet"):
        assert judging.judge_path(folder, WORLD, folder / out).images == 2
    table = pa.table({"image": [(folder / "a.png").read_bytes()], "prompt": ["four"]})
    (tmp_path / "t").mkdir()
    pq.write_table(table, tmp_path / "t" / "d.parquet")
    for out in ("x.parquet", "x.parquet", "y.parquet"):
        assert judging.judge_path(tmp_path / "t", WORLD, tmp_path / "t" / out).images == 1


@pytest.mark.parametrize(
    ("prompts", "reasons"),
    [
        ({"a": None, "b": None}, ["      2 no prompt"]),
        ({"a": "a nude child", "b": None}, ["      1 refused", "      1 no prompt"]),
        ({"a": "three", "b": "three"}, ["      2 the judge world abstained"]),
    ],
)
def test_nothing_scored_is_a_failure_with_its_reasons(
    prompts: dict[str, str | None],
    reasons: list[str],
    shy: Shy,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, prompt in prompts.items():
        put(tmp_path / "d", name, prompt)
    assert call(monkeypatch, tmp_path / "d", "--judges", "world", "--out", tmp_path / "x.parquet") == 1
    assert capsys.readouterr().out.splitlines()[1:] == reasons


def test_judges_may_be_given_one_by_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clip_folder: Path) -> None:
    put(tmp_path / "d", "a", "a chef")
    options = ("--judges", "clip", "--set", f"clip.model={clip_folder}", "--judges", "world")
    assert call(monkeypatch, tmp_path / "d", *options, "--out", tmp_path / "x.parquet") == 0
    assert [row["judge"] for row in rows(tmp_path / "x.parquet")] == ["clip", "world"]


def test_what_was_passed_over_is_said(
    shy: Shy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(put(tmp_path / "d", "a", "four"), ".b", "four")
    assert call(monkeypatch, tmp_path / "d", "--judges", "world", "--out", tmp_path / "x.parquet") == 0
    assert "passed over: hidden files (2, such as .b.png)" in capsys.readouterr().err


def test_two_calls_do_not_write_the_same_file(interrupted: Path) -> None:
    parts = store.Run(interrupted.with_name("x.parquet.parts"))
    with store.hold(parts, parts.settings() or {}):
        with pytest.raises(RunError, match="is in use by process"):
            judging.judge_path(interrupted.parent, WORLD, interrupted)
        assert parts.shard("scores", 0).exists()


def test_a_folder_of_parquet_with_half_done_scores_in_it_is_judged_without_them(shy: Shy, tmp_path: Path) -> None:
    put(tmp_path / "i", "a", None)
    (tmp_path / "d" / "x.parquet.parts" / "tables").mkdir(parents=True)
    image = (tmp_path / "i" / "a.png").read_bytes()
    for name in ("a.parquet", "x.parquet.parts/tables/b.parquet"):
        pq.write_table(pa.table({"image": [image], "prompt": ["four"]}), tmp_path / "d" / name)
    assert judging.judge_path(tmp_path / "d", WORLD, tmp_path / "y.parquet").images == 1


def test_what_identifies_a_row_is_carried_over_for_both_images_of_a_pair(shy: Shy, tmp_path: Path) -> None:
    folder = put(tmp_path / "d", "a", "a chef")
    image = (folder / "a.png").read_bytes()
    rows = [
        {"jpg_0": image, "jpg_1": image, "caption": "a chef", "label_0": 1.0, "label_1": 0.0, "ranking_id": i}
        for i in range(panel.CHUNK + 1)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "picks.parquet")
    summary = judging.judge_path(tmp_path / "picks.parquet", WORLD, tmp_path / "x.parquet", Options(pairs=True))
    scores = pq.read_table(tmp_path / "x.parquet")
    assert summary.images == len(scores) == 2 * len(rows)
    assert scores["ranking_id"].to_pylist() == [str(i) for i in range(len(rows)) for _ in range(2)]
    assert scores["path"].to_pylist()[:2] == ["picks.parquet#0/jpg_0", "picks.parquet#0/jpg_1"]


def test_archives_are_judged_by_the_keys_of_their_samples(shy: Shy, tmp_path: Path) -> None:
    image = (put(tmp_path / "d", "a", "a chef") / "a.png").read_bytes()
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, content in (("0001.png", image), ("0001.txt", b"a chef"), ("0002.png", b"no")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    summary = judging.judge_path(tmp_path / "a.tar", WORLD, tmp_path / "x.parquet")
    scores = pq.read_table(tmp_path / "x.parquet").to_pylist()
    assert [(row["path"], row["__key__"], row["value"] is None) for row in scores] == [
        ("a.tar#0001", "0001", False),
        ("a.tar#0002", "0002", True),
    ]
    assert (summary.images, summary.errors) == (2, 1)


def test_a_judge_that_reads_no_text_judges_images_without_prompts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        "import numpy as np",
        "from datagen import judges",
        "class Judge:",
        "    name, version, scale = 'light', '1', 1.0",
        "    facts = judges.Facts(code_license='Apache-2.0', reads_text=False)",
        "    def score(self, images, prompts):",
        "        return np.array([float(np.asarray(image).mean()) for image in images])",
    ]
    (tmp_path / "lights").mkdir()
    (tmp_path / "lights" / "mean.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = put(tmp_path / "d", "a", "a chef")
    (folder / "a.txt").unlink()
    choices = judging.choose(["lights.mean"], [])
    assert judging.judge_path(folder, choices, tmp_path / "x.parquet").scored == 1
    pq.write_table(pa.table({"image": [(folder / "a.png").read_bytes()]}), tmp_path / "t.parquet")
    assert judging.judge_path(tmp_path / "t.parquet", choices, tmp_path / "y.parquet").scored == 1
    with pytest.raises(InputError, match="no column 'prompt'"):
        judging.judge_path(tmp_path / "t.parquet", WORLD, tmp_path / "z.parquet")
