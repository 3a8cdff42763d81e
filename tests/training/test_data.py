"""Reading pairs: both schemas, every bad input named in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from training import cache, data, diffusion
from training.config import TrainingError

Picture = Callable[..., bytes]
Rows = Callable[..., list[dict[str, object]]]


def write(folder: Path, rows: list[dict[str, object]], name: str = "train-0.parquet") -> str:
    pq.write_table(pa.Table.from_pylist(rows), folder / name)
    return str(folder)


def test_splits_are_kept_apart(dataset: Path) -> None:
    assert len(data.load(str(dataset))) == 12
    assert len(data.load(str(dataset), "test")) == 4
    assert data.load(str(dataset), limit=3).digest() != data.load(str(dataset)).digest()


def test_pick_a_pic_winner_is_the_higher_label(tmp_path: Path, make_picture: Picture) -> None:
    first, second = make_picture(1), make_picture(2)
    labels = [(1, 0), (0.0, 1.0), (0.5, 0.5), (1.0, 1.0)]
    rows: list[dict[str, object]] = [
        {"caption": "x", "jpg_0": first, "jpg_1": second, "label_0": float(a), "label_1": float(b)} for a, b in labels
    ]
    pairs = data.load(write(tmp_path, rows, "shard.parquet"))
    assert pairs.chosen == [first, second]
    assert pairs.rejected == [second, first]


def test_ties_alone_are_no_data(tmp_path: Path, make_picture: Picture) -> None:
    row: dict[str, object] = {
        "caption": "x",
        "jpg_0": make_picture(1),
        "jpg_1": make_picture(2),
        "label_0": 0.5,
        "label_1": 0.5,
    }
    with pytest.raises(TrainingError, match="ties"):
        data.load(write(tmp_path, [row]))


def test_missing_places_and_columns_are_named(tmp_path: Path, make_rows: Rows) -> None:
    with pytest.raises(TrainingError, match="no data at"):
        data.load(str(tmp_path / "nowhere"))
    with pytest.raises(TrainingError, match="no Parquet file"):
        data.load(str(tmp_path))
    source = write(tmp_path, make_rows(1))
    with pytest.raises(TrainingError, match="no 'test' split"):
        data.load(source, "test")
    (tmp_path / "other").mkdir()
    with pytest.raises(TrainingError, match="columns foo; needed: prompt, chosen, rejected"):
        data.load(write(tmp_path / "other", [{"foo": 1}]))


@pytest.mark.parametrize("content", [b"", b"PAR1 and then nothing"])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "train-0.parquet").write_bytes(content)
    with pytest.raises(TrainingError, match=r"train-0\.parquet is not a readable Parquet file"):
        data.load(str(tmp_path))


def test_cells_without_text_or_bytes_are_named(tmp_path: Path, make_rows: Rows) -> None:
    rows = make_rows(2)
    rows[1]["chosen"] = {"bytes": None, "path": "x.png"}
    with pytest.raises(TrainingError, match="row 1: chosen holds no image bytes"):
        data.load(write(tmp_path, rows))
    rows = make_rows(2)
    rows[0]["prompt"] = None
    with pytest.raises(TrainingError, match="row 0: prompt must be a text"):
        data.load(write(tmp_path, rows))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA"])
def test_other_colour_modes_become_rgb(mode: str, make_picture: Picture) -> None:
    assert data.to_array(data.decode(make_picture(1, mode=mode), "x"), 64).shape == (3, 64, 64)


def test_images_are_scaled_by_their_short_side_and_cropped(make_picture: Picture) -> None:
    array = data.to_array(data.decode(make_picture(1, (200, 80)), "x"), 32)
    assert array.shape == (3, 32, 32)
    assert -1.0 <= array.min() <= array.max() <= 1.0


def test_broken_and_uneven_images_are_named(
    tmp_path: Path, sd15_folder: Path, make_rows: Rows, make_picture: Picture
) -> None:
    model = diffusion.load(str(sd15_folder))
    rows = make_rows(2)
    rows[1]["rejected"] = {"bytes": make_picture(1)[:60], "path": "x.png"}
    with pytest.raises(TrainingError, match="pair 1, rejected image: not a readable image"):
        cache.build(model, data.load(write(tmp_path, rows)), 64)
    rows[1]["rejected"] = {"bytes": make_picture(1, (64, 32)), "path": "x.png"}
    with pytest.raises(TrainingError, match="images of two sizes, 64×64 and 64×32"):
        cache.build(model, data.load(write(tmp_path, rows)), 64)


def test_cache_samples_the_posterior_around_its_mean(sd15_folder: Path, dataset: Path) -> None:
    model = diffusion.load(str(sd15_folder))
    pairs = data.load(str(dataset))
    store = cache.build(model, pairs, 64)
    rows = torch.tensor([3, 0])
    drawn = torch.stack([store.latents(rows, torch.Generator().manual_seed(i)) for i in range(400)])
    assert drawn.shape[1:] == (4, 4, 8, 8)
    mean = torch.cat([store.mean[rows, 0], store.mean[rows, 1]]) * store.scaling_factor
    std = torch.cat([store.std[rows, 0], store.std[rows, 1]]) * store.scaling_factor
    assert ((drawn.mean(0) - mean).abs() < 0.3 * std + 1e-6).all()
    assert len(store.context.hidden) == len({*pairs.prompts, ""})
    hidden, _ = diffusion.encode_text(model, [pairs.prompts[3], pairs.prompts[0]])
    torch.testing.assert_close(store.contexts(rows).hidden, hidden)


def test_sdxl_is_told_size_and_crop(tmp_path: Path, sdxl_folder: Path, make_rows: Rows, make_picture: Picture) -> None:
    rows = make_rows(1)
    for side in ("chosen", "rejected"):
        rows[0][side] = {"bytes": make_picture(1, (96, 128)), "path": "x.png"}
    store = cache.build(diffusion.load(str(sdxl_folder)), data.load(write(tmp_path, rows)), 64)
    context = store.contexts(torch.tensor([0]))
    assert context.time_ids is not None and context.time_ids.tolist() == [[128, 96, 10, 0, 64, 64]]
    assert context.pooled is not None and context.hidden.shape[-1] == 80
