"""Reading pairs from Parquet: both schemas, splits, soft labels, images once each and only when asked for."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training import data
from training.data import image_sources, index

Picture = Callable[..., bytes]
Rows = Callable[..., list[dict[str, Any]]]


def write(folder: Path, rows: list[dict[str, Any]], name: str = "train-0.parquet", **options: Any) -> str:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / name, **options)
    return str(folder)


def picks(make_picture: Picture, labels: list[tuple[float, float]], **more: list[Any]) -> list[dict[str, Any]]:
    """Pick-a-Pic rows, every image another one."""
    return [
        {
            "caption": f"caption {i}",
            "jpg_0": make_picture(2 * i),
            "jpg_1": make_picture(2 * i + 1),
            "label_0": first,
            "label_1": second,
            **{name: values[i] for name, values in more.items()},
        }
        for i, (first, second) in enumerate(labels)
    ]


def contents(pairs: data.Pairs) -> list[tuple[bytes, bytes]]:
    sides = zip(pairs.chosen, pairs.rejected, strict=True)
    return [(pairs.images.bytes(chosen), pairs.images.bytes(rejected)) for chosen, rejected in sides]


def test_splits_are_kept_apart(dataset: Path) -> None:
    assert len(data.load(str(dataset))) == 12
    assert len(data.load(str(dataset), split="test")) == 4
    assert data.load(str(dataset), limit=3).digest() != data.load(str(dataset)).digest()


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train-00000-of-00645-b66ac786bf6fb553.parquet", "train"),
        ("validation-0.parquet", "validation"),
        ("validation_unique-00000-of-00001-33ead111845fc9c4.parquet", "validation_unique"),
        ("default/test_unique/0000.parquet", "test_unique"),
        ("train/shard-7.parquet", "train"),
        ("test.parquet", "test"),
    ],
)
def test_a_split_is_found_by_file_or_folder_and_by_its_whole_name(
    name: str, split: str, tmp_path: Path, make_rows: Rows
) -> None:
    write(tmp_path, make_rows(1), "train-0.parquet")
    write(tmp_path, make_rows(2), name)
    found = [f.relative_to(tmp_path).as_posix() for f in data.find_files(str(tmp_path), split)]
    assert found == sorted({name, "train-0.parquet"} if split == "train" else {name})


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("my-train.parquet", "my-test.parquet"),
        ("Train.parquet", "TEST.parquet"),
        ("data_train.parquet", "data_test.parquet"),
        ("training-0.parquet", "evaluation-0.parquet"),
        ("pairs.train.parquet", "pairs.eval.parquet"),
        ("set a/Training/0.parquet", "set a/Testing/0.parquet"),
    ],
)
def test_a_split_is_told_by_a_word_anywhere_in_the_name(
    train: str, test: str, tmp_path: Path, make_rows: Rows
) -> None:
    write(tmp_path, make_rows(3), train)
    write(tmp_path, make_rows(2, 3), test)
    assert [len(data.load(str(tmp_path), split=split)) for split in ("train", "test")] == [3, 2]


def test_a_file_that_the_others_numbers_name_is_missed(
    tmp_path: Path, make_rows: Rows, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, make_rows(1), "train-00000-of-00003.parquet")
    write(tmp_path, make_rows(1, 1), "train-00002-of-00003.parquet")
    assert len(data.load(str(tmp_path))) == 2
    assert "1 of 3 files of" in (said := capsys.readouterr().err)
    assert "train-00001-of-00003.parquet" in said


def test_files_that_name_no_split_all_belong(tmp_path: Path, make_rows: Rows) -> None:
    write(tmp_path, make_rows(2), "a.parquet")
    write(tmp_path, make_rows(3, 2), "trainer.parquet")
    assert len(data.load(str(tmp_path), split="test")) == 5


def test_the_winner_is_the_higher_label_and_ties_are_counted(tmp_path: Path, make_picture: Picture) -> None:
    rows = picks(make_picture, [(1, 0), (0.0, 1.0), (0.5, 0.5), (1.0, 1.0)])
    pairs = data.load(write(tmp_path, rows, "shard.parquet"))
    assert contents(pairs) == [(make_picture(0), make_picture(1)), (make_picture(3), make_picture(2))]
    assert pairs.prompts == ["caption 0", "caption 1"]
    assert pairs.dropped == 2 and pairs.probabilities is None


def test_integer_labels_are_read_as_float_ones(tmp_path: Path, make_picture: Picture) -> None:
    labels: list[tuple[float, float]] = [(1, 0), (0, 1), (0, 0)]
    whole = data.load(write(tmp_path / "a", picks(make_picture, labels)))
    real = data.load(write(tmp_path / "b", picks(make_picture, [(float(a), float(b)) for a, b in labels])))
    assert whole.digest() == real.digest()


def test_shares_of_votes_are_probabilities(tmp_path: Path, make_picture: Picture) -> None:
    pairs = data.load(write(tmp_path, picks(make_picture, [(0.2, 0.8), (1.0, 0.0)])))
    assert pairs.probabilities == [0.8, 1.0]
    scores = data.load(write(tmp_path, picks(make_picture, [(21.5, 22.5), (1.0, 0.0)])))
    assert scores.probabilities is None


def test_a_ties_image_is_never_read(tmp_path: Path, make_picture: Picture) -> None:
    rows = picks(make_picture, [(1, 0), (0.5, 0.5)])
    rows[1]["jpg_0"] = b"not an image"
    pairs = data.load(write(tmp_path, rows))
    assert len(pairs) == 1 and len(pairs.images) == 2


def test_numbers_and_captions_are_read_and_belong_to_the_digest(tmp_path: Path, make_rows: Rows) -> None:
    plain = data.load(write(tmp_path / "plain", make_rows(2)))
    assert plain.probabilities is None and plain.weights is None and plain.chosen_captions is None
    more: dict[str, list[Any]] = {
        "probability": [0.9, 0.8],
        "weight": [1, 2],
        "chosen_reward": [3.0, 4.0],
        "rejected_reward": [-1.0, 0.5],
        "chosen_prompt": ["a", "b"],
        "rejected_prompt": ["c", "d"],
    }
    digests = {plain.digest()}
    for name, values in more.items():
        rows = [row | {name: value} for row, value in zip(make_rows(2), values, strict=True)]
        digests.add(data.load(write(tmp_path / name, rows)).digest())
    assert len(digests) == 1 + len(more)
    rows = [row | {name: more[name][i] for name in more} for i, row in enumerate(make_rows(2))]
    full = data.load(write(tmp_path / "full", rows))
    assert (full.probabilities, full.weights) == ([0.9, 0.8], [1.0, 2.0])
    assert (full.chosen_rewards, full.rejected_rewards) == ([3.0, 4.0], [-1.0, 0.5])
    assert (full.chosen_captions, full.rejected_captions) == (["a", "b"], ["c", "d"])


def test_the_digest_follows_every_image_and_not_the_place(tmp_path: Path, make_rows: Rows) -> None:
    rows = make_rows(3)
    first = data.load(write(tmp_path / "a", rows))
    assert data.load(write(tmp_path / "b" / "c", rows, row_group_size=1)).digest() == first.digest()
    rows[2]["chosen"], rows[2]["rejected"] = rows[2]["rejected"], rows[2]["chosen"]
    assert data.load(write(tmp_path / "d", rows)).digest() != first.digest()


def test_an_image_of_many_pairs_is_kept_once(tmp_path: Path, make_rows: Rows, make_picture: Picture) -> None:
    rows = make_rows(4)
    for row in rows:
        row["chosen"] = {"bytes": make_picture(99), "path": "x.png"}
    pairs = data.load(write(tmp_path, rows))
    assert len(pairs.images) == 5 and set(pairs.chosen) == {0}
    assert pairs.images.hashes[0] == hashlib.sha256(make_picture(99)).hexdigest()[:32]


@pytest.mark.parametrize("group", [1, 3, 1000])
def test_bytes_come_in_any_order_from_any_row_group(
    group: int, tmp_path: Path, make_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_sources, "WINDOW", 2)
    rows = make_rows(8)
    pairs = data.load(write(tmp_path, rows, row_group_size=group))
    for i in (7, 0, 3, 2, 2, 5, 6, 1, 4):
        assert pairs.images.bytes(pairs.rejected[i]) == rows[i]["rejected"]["bytes"]
        assert pairs.images.bytes(pairs.chosen[i]) == rows[i]["chosen"]["bytes"]
        assert pairs.images.where(pairs.rejected[i]) == f"train-0.parquet row {i}: rejected"


def test_a_limit_leaves_further_files_unread(tmp_path: Path, make_rows: Rows) -> None:
    write(tmp_path, make_rows(3), "train-0.parquet")
    (tmp_path / "train-1.parquet").write_bytes(b"not downloaded yet")
    assert len(data.load(str(tmp_path), limit=3)) == 3
    assert len(data.load(str(tmp_path), limit=2)) == 2


def test_hashes_of_a_large_file_are_remembered_until_it_changes(
    tmp_path: Path, make_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "WORTH", 0)
    path = Path(write(tmp_path, make_rows(3))) / "train-0.parquet"
    os.utime(path, (time.time() - 60,) * 2)
    first = data.load(str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(image_sources.ParquetSource, "open", lambda self: pytest.fail("the images were read again"))
        again = data.load(str(tmp_path))
    assert again.digest() == first.digest() and again.images.sizes == first.images.sizes
    write(tmp_path, make_rows(3, 5))
    os.utime(path, (time.time() - 60,) * 2)  # the same age again, and the same length
    assert data.load(str(tmp_path)).digest() != first.digest()


def test_a_broken_memory_is_made_anew(tmp_path: Path, make_rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "WORTH", 0)
    monkeypatch.setenv("DATAGEN_TRAINING_CACHE", str(tmp_path / "cache"))
    path = Path(write(tmp_path, make_rows(3))) / "train-0.parquet"
    os.utime(path, (time.time() - 60,) * 2)
    first = data.load(str(tmp_path / "train-0.parquet"))
    (note,) = (tmp_path / "cache" / "facts").iterdir()
    for damage in (b"", note.read_bytes()[:-1], b"no array"):
        note.write_bytes(damage)
        assert data.load(str(path)).digest() == first.digest()
    assert len(note.read_bytes()) > 60


def test_rows_of_a_pool_share_their_rejected_images_across_files(tmp_path: Path, make_rows: Rows) -> None:
    rows = [row | {"pool": pool} for row, pool in zip(make_rows(5), ("a", "a", "b", "a", ""), strict=True)]
    write(tmp_path, rows[:2], "train-0.parquet")
    pairs = data.load(write(tmp_path, rows[2:], "train-1.parquet"))
    first, second, third, fourth, fifth = pairs.rejected
    assert pairs.partners == [[first, second, fourth]] * 2 + [[third], [first, second, fourth], [fifth]]
    assert pairs.digest() != data.load(write(tmp_path / "b", [row | {"pool": ""} for row in rows])).digest()
    assert data.load(write(tmp_path / "c", make_rows(5))).partners is None


def test_a_column_that_nobody_reads_is_not_in_the_digest(tmp_path: Path, make_rows: Rows) -> None:
    plain = data.load(write(tmp_path / "a", make_rows(3))).digest()
    other = [row | {"kind": "prefer", "width": 64} for row in make_rows(3)]
    assert data.load(write(tmp_path / "b", other)).digest() == plain
