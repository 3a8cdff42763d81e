"""Data sets on the Hugging Face hub as local Parquet files, fetched one by one as they are asked for.

A data set without Parquet files is taken from the hub's own conversion to Parquet. What was fetched before serves
offline. InputError for what the hub does not give.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from datagen.errors import InputError, one_line
from datagen.tables import splits

CONVERTED = "refs/convert/parquet"


def is_id(source: str) -> bool:
    """Whether a source that is not a local path can be the id of a data set: "owner/name"."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", source) is not None


def files_of(source: str, split: str | None, revision: str | None, say: Callable[[str], None]) -> Iterator[Path]:
    """The Parquet files of a split, or of all, downloaded into the hub client's cache; what is odd is said."""
    import huggingface_hub

    try:
        found, names = _listed(huggingface_hub, source, revision)
    except Exception as error:  # the hub client raises many kinds; all mean that the hub cannot be asked
        yield from _fetched_before(huggingface_hub, source, split, revision, error, say)
        return
    for name in splits.choose(names, split, source, say):
        try:
            yield Path(huggingface_hub.hf_hub_download(source, name, repo_type="dataset", revision=found))
        except Exception as error:
            raise InputError(f"{name} of {source} cannot be fetched ({one_line(error)}); try again later") from error


def _listed(client: Any, source: str, revision: str | None) -> tuple[str | None, list[str]]:
    """The revision to read and its Parquet files."""
    for wanted in (revision, CONVERTED):
        found = client.HfApi().dataset_info(source, revision=wanted, timeout=20)
        names = sorted(file.rfilename for file in found.siblings if file.rfilename.endswith(".parquet"))
        if names:
            return wanted, names
    raise InputError("it has no Parquet files")


def _fetched_before(
    client: Any, source: str, split: str | None, revision: str | None, error: Exception, say: Callable[[str], None]
) -> list[Path]:
    """The files of an earlier download. InputError if there is none."""
    for wanted in (revision, CONVERTED):
        try:
            folder = Path(
                client.snapshot_download(source, repo_type="dataset", revision=wanted, local_files_only=True)
            )
        except Exception:
            continue
        if names := sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet")):
            taken = splits.choose(names, split, source, say)
            say(f"the hub cannot be asked: {len(taken)} files of {source} fetched before are used")
            return [folder / name for name in taken]
    raise InputError(
        f"no data at {source}: there is no such file or folder, and the Hugging Face hub does not give a data set of "
        f"that name ({one_line(error)}); check the name, the connection and, for a private set, `hf auth login`"
    ) from error
