"""Embeddings of images that were kept, one row an image: judges that read them need no picture any more.

Columns: `path`, `prompt` and `error` (null where there is none), the `digest` of the image's file, which older tables
lack, what identifies the row, and for each network "embedding:" and its identity, a list of float32 as the network
gives it, not of length 1; null where there is none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from datagen.errors import InputError, one_line
from datagen.tables import parquet
from datagen.tables.items import Input, Item, Wanted

PREFIX = "embedding:"
COLUMNS = ("path", "prompt", "error")
DIGEST = "digest"  # of the image's file
AT_ONCE = 1024  # rows in memory; 3 MB of CLIP's


def backbones(columns: Collection[str]) -> tuple[str, ...]:
    """The networks of a table with these columns; () if it is none of kept embeddings."""
    found = tuple(name.removeprefix(PREFIX) for name in columns if name.startswith(PREFIX))
    return found if set(COLUMNS) <= set(columns) else ()


def schema(networks: Sequence[str], ids: Sequence[str]) -> pa.Schema:
    """The columns of such a table."""
    texts = [
        pa.field("path", pa.string(), nullable=False),
        *((name, pa.string()) for name in (*COLUMNS[1:], DIGEST, *ids)),
    ]
    return pa.schema([*texts, *((PREFIX + name, pa.list_(pa.float32())) for name in networks)])


def read(path: Path, wanted: Wanted) -> Input:
    """The images of a file of kept embeddings, as items without a picture."""
    names = parquet.columns(path).names
    asked = {"--image-column": wanted.image, "--prompt-column": wanted.prompt, "--pairs": wanted.pairs or None}
    for option, value in asked.items():
        if value is not None:
            raise InputError(f"{path} holds embeddings and no images: leave out {option}")
    networks = backbones(names)
    ids = tuple(name for name in names if name not in (*COLUMNS, DIGEST) and not name.startswith(PREFIX))
    more = (*([DIGEST] if DIGEST in names else []), *ids)
    _check(path, networks, (*COLUMNS, *more))
    with parquet.open_file(path) as file:
        total = int(file.metadata.num_rows)
    if not total:
        raise InputError(f"{path} has no rows")
    return Input(total, _items(path, networks, ids, more), [path], [], ids, backbones=networks)


def _check(path: Path, networks: Sequence[str], texts: Sequence[str]) -> None:
    """InputError for columns of other types."""
    types = parquet.columns(path)
    for name in texts:
        parquet.check_text(path, types, name)
    for name in (PREFIX + network for network in networks):
        kind = types.field(name).type
        if not (pa.types.is_list(kind) and pa.types.is_floating(kind.value_type)):
            raise InputError(f"{path}: column {name!r} is {kind}, not lists of float32")


def _items(path: Path, networks: Sequence[str], ids: Sequence[str], more: Sequence[str]) -> Iterator[Item]:
    with parquet.open_file(path) as file:
        try:
            for batch in file.iter_batches(AT_ONCE, use_threads=False):
                vectors = [_vectors(path, batch, network) for network in networks]
                texts = {name: batch.column(name).to_pylist() for name in (*COLUMNS, *more)}
                for row in range(batch.num_rows):
                    made = {name: own[row] for name, own in zip(networks, vectors, strict=True)}
                    yield _item({name: own[row] for name, own in texts.items()}, made, ids)
        except UnicodeDecodeError as error:
            raise InputError(f"{path} holds text that is not UTF-8") from error
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{path} is damaged: {one_line(error)}") from error


def _item(texts: dict[str, str | None], vectors: dict[str, Any], ids: Sequence[str]) -> Item:
    """An image; without an embedding nobody can judge it, without a prompt those alone that read none."""
    error = texts["error"]
    for network, vector in vectors.items():
        if vector is None:
            error, vectors = error or f"no embedding by {network}", {}
            break
    if texts["prompt"] is None and error is None:
        error = "no prompt: none was kept with the embedding"
    own = {name: value for name in ids if (value := texts[name]) is not None}
    return Item(texts["path"] or "", None, texts["prompt"], error, None, own, vectors, digest=texts.get(DIGEST))


def _vectors(path: Path, batch: pa.RecordBatch, network: str) -> list[Any]:
    """The embeddings of some rows by one network, None where there is none; views of one array."""
    import numpy as np

    column = batch.column(PREFIX + network)
    lengths = np.asarray(column.value_lengths().fill_null(0))
    width = int(lengths.max(initial=0))
    flat = column.flatten()
    values = flat.to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    there = column.is_valid().to_numpy(zero_copy_only=False)
    if not there.any():
        return [None] * len(there)
    if width and set(lengths[there].tolist()) == {width} and np.isfinite(values).all():
        rows, places = values.reshape(-1, width), np.cumsum(there) - 1
        return [rows[place] if valid else None for place, valid in zip(places, there, strict=True)]
    raise InputError(f"{path}: column {PREFIX + network!r} holds lists of several lengths, or no finite numbers")
