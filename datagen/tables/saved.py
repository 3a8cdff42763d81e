"""Folders that `save_to_disk` of Hugging Face's datasets wrote: Arrow files, and the JSON that names them in order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from datagen.errors import InputError, one_line

STATE = "state.json"  # of one data set
SPLITS = "dataset_dict.json"  # of a folder with one data set a split
INDICES = ("_indices_data_files", "_indices_files")  # of versions that kept a selection apart from its rows


def files(root: Path) -> list[Path]:
    """The Arrow files of such a folder, in order, of all its splits; none if the folder is another.

    InputError for what names them and cannot be read, names other than plain ones, or names files that are not there.
    """
    if (root / STATE).is_file():
        return _of_state(root / STATE)
    if not (root / SPLITS).is_file():
        return []
    names = _json(root / SPLITS).get("splits")
    if not isinstance(names, list) or not all(_plain(name) for name in names):
        raise InputError(f"{root / SPLITS} cannot be read (it lists no splits): save the data set again")
    gone = [name for name in names if not (root / name / STATE).is_file()]
    if gone:
        raise InputError(f"{root / SPLITS} names the split {gone[0]!r}, whose {STATE} is not there: save it again")
    return [file for name in names for file in _of_state(root / name / STATE)]


def _of_state(state: Path) -> list[Path]:
    values = _json(state)
    if any(values.get(name) for name in INDICES):
        raise InputError(
            f"{state} tells of a selection of rows that an old version of datasets kept apart: load the data set, "
            "call flatten_indices() and save it again"
        )
    listed = values.get("_data_files")
    if not isinstance(listed, list) or not all(
        isinstance(part, dict) and _plain(part.get("filename")) for part in listed
    ):
        raise InputError(f"{state} cannot be read (it lists no files): save the data set again")
    found = [state.parent / part["filename"] for part in listed]
    if gone := [path for path in found if not path.is_file()]:
        raise InputError(
            f"{gone[0]} cannot be read ({len(gone)} of {len(found)} files that {STATE} names are not there); copy the "
            "whole folder"
        )
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read ({one_line(error)}): save the data set again") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} cannot be read (it holds no object): save the data set again")
    return value


def _plain(name: Any) -> bool:
    """Whether a name is one of a file or folder right here, as `save_to_disk` writes them."""
    return isinstance(name, str) and bool(name) and Path(name).name == name
