"""Every bad input ends in one line that names the place and says what is accepted."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from training import data
from training.errors import TrainingError

Picture = Callable[..., bytes]
Rows = Callable[..., list[dict[str, Any]]]


def write(folder: Path, rows: list[dict[str, Any]], name: str = "train-0.parquet") -> str:
    pq.write_table(pa.Table.from_pylist(rows), folder / name)
    return str(folder)


def pick(make_picture: Picture, first: Any, second: Any) -> dict[str, Any]:
    images = {"jpg_0": make_picture(1), "jpg_1": make_picture(2)}
    return {"caption": "x", **images, "label_0": first, "label_1": second}


def test_missing_places_and_columns_are_named(tmp_path: Path, make_rows: Rows) -> None:
    with pytest.raises(TrainingError, match="no data at"):
        data.load(str(tmp_path / "nowhere"))
    with pytest.raises(TrainingError, match="no Parquet file"):
        data.load(str(tmp_path))
    source = write(tmp_path, make_rows(1))
    with pytest.raises(TrainingError, match="no 'test' split; it has train"):
        data.load(source, split="test")


@pytest.mark.parametrize(
    ("columns", "missing"),
    [
        (["foo"], "prompt, chosen, rejected"),
        (["prompt", "chosen"], "rejected"),
        (["caption", "jpg_0", "jpg_1", "label_0"], "label_1"),
    ],
)
def test_what_is_missing_of_the_nearest_schema_is_named(columns: list[str], missing: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=rf"columns {', '.join(columns)}; needed: prompt, .* lacks {missing}$"):
        data.load(write(tmp_path, [dict.fromkeys(columns, 1)]))


@pytest.mark.parametrize("content", [b"", b"PAR1 and then nothing"])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "train-0.parquet").write_bytes(content)
    with pytest.raises(TrainingError, match=r"train-0\.parquet is (not a readable Parquet file|empty)"):
        data.load(str(tmp_path))


def test_damage_behind_the_footer_is_named(tmp_path: Path, make_rows: Rows) -> None:
    path = Path(write(tmp_path, make_rows(50))) / "train-0.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:100] + bytes(len(content) // 2) + content[100 + len(content) // 2 :])
    with pytest.raises(TrainingError, match=r"train-0\.parquet"):
        data.load(str(tmp_path))


def test_an_empty_split_is_no_data(tmp_path: Path, make_rows: Rows) -> None:
    table = pa.Table.from_pylist(make_rows(1))
    pq.write_table(table.slice(0, 0), tmp_path / "train-0.parquet")
    with pytest.raises(TrainingError, match="no usable pairs in split 'train': it has no rows"):
        data.load(str(tmp_path))


def test_ties_alone_are_no_data(tmp_path: Path, make_picture: Picture) -> None:
    with pytest.raises(TrainingError, match="all its 2 rows are ties"):
        data.load(write(tmp_path, [pick(make_picture, 0.5, 0.5), pick(make_picture, 1.0, 1.0)]))


@pytest.mark.parametrize("label", [None, float("nan")])
def test_a_missing_label_is_named(label: Any, tmp_path: Path, make_picture: Picture) -> None:
    with pytest.raises(TrainingError, match="row 1: label_1 must be a number, not"):
        data.load(write(tmp_path, [pick(make_picture, 1.0, 0.0), pick(make_picture, 1.0, label)]))


def test_labels_in_words_are_refused(tmp_path: Path, make_picture: Picture) -> None:
    with pytest.raises(TrainingError, match="label_0 must be a number, not string"):
        data.load(write(tmp_path, [pick(make_picture, "first", "second")]))


@pytest.mark.parametrize(
    ("column", "bad", "accepted"),
    [
        ("probability", float("nan"), "a number from 0 to 1"),
        ("probability", 1.1, "a number from 0 to 1"),
        ("probability", -0.1, "a number from 0 to 1"),
        ("probability", None, "a number from 0 to 1"),
        ("weight", -1.0, "a number of at least 0"),
        ("weight", float("inf"), "a number of at least 0"),
        ("chosen_reward", float("nan"), "a number"),
        ("rejected_reward", float("-inf"), "a number"),
    ],
)
def test_bad_numbers_are_named_by_row(
    column: str, bad: float | None, accepted: str, tmp_path: Path, make_rows: Rows
) -> None:
    rows = [row | {column: value} for row, value in zip(make_rows(2), (0.9, bad), strict=True)]
    with pytest.raises(TrainingError, match=rf"train-0\.parquet row 1: {column} must be {accepted}, not"):
        data.load(write(tmp_path, rows))


@pytest.mark.parametrize("column", ["probability", "weight", "chosen_reward", "chosen_prompt"])
def test_a_column_in_some_files_only_is_refused(column: str, tmp_path: Path, make_rows: Rows) -> None:
    value = "text" if column == "chosen_prompt" else 0.5
    write(tmp_path, [row | {column: value} for row in make_rows(2)], "train-0.parquet")
    write(tmp_path, make_rows(2, 2), "train-1.parquet")
    with pytest.raises(TrainingError, match=f"some files have a column '{column}' and others have not"):
        data.load(str(tmp_path))


@pytest.mark.parametrize("cell", [{"bytes": None, "path": "x.png"}, {"bytes": b"", "path": "x.png"}])
def test_a_cell_without_bytes_is_named(cell: dict[str, Any], tmp_path: Path, make_rows: Rows) -> None:
    rows = make_rows(2)
    rows[1]["chosen"] = cell
    with pytest.raises(TrainingError, match=r"train-0\.parquet row 1: chosen holds no image bytes"):
        data.load(write(tmp_path, rows))


def test_a_prompt_that_is_no_text_is_named(tmp_path: Path, make_rows: Rows) -> None:
    rows = make_rows(2)
    rows[0]["prompt"] = None
    with pytest.raises(TrainingError, match="row 0: prompt must be a text"):
        data.load(write(tmp_path, rows))


def test_what_is_no_image_is_found_before_training(tmp_path: Path, make_rows: Rows) -> None:
    rows = make_rows(2)
    rows[1]["rejected"] = {"bytes": b"GIF?", "path": "x.png"}
    with pytest.raises(TrainingError, match="row 1: rejected: not a readable image"):
        data.load(write(tmp_path, rows))


def test_a_truncated_image_is_found_when_it_is_decoded(make_picture: Picture) -> None:
    with pytest.raises(TrainingError, match="here: not a readable image"):
        data.decode(make_picture(1)[:-30], "here")


def test_a_picture_beyond_all_measure_is_refused(make_picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datagen.images.decode.MAX_PIXELS", 64 * 63)
    with pytest.raises(TrainingError, match="here: not a readable image .the image is too large: 64×64"):
        data.decode(make_picture(1), "here")


def test_images_of_two_shapes_are_refused_and_of_two_sizes_named(
    tmp_path: Path, make_rows: Rows, make_picture: Picture, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = make_rows(3)
    rows[1]["rejected"] = {"bytes": make_picture(1, (128, 128)), "path": "x.png"}
    assert len(data.load(write(tmp_path, rows))) == 3
    assert "1 of 3 pairs have images of two sizes" in capsys.readouterr().err
    rows[2]["rejected"] = {"bytes": make_picture(1, (64, 48)), "path": "x.png"}
    with pytest.raises(TrainingError, match=r"pair 2 \(train-0.* images of two sizes, 64×64 and 64×48; crop them"):
        data.load(write(tmp_path, rows))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "LA"])
def test_other_colour_modes_become_rgb(mode: str, make_picture: Picture) -> None:
    array = data.to_array(data.decode(make_picture(1, mode=mode), "x"), 64)
    assert array.shape == (3, 64, 64) and array.dtype == np.float32


def test_sixteen_bits_of_grey_are_scaled() -> None:
    grey = np.linspace(0, 65535, 64 * 64).reshape(64, 64)
    stream = io.BytesIO()
    Image.fromarray(grey.astype(np.uint16)).save(stream, "PNG")
    array = data.to_array(data.decode(stream.getvalue(), "x"), 64)
    np.testing.assert_allclose(array[1], grey / 32767.5 - 1, atol=0.01)


def test_a_jpeg_in_cmyk_becomes_rgb(make_picture: Picture) -> None:
    stream = io.BytesIO()
    Image.open(io.BytesIO(make_picture(1))).convert("CMYK").save(stream, "JPEG", quality=95)
    arrays = [data.to_array(data.decode(content, "x"), 64) for content in (stream.getvalue(), make_picture(1))]
    assert np.abs(arrays[0] - arrays[1]).mean() < 0.1


def test_images_are_scaled_by_their_short_side_and_cropped(make_picture: Picture) -> None:
    array = data.to_array(data.decode(make_picture(1, (200, 80)), "x"), 32)
    assert array.shape == (3, 32, 32)
    assert -1.0 <= array.min() <= array.max() <= 1.0
