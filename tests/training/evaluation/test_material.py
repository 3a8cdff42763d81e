"""Pictures, captions, rewards and prompts that exist: what is read, and what bad input says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datagen.errors import UserError
from training.evaluation import pictures, prompts, rewards


@pytest.fixture
def folders(tmp_path: Path, make_picture: Callable[..., bytes]) -> Path:
    for arm in ("base", "adapted"):
        (tmp_path / arm / "more").mkdir(parents=True)
        for i, name in enumerate(("a.png", "b.png", "more/c.jpg")):
            (tmp_path / arm / name).write_bytes(make_picture(i))
    (tmp_path / "captions.csv").write_text(
        'file_name,prompt\na.png,"a chef, tall"\nb.png,two\nmore/c.jpg,"a chef, tall"\n'
    )
    return tmp_path


def test_folders_are_paired_by_name_and_grouped_by_caption(folders: Path) -> None:
    texts, made = pictures.from_folders(str(folders / "base"), str(folders / "adapted"), str(folders / "captions.csv"))
    assert texts == ["a chef, tall", "two"]
    assert made.prompt_of == [0, 1, 0]
    assert [Path(name).name for name in made.arms["adapted"].names] == ["a.png", "b.png", "c.jpg"]
    assert [image.size for batch in made.arms["base"].batches(2) for image in batch] == [(64, 64)] * 3


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_captions_of_every_table(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"captions.{suffix}"
    rows = [{"file_name": "001", "caption": "öne, two"}, {"file_name": "2", "caption": "three"}]
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif suffix == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    else:
        path.write_text('file_name,caption\n001,"öne, two"\n2,three\n')
    assert pictures.captions_of(str(path)) == {"001": "öne, two", "2": "three"}


def test_a_table_of_pictures(tmp_path: Path, make_picture: Callable[..., bytes]) -> None:
    rows = [
        {"caption": f"p{i % 2}", "base": {"bytes": make_picture(i), "path": ""}, "adapted": make_picture(i)}
        for i in range(3)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    texts, made = pictures.from_table(str(tmp_path / "t.parquet"))
    assert (texts, made.prompt_of, list(made.arms)) == (["p0", "p1"], [0, 1, 0], ["base", "adapted"])
    assert made.arms["base"][2].size == (64, 64)


def refused(call: Callable[[], object], says: str) -> None:
    with pytest.raises(UserError) as caught:
        call()
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_set_is_never_its_own_reference(folders: Path) -> None:
    """The released scripts compute part of FID between LiVO's own images."""
    base = str(folders / "base")
    refused(lambda: pictures.from_folders(base, f"{base}/../base", str(folders / "captions.csv")), "its own reference")


def test_what_does_not_fit_together_is_named(folders: Path) -> None:
    base, adapted, captions = (str(folders / name) for name in ("base", "adapted", "captions.csv"))
    refused(lambda: pictures.from_folders(base, adapted, None), "--base-images needs --captions")
    refused(lambda: pictures.from_folders(f"{base}/nowhere", None, captions), "is not a folder")
    (folders / "adapted" / "b.png").unlink()
    refused(lambda: pictures.from_folders(base, adapted, captions), "1 images are in one folder only (b.png)")
    (folders / "captions.csv").write_text("file_name,prompt\na.png,x\n")
    refused(lambda: pictures.from_folders(base, None, captions), "no caption for 2 images (b.png, more/c.jpg)")
    (folders / "captions.csv").write_text("one,two\na.png,x\n")
    refused(lambda: pictures.from_folders(base, None, captions), "one of file, file_name, path, name is needed")
    (folders / "empty").mkdir()
    refused(lambda: pictures.from_folders(str(folders / "empty"), None, captions), "holds no images")
    (folders / "captions.jsonl").write_text("{broken\n")
    refused(lambda: pictures.captions_of(str(folders / "captions.jsonl")), "is not JSON")


def test_a_broken_picture_is_named(folders: Path) -> None:
    (folders / "base" / "b.png").write_bytes(b"not a picture")
    _, made = pictures.from_folders(str(folders / "base"), None, str(folders / "captions.csv"))
    refused(lambda: list(made.arms["base"].batches(3)), "b.png: not a readable image")


def test_rewards_are_matched_by_name_and_judge(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("path,judge,value\nx/b.png,hps,2\nx/a.png,hps,1\na.png,pick,\nb.png,pick,0.5\n")
    found = rewards.scores(str(tmp_path / "r.csv"), ["/far/a.png", "/far/b.png"])
    assert found["hps"].tolist() == [1, 2]
    assert np.isnan(found["pick"][0]) and found["pick"][1] == 0.5
    (tmp_path / "one.jsonl").write_text('{"name": "a.png", "score": 3}\n')
    assert rewards.scores(str(tmp_path / "one.jsonl"), ["a.png"])["reward"].tolist() == [3]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("path,value\na.png,1\n", "has no reward for 1 images (b.png)"),
        ("path,value\na.png,1\na.png,2\nb.png,1\n", "a.png stands there twice"),
        ("path,value\na.png,much\nb.png,1\n", "'much' is not a number"),
        ("path,value\na.png,inf\nb.png,1\n", "'inf' is not a number"),
        ("file,quality\na.png,1\n", "needed: path, value"),
        ("", "has no rows"),
    ],
)
def test_rewards_that_cannot_be_used(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(text)
    refused(lambda: rewards.scores(str(tmp_path / "r.csv"), ["a.png", "b.png"]), says)


def test_prompts_are_distinct_and_keep_their_principles(tmp_path: Path, dataset: Path) -> None:
    (tmp_path / "p.txt").write_text("one\n\n two \none\n", encoding="utf-8")
    assert prompts.load(str(tmp_path / "p.txt"), [], 0) == (["one", "two"], [(), ()])
    assert prompts.load(str(tmp_path / "p.txt"), ["x", "y"], 1) == (["one"], [("x", "y")])
    texts, principles = prompts.load(str(dataset), [], 0)
    assert len(texts) == 4 and all(len(own) == 1 for own in principles)
    (tmp_path / "p.txt").write_bytes(b"\xff\xfe\x00")
    refused(lambda: prompts.load(str(tmp_path / "p.txt"), [], 0), "is UTF-16 text")
    (tmp_path / "p.txt").write_text("\n")
    refused(lambda: prompts.load(str(tmp_path / "p.txt"), [], 0), "holds no prompts")


def test_what_lies_in_a_folder_of_pictures_is_read_by_one_rule(
    folders: Path, make_picture: Callable[..., bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    base = folders / "base"
    for name in (".ipynb_checkpoints/a-checkpoint.png", "__MACOSX/._a.png", "d.jfif", "e.heic"):
        (base / name).parent.mkdir(exist_ok=True)
        (base / name).write_bytes(make_picture(3) if name != "e.heic" else b"\0\0\0\x18ftypheic" + bytes(16))
    (base / "linked").symlink_to(folders / "adapted" / "more")
    assert list(pictures.folder(str(base), "--real")) == ["a.png", "b.png", "d.jfif", "linked/c.jpg", "more/c.jpg"]
    said = capsys.readouterr().err
    assert "hidden folders (2, such as .ipynb_checkpoints)" in said and "pictures in HEIC" in said


def test_a_picture_with_two_captions_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "c.csv"
    table.write_text("file_name,prompt\na.png,a chef\nb.png,x\na.png,a smith\n")
    with pytest.raises(UserError, match=r"c.csv row 2: a.png has another prompt in an earlier row"):
        pictures.captions_of(str(table))
    table.write_text("file_name,prompt\na.png,a chef\na.png,a chef\n")
    assert pictures.captions_of(str(table)) == {"a.png": "a chef"}
