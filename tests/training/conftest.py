"""A tiny preference dataset in our columns, in a built dataset's layout; the tiny models are in tests/conftest.py."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

PRINCIPLES = ("cracks considered inappropriate", "smoke considered inappropriate")


def png(seed: int, size: tuple[int, int] = (64, 64), mode: str = "RGB") -> bytes:
    """A flat picture with a square on it, encoded as PNG."""
    rng = np.random.default_rng(seed)
    pixels = np.full((size[1], size[0], 3), rng.integers(0, 256, 3), dtype=np.uint8)
    pixels[16:40, 16:40] = rng.integers(0, 256, 3)
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, "PNG")
    return stream.getvalue()


def rows(count: int, first: int = 0) -> list[dict[str, object]]:
    """Rows with the columns that the trainer reads; principles alternate."""
    return [
        {
            "prompt": f"a chef in park {i % 5}",
            "principle": PRINCIPLES[i % 2],
            "kind": "avoid",
            "chosen": {"bytes": png(2 * i), "path": f"{i}c.png"},
            "rejected": {"bytes": png(2 * i + 1), "path": f"{i}r.png"},
        }
        for i in range(first, first + count)
    ]


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of the session's own, so that tests neither read nor write the user's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATAGEN_TRAINING_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pairs to train on and four to test on, as `datagen run` lays them out."""
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "data").mkdir()
    pq.write_table(pa.Table.from_pylist(rows(12)), folder / "data" / "train-00000-of-00001.parquet")
    pq.write_table(pa.Table.from_pylist(rows(4, 12)), folder / "data" / "test-00000-of-00001.parquet")
    return folder


@pytest.fixture
def make_picture() -> Callable[..., bytes]:
    """Encoded pictures for tests that build their own Parquet."""
    return png


@pytest.fixture
def make_rows() -> Callable[..., list[dict[str, object]]]:
    """Dataset rows for tests that break them."""
    return rows
