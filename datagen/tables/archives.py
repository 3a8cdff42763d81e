"""Images in WebDataset archives, one sample after another: pictures by their kind, prompts from .txt or .json.

A sample's columns are its kinds without the picture's suffix: `0001.jpg` is "image", `0001.chosen.jpg` "chosen",
`0001.jpg_0` "jpg_0"; its texts are `txt`, `caption`, `cls`, and the fields of its .json.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from datagen.errors import InputError
from datagen.images.decode import SUFFIXES
from datagen.tables import cells, json_lines, layouts, text
from datagen.tables.folders import shown
from datagen.tables.items import ARCHIVE_PROMPTS, KEY, Input, Item, Wanted, identifies, ids_of, with_prompt
from datagen.tables.layouts import Layout
from datagen.tables.rows import Row
from datagen.tables.tars import Member, Sample, Tar

PICTURES = (*(suffix[1:] for suffix in SUFFIXES), "jfif", "jpe", "pjpeg", "apng")
TEXTS = ("txt", "text", "caption", "prompt", "cls")


def read(root: Path, paths: Sequence[Path], wanted: Wanted, notes: list[str]) -> Input:
    """The images of archives; the headers of all are looked through first."""
    archives = [Tar(path) for path in paths]
    kinds, samples = Counter[str](), 0
    for archive in archives:
        for sample in archive.samples():
            samples += 1
            kinds.update(pictures(sample).keys())
        notes += archive.notes()
    if not samples:
        raise InputError(f"{paths[0]} holds no samples{'; ' + '; '.join(notes) if notes else ''}")
    columns, layout = wanted.images(kinds)
    if not columns:
        raise wanted.refusal(paths[0], kinds)
    first = next(sample for archive in archives for sample in archive.samples())
    ids = (KEY, *(name for name in values(archives[0], first, [])[0] if identifies(name) and name != KEY))
    items = (item for archive in archives for item in _of_archive(root, archive, columns, layout, wanted, ids))
    outline = None if layout is None else _outline(root, archives, layout, wanted, ids)
    return Input(samples * len(columns), items, list(paths), notes, ids, layout, outline)


def _outline(
    root: Path, archives: Sequence[Tar], layout: Layout, wanted: Wanted, ids: tuple[str, ...]
) -> Callable[[], Iterator[Item]]:
    """The samples of pairs without images and prompts."""

    def read() -> Iterator[Item]:
        for archive in archives:
            for sample in archive.samples():
                texts, _ = values(archive, sample, [])
                name = f"{shown(archive.path, root)}#{sample.key}/{layout.first}"
                item = Item(name, None, None, None, None, ids_of(texts, ids))
                try:
                    yield dataclasses.replace(item, label=_label(layout, wanted, texts))
                except cells.Unusable as error:
                    yield dataclasses.replace(item, error=str(error))
            archive.close()

    return read


def _label(layout: Layout, wanted: Wanted, texts: dict[str, Any]) -> float | None:
    """How likely the first image of a sample is the better one; Unusable for a label that is none."""
    if wanted.label is None:
        return layouts.better(layout, texts)
    return layouts.by_column(layout, wanted.label, texts)


def pictures(sample: Sample) -> dict[str, Member]:
    """A sample's pictures by column; of two in one column (`a.jpg` beside `a.png`) neither is taken here."""
    found: dict[str, list[Member]] = {}
    for kind, member in sample.members.items():
        if column := _column(kind):
            found.setdefault(column, []).append(member)
    return {column: members[0] for column, members in found.items() if len(members) == 1}


def fault(sample: Sample, column: str) -> str:
    """Why a sample has no picture in a column."""
    kinds = [kind for kind in sample.members if _column(kind) == column]
    if len(kinds) > 1:
        return f"the sample has several pictures, .{', .'.join(kinds)}"
    return f"the sample holds .{', .'.join(sample.members)} and no picture {column!r}"


def _column(kind: str) -> str | None:
    """The column that a kind of file is, if it is a picture."""
    name, _, last = kind.rpartition(".")
    if last in PICTURES:
        return (f"image_{name}" if name.isdigit() else name) or "image"
    return kind if kind in layouts.IMAGES else None


def values(archive: Tar, sample: Sample, faults: list[str]) -> tuple[dict[str, Any], list[str]]:
    """A sample's texts by column, its key among them; what cannot be read is named in `faults`, which is returned too.

    A file counts before a field of the .json with its name.
    """
    found: dict[str, Any] = {KEY: sample.key}
    fields: dict[str, Any] = {}
    for kind, member in sample.members.items():
        name, _, last = kind.rpartition(".")
        if last not in (*TEXTS, "json") or _column(kind):
            continue
        try:
            content = _text(archive, member)
            if last != "json":
                found[name or last] = content
            elif name:
                found[name] = json_lines.loads(content)
            else:
                fields = _object(json_lines.loads(content))
        except (InputError, cells.Unusable, ValueError) as error:
            faults.append(f".{kind}: {error}")
    return {**fields, **found}, faults


def texts_of(archive: Tar, samples: Iterable[Sample]) -> Iterator[Row]:
    """The texts of samples as rows; the place of one tells what of it cannot be read."""
    for sample in samples:
        found, faults = values(archive, sample, [])
        yield Row(f"sample {sample.key}{f' ({faults[0]})' if faults else ''}", found)
    archive.close()


def _text(archive: Tar, member: Member) -> str:
    if member.size > text.LONGEST:
        raise cells.Unusable(f"{member.size:,} bytes are no text")
    try:
        return archive.read(member).decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise cells.Unusable("it is not UTF-8 text") from error


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise cells.Unusable(f"it holds {cells.kind_of(value)}, not an object")
    return value


def _of_archive(
    root: Path, archive: Tar, columns: tuple[str, ...], layout: Layout | None, wanted: Wanted, ids: tuple[str, ...]
) -> Iterator[Item]:
    for sample in archive.samples():
        texts, faults = values(archive, sample, [])
        prompt = _prompt(texts, layout, wanted)
        label = None
        with contextlib.suppress(cells.Unusable):  # the outline says what is wrong with labels
            label = None if layout is None else _label(layout, wanted, texts)
        for column in columns:
            name = f"{shown(archive.path, root)}#{sample.key}{f'/{column}' if layout else ''}"
            harmful = layouts.is_harmful(layout, texts, column)
            item = Item(name, None, None, None, label, ids_of(texts, ids), harmful=harmful)
            try:
                item = dataclasses.replace(item, source=picture(archive, sample, column))
            except (InputError, cells.Unusable) as error:
                yield dataclasses.replace(item, error=f"no image: {error}")
                continue
            if prompt is None:
                why = faults[0] if faults else f"the sample holds .{', .'.join(sample.members)} and no text"
                yield dataclasses.replace(item, error=f"no prompt: {why}")
            else:
                yield with_prompt(item, prompt)
    archive.close()


def picture(archive: Tar, sample: Sample, column: str) -> bytes:
    """The bytes of a sample's picture; Unusable if it has none or more than one."""
    if sample.repeated:
        raise cells.Unusable(f"the sample has two files .{sample.repeated[0]}")
    member = pictures(sample).get(column)
    if member is None:
        raise cells.Unusable(fault(sample, column))
    return archive.read(member)


def _prompt(texts: dict[str, Any], layout: Layout | None, wanted: Wanted) -> Any:
    """The prompt of a sample; None if it has no such text."""
    if wanted.prompt is not None:
        return texts.get(wanted.prompt)
    names = (*(layout.prompts if layout else ()), *ARCHIVE_PROMPTS)
    return next((texts[name] for name in names if name in texts), None)
