"""Existing images with their prompts, one at a time: from pictures, tables, archives, and folders of any of these.

`open_input` looks first and reads later: what cannot be used at all is an `InputError` at once, what is wrong with one
image is an `Item` with its error.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from datagen.errors import InputError
from datagen.images.decode import SUFFIXES
from datagen.tables import archives, embeddings, folders, hub, image_tables, parquet, rows, saved, sidecars, tars
from datagen.tables.folders import NEITHER, Found, shown
from datagen.tables.items import Input, Wanted

METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")  # of an ImageFolder, beside its images
SCORES = ("path", "judge", "judge_version", "value")  # columns of what `datagen judge` writes
FORMS = "a picture, a table (Parquet, Arrow, CSV, TSV, JSON Lines), a WebDataset tar, or a folder of such"


def open_input(
    path: Path, wanted: Wanted | None = None, prompts: Path | None = None, leave_out: Iterable[Path] = ()
) -> Input:
    """What there is to judge; InputError for what is not a folder, table, archive or data set of images.

    `prompts` is a table of a folder's pictures. `leave_out` are files of our own. A path that is not there may be
    several, in braces ("{000..009}.tar"), or the id of a data set on the Hugging Face hub.
    """
    wanted = wanted or Wanted()
    if not _exists(path):
        return _of_names(path, wanted, prompts)
    if path.is_file():
        if prompts is not None:
            raise InputError(f"--prompts names prompts for a folder of images, but {path} is a file")
        return _of_file(path, wanted)
    found = folders.walk(path, [*leave_out, *([] if prompts is None else [prompts])])
    if prompts is not None:
        return image_tables.read(path, [prompts], wanted, found, of_files=True)
    return _of_folder(path, wanted, found)


def _exists(path: Path) -> bool:
    """Whether there is something; False too for a name that no file can have."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _of_names(path: Path, wanted: Wanted, prompts: Path | None) -> Input:
    """What a name stands for that is no path."""
    try:
        paths = tars.expand(path)
    except (OSError, ValueError):
        paths = [path]
    if paths != [path] and prompts is None:
        if any(not tars.is_tar(one) for one in paths):
            raise InputError(f"{path} names several files: that can be done with WebDataset tars")
        return archives.read(paths[0].parent, paths, wanted, [])
    if hub.is_id(str(path)) and prompts is None:
        notes: list[str] = []
        files = list(hub.files_of(str(path), None, None, notes.append))
        given = image_tables.read(files[0].parent, files, wanted, Found())
        return dataclasses.replace(given, notes=[*notes, *given.notes])
    raise InputError(f"there is no {path}; give {FORMS}")


def _of_file(path: Path, wanted: Wanted) -> Input:
    if tars.is_tar(path):
        return archives.read(path.parent, [path], wanted, [])
    if path.suffix.lower() in folders.TABLES and embeddings.backbones(parquet.columns(path).names):
        return embeddings.read(path, wanted)
    if path.suffix.lower() in rows.SUFFIXES:
        return image_tables.read(path.parent, [path], wanted, Found())
    found = Found()
    folders.sort_in(found, path)
    if not found.images:
        told = f" ({next(iter(found.passed_over))})" if set(found.passed_over) - {NEITHER} else ""
        raise InputError(f"{path} is none of what can be judged{told}: give {FORMS}")
    _refuse_columns(path, wanted)
    return sidecars.one(path)


def _of_folder(path: Path, wanted: Wanted, found: Found) -> Input:
    """A folder by what is in it: saved data sets, tables with images, archives, pictures with metadata or texts."""
    if files := saved.files(path):
        found.pass_over("Parquet beside what save_to_disk wrote", *found.tables)
        return image_tables.read(path, files, wanted, found)
    _set_scores_aside(found)
    metadata = _metadata(found, wanted)
    usable = [table for table in found.tables if table not in metadata and image_tables.usable(table, wanted)]
    with_texts = _with_texts(found)
    for tables, what in ((usable, "Parquet"), (metadata, "a table of them"), (found.archives, "archives")):
        if tables and with_texts:
            raise InputError(
                f"{path} holds both pictures with texts beside them ({shown(with_texts[0], path)}) and {what} "
                f"({shown(tables[0], path)}): give the folder of one, {_instead(what)}"
            )
    if metadata and not usable:
        return image_tables.read(path, metadata, wanted, found)
    if usable or (found.tables and not found.archives and not with_texts):
        return image_tables.read(path, _without_archives(found), wanted, found)
    found.pass_over("Parquet files without a column of images", *found.tables)
    if found.archives:
        found.pass_over("pictures beside archives", *found.images)
        found.pass_over("texts beside archives", *found.texts)
        return archives.read(path, found.archives, wanted, found.notes(path))
    if not found.images:
        return _in_text(path, wanted, found)
    _refuse_columns(path, wanted)
    given = sidecars.read(path, found)
    hints = [f"{table} may hold the prompts: name it with --prompts" for table in _tables_in_text(found)]
    return dataclasses.replace(given, notes=[*given.notes, *hints])


def _instead(what: str) -> str:
    return {"Parquet": "or a Parquet file", "archives": "or an archive"}.get(what, "or name the table with --prompts")


def _set_scores_aside(found: Found) -> None:
    """Leave out tables of scores and of embeddings, which an earlier call may have written into the folder."""
    names = {table: _names_if_readable(table) for table in found.tables}
    scores = [table for table in found.tables if set(SCORES) <= set(names[table])]
    kept = [table for table in found.tables if embeddings.backbones(names[table])]
    found.tables = [table for table in found.tables if table not in (*scores, *kept)]
    found.pass_over("tables of scores", *scores)
    found.pass_over("tables of embeddings: give one by itself", *kept)


def _names_if_readable(table: Path) -> tuple[str, ...]:
    try:
        return rows.read(table).columns
    except InputError:
        return ()  # reading it says what is wrong


def _metadata(found: Found, wanted: Wanted) -> list[Path]:
    """The tables of an ImageFolder that name its pictures and their prompts."""
    named = [path for path in (*_tables_in_text(found), *found.tables) if path.name in METADATA]
    return [path for path in sorted(named) if found.images and _names_pictures(path, wanted)]


def _names_pictures(path: Path, wanted: Wanted) -> bool:
    """Whether a table has columns of files and of prompts."""
    columns = _names_if_readable(path)
    images, layout = wanted.images(columns)
    return bool(images) and (wanted.prompts(columns, layout) in columns or not wanted.texts)


def _with_texts(found: Found) -> list[Path]:
    """The pictures with a text beside them."""
    if not (found.images and found.texts):
        return []
    beside = sidecars.Sidecars(found)
    return [image for image in found.images if beside.of(image)]


def _without_archives(found: Found) -> list[Path]:
    """The tables of a folder, once what lies beside them is set aside."""
    found.pass_over("archives beside Parquet", *found.archives)
    found.pass_over("texts beside Parquet", *(path for path in found.texts if path.suffix.lower() != ".json"))
    return found.tables


def _tables_in_text(found: Found) -> list[Path]:
    return [path for path in found.passed_over.get(NEITHER, []) if path.suffix.lower() in rows.IN_TEXT]


def _in_text(path: Path, wanted: Wanted, found: Found) -> Input:
    """A folder without pictures, Parquet and archives: its tables in text, whose pictures lie elsewhere."""
    if tables := [table for table in _tables_in_text(found) if image_tables.usable(table, wanted)]:
        return image_tables.read(path, tables, wanted, found)
    told = "; ".join(found.notes(path))
    raise InputError(
        f"{path} holds no images ({', '.join(SUFFIXES)}) and no Parquet files{f'; {told}' if told else ''}"
    )


def _refuse_columns(path: Path, wanted: Wanted) -> None:
    """InputError for columns that are asked for where there is no table."""
    if wanted.image is not None:
        raise InputError(
            f"--image-column {wanted.image!r} names a column, but {path} is a folder of images without a table"
        )
    if wanted.pairs:
        raise InputError(f"--pairs needs two images a row, but {path} holds single pictures without a table")


def fingerprint(files: Iterable[Path]) -> str:
    """16 hex digits of the names, sizes and times of an input's files: while they are equal, so are its images."""
    sha = hashlib.sha256()
    for file in files:
        facts = file.stat()
        sha.update(os.fsencode(f"{file} {facts.st_size} {facts.st_mtime_ns}\n"))
    return sha.hexdigest()[:16]
