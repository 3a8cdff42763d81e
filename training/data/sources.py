"""What a source of pairs is: Parquet or Arrow files, WebDataset tars, tables of file names; and which split they are.

A file belongs to the split that its name or its folder begins with; where none is named after a split, all belong.
What lies in a folder and is passed over is said.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from datagen.tables import folders, saved, splits, tars
from datagen.tables.folders import NEITHER, shown
from datagen.tables.rows import IN_TEXT, SUFFIXES
from training.errors import TrainingError

METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")  # of an ImageFolder, beside its images
TABLES = (*SUFFIXES, *folders.ARCHIVES)
_NUMBERED = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.[a-z]+$")


def find_files(source: str, split: str) -> list[Path]:
    """The tables of a split: those named after it, or all if none is named after a split. Raises TrainingError."""
    root = Path(source).expanduser()
    several = tars.expand(root)
    if several != [root]:
        root = several[0].parent
        return [root / name for name in _of_split([str(path.relative_to(root)) for path in several], split, source)]
    if root.is_file():
        if not root.name.lower().endswith(TABLES):
            raise TrainingError(f"{source} is no table of pairs: {', '.join(TABLES)} are read")
        return [root]
    if not root.is_dir():
        raise TrainingError(f"no data at {source}: give a dataset folder, a Parquet file or a WebDataset tar")
    found = folders.walk(root)
    tables = saved.files(root) or found.tables or found.archives or _in_text(found)
    if not tables:
        raise TrainingError(
            f"no Parquet file under {source}: give a dataset folder (such as OUT/dataset), a folder of images with "
            f"{METADATA[0]}, or a table{_instead(found, root)}"
        )
    _say_passed_over(found, tables, root)
    names = {path.relative_to(root).as_posix(): path for path in tables}
    taken = _of_split(sorted(names), split, source)
    _say_missing(taken, source)
    return [names[name] for name in taken]


def _of_split(names: Sequence[str], split: str, source: str) -> list[str]:
    return splits.choose(names, split, source, lambda line: print(line, file=sys.stderr))


def _in_text(found: folders.Found) -> list[Path]:
    """The tables in text: an ImageFolder's metadata, or whatever there is."""
    tables = [path for path in found.passed_over.get(NEITHER, []) if path.suffix.lower() in IN_TEXT]
    return [path for path in tables if path.name in METADATA] or tables


def _say_passed_over(found: folders.Found, tables: Sequence[Path], root: Path) -> None:
    """Say which tables are not read, and why."""
    left, taken = folders.Found(), set(tables)
    for reason, paths in found.passed_over.items():
        reason = "tables in text beside others" if reason == NEITHER else reason
        left.pass_over(reason, *(path for path in paths if path.suffix.lower() in TABLES and path not in taken))
    left.pass_over("Parquet beside what save_to_disk wrote", *(path for path in found.tables if path not in taken))
    left.pass_over("archives beside tables", *(path for path in found.archives if path not in taken))
    for note in left.notes(root):
        print(note, file=sys.stderr)


def _instead(found: folders.Found, root: Path) -> str:
    """What there is, where nothing can be used."""
    kinds = [f"{len(found.images)} images"] * bool(found.images) + [f"{len(found.texts)} texts"] * bool(found.texts)
    kinds += [f"{reason}, such as {shown(paths[0], root)}" for reason, paths in sorted(found.passed_over.items())]
    return f"; it holds {'; '.join(kinds)}" if kinds else ""


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
