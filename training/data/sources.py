"""What a source of pairs is: Parquet or Arrow files, tables of file names, LiVO's folders; and which split they are.

A file belongs to the split that its name or its folder begins with; where none is named after a split, all belong.
What lies in a folder and is passed over is said.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from datagen.tables import folders, splits
from datagen.tables.folders import NEITHER, shown
from datagen.tables.rows import SUFFIXES
from training.errors import TrainingError, one_line

METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")  # of an ImageFolder, beside its images
TABLES = (".parquet", ".arrow", ".csv", ".tsv", ".jsonl")
SAVED = "state.json"  # of a folder that `save_to_disk` wrote: names its .arrow files
_NUMBERED = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.[a-z]+$")
_NAME = re.compile(r"((?:train|test|validation|valid|val|dev)(?:_[a-z]+)*)(?=[-.]|_?\d|$)")


def find_files(source: str, split: str) -> list[Path]:
    """The tables of a split: those named after it, or all if none is named after a split. Raises TrainingError."""
    root = Path(source).expanduser()
    if root.is_file():
        if root.suffix.lower() not in TABLES:
            raise TrainingError(f"{source} is no table of pairs: {', '.join(TABLES)} are read")
        return [root]
    if not root.is_dir():
        raise TrainingError(f"no data at {source}: give a dataset folder or a Parquet file")
    found = folders.walk(root)
    tables = _saved(root) or found.tables or _in_text(found)
    if not tables:
        raise TrainingError(
            f"no Parquet file under {source}: give a dataset folder (such as OUT/dataset), a folder of images with "
            f"{METADATA[0]}, or a table{_instead(found, root)}"
        )
    _say_passed_over(found, tables, root)
    names = {path.relative_to(root).as_posix(): path for path in tables}
    taken = of_split(sorted(names), split, source)
    _say_missing(taken, source)
    return [names[name] for name in taken]


def _saved(root: Path) -> list[Path]:
    """The .arrow files that `save_to_disk` wrote, in the order that it names; of a set of splits one folder each."""
    whole = (root / "dataset_dict.json").is_file()
    files = []
    for state in [root / SAVED] if (root / SAVED).is_file() else sorted(root.glob(f"*/{SAVED}")) * whole:
        try:
            listed = json.loads(state.read_text(encoding="utf-8-sig")).get("_data_files", [])
            files += [state.parent / part["filename"] for part in listed]
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise TrainingError(f"{state} cannot be read ({one_line(error)}): save the data set again") from error
    return files


def _in_text(found: folders.Found) -> list[Path]:
    """The tables in text: an ImageFolder's metadata, or whatever there is."""
    tables = [path for path in found.passed_over.get(NEITHER, []) if path.suffix.lower() in SUFFIXES]
    return [path for path in tables if path.name in METADATA] or tables


def _say_passed_over(found: folders.Found, tables: Sequence[Path], root: Path) -> None:
    """Say which tables are not read, and why."""
    left, taken = folders.Found(), set(tables)
    for reason, paths in found.passed_over.items():
        reason = "tables in text beside others" if reason == NEITHER else reason
        left.pass_over(reason, *(path for path in paths if path.suffix.lower() in TABLES and path not in taken))
    left.pass_over("Parquet beside what save_to_disk wrote", *(path for path in found.tables if path not in taken))
    for note in left.notes(root):
        print(note, file=sys.stderr)


def _instead(found: folders.Found, root: Path) -> str:
    """What there is, where nothing can be used."""
    kinds = [f"{len(found.images)} images"] * bool(found.images) + [f"{len(found.texts)} texts"] * bool(found.texts)
    kinds += [f"{reason}, such as {shown(paths[0], root)}" for reason, paths in sorted(found.passed_over.items())]
    return f"; it holds {'; '.join(kinds)}" if kinds else ""


def of_split(names: Sequence[str], split: str, source: str) -> list[str]:
    """Those of the relative file names that belong to a split. Raises TrainingError if others do and none of them."""
    splits = {name: _split_of(PurePosixPath(name)) for name in names}
    found = [name for name in names if splits[name] == split]
    others = sorted({other for other in splits.values() if other})
    if others and not found:
        raise TrainingError(f"{source} has no {split!r} split; it has {', '.join(others)}")
    if found and (stray := [name for name in names if splits[name] is None]):
        print(f"{len(stray)} tables of {source} are of no split and are left out, such as {stray[0]}", file=sys.stderr)
    return found or list(names)


def _split_of(name: PurePosixPath) -> str | None:
    """The split that a file is named after, or else the innermost of its folders that is."""
    for part in (name.name, *reversed(name.parts[:-1])):
        if match := _NAME.match(part.lower()):
            return match.group(1)
        if found := splits.named(part):
            return found
    return None


def _say_missing(names: Sequence[str], source: str) -> None:
    """Say which files are not there that others' numbers name, as after a download that was broken off."""
    found = {name: match for name in names if (match := _NUMBERED.match(name))}
    wanted = {
        f"{match[1]}-{number:05d}-of-{match[3]}{PurePosixPath(name).suffix}"
        for name, match in found.items()
        for number in range(int(match[3]))
    }
    if missing := sorted(wanted - set(names)):
        print(
            f"{len(missing)} of {len(wanted)} files of {source} are missing, the first of them {missing[0]}: what is "
            "there is read",
            file=sys.stderr,
        )
