"""Images that tables hold or name, with the prompts of their rows: Parquet, Arrow, CSV, TSV, JSON Lines.

A cell is encoded bytes, a struct with `bytes` or `path`, or the name of a file. Of a set of pairs both images of each
row come one after the other. Addresses are not downloaded: a column of them is refused.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from datagen.errors import InputError
from datagen.tables import cells, layouts, parquet, rows
from datagen.tables.folders import Finder, Found, shown
from datagen.tables.items import FILE_COLUMNS, Input, Item, Wanted, identifies, ids_of, with_prompt
from datagen.tables.layouts import HAS_LABEL, KIND, Layout
from datagen.tables.rows import Row, Table

AT_ONCE = 32  # rows of images in memory


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a table is read: its image columns, that of prompts, what identifies rows; `named` if cells name files."""

    table: Table
    images: tuple[str, ...]
    prompt: str | None
    ids: tuple[str, ...]
    layout: Layout | None
    named: bool
    label: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """All that is read."""
        prompt = () if self.prompt is None else (self.prompt,)
        return tuple(dict.fromkeys((*self.images, *prompt, *self.besides)))

    @property
    def besides(self) -> tuple[str, ...]:
        """What is read of a row besides images and prompt: ids and labels."""
        if self.layout is None:
            return self.ids
        labels = (name for names in self.layout.labels for name in names)
        own = () if self.label is None or self.label in self.images else (self.label,)
        wanted = dict.fromkeys((*self.ids, *labels, HAS_LABEL, KIND, *own))
        return tuple(name for name in wanted if name in self.table.columns)

    def label_of(self, row: Row) -> float | None:
        """How likely the first image of a row is the better one; Unusable for a label that is none."""
        if self.layout is None or self.label is None:
            return None if self.layout is None else layouts.better(self.layout, row.values)
        return layouts.by_column(self.layout, self.label, row.values)

    def rows(self) -> Iterator[Row]:
        """The rows of these columns."""
        return self.table.rows(*self.columns, at_once=None if self.named else AT_ONCE)


def plan(table: Table, wanted: Wanted, of_files: bool = False) -> Plan:
    """How to read a table; InputError if its columns are not what is wanted, such as names, if it is `of_files`."""
    images, layout = wanted.images(table.columns)
    if not images:
        raise wanted.refusal(table.path, table.columns, " with the files" if of_files else "")
    for name in images if of_files else ():
        table.check_text(name)
    prompt = wanted.prompts(table.columns, layout)
    if wanted.texts or wanted.prompt is not None:
        table.check_text(prompt or "prompt")
    types = table.types()
    for name in images if types is not None else ():
        parquet.check_image(table.path, types, name)
    named = types is None or not any(parquet.is_image(types.field(name).type) for name in images)
    known = None if types is None else {field.name: field.type for field in types}
    ids = tuple(
        name
        for name in table.columns
        if identifies(name) and name not in (*images, prompt) and (known is None or not _nested(known[name]))
    )
    if wanted.label is not None and layout is not None:
        table.check(wanted.label, " with labels")
    made = Plan(table, images, prompt, ids, layout, named, wanted.label)
    _refuse_addresses(made, types)
    return made


def _nested(kind: Any) -> bool:
    return not (parquet.is_text(kind) or str(kind).startswith(("int", "uint")))


def _refuse_addresses(plan: Plan, types: Any) -> None:
    """InputError if what names the first image is an address."""
    if types is not None and not any(parquet.names_files(types.field(name).type) for name in plan.images):
        return
    for row in itertools.islice(plan.table.rows(*plan.images, at_once=1), 8):
        for name in plan.images:
            if (file := cells.file_of(row.values[name])) is None:
                continue
            if cells.is_address(file):
                raise InputError(
                    f"{plan.table.path} {row.place}: column {name!r} holds addresses ({file[:80]}), and nothing is "
                    "downloaded: fetch the images first, for example with img2dataset"
                )
            return


def usable(path: Path, wanted: Wanted) -> bool:
    """Whether a table in a folder holds images, by its columns; mere names of files need prompts beside them."""
    try:
        table = rows.read(path)
    except InputError:
        return False  # reading it says what is wrong
    images, layout = wanted.images(table.columns)
    if not images:
        return False
    single = layout is None and images[0] in FILE_COLUMNS[1:] and wanted.image is None
    return not single or wanted.prompts(table.columns, layout) in table.columns


def read(root: Path, paths: Sequence[Path], wanted: Wanted, found: Found, of_files: bool = False) -> Input:
    """The images of tables in the folder `root`, in which `found` lies; names are looked for there and beside them.

    Tables that are `of_files` only name the pictures of that folder.
    """
    plans = [plan(rows.read(path), wanted, of_files) for path in paths]
    total, notes, files = 0, list[str](), dict[Path, None]()
    for one in plans:
        finder = Finder(root, one.table.path, found.images)
        total += len(one.images) * (_look(root, one, finder, notes, files) if one.named else one.table.count())
    if not total:
        raise InputError(f"{paths[0]} has no rows")
    columns = dict.fromkeys(one.prompt for one in plans if one.prompt not in (None, "prompt", wanted.prompt))
    notes += [f"prompts are read from column {name!r}" for name in columns]
    _pass_over(found, paths, files)
    items = (item for one in plans for item in _items(root, one, Finder(root, one.table.path, found.images)))
    ids = tuple(dict.fromkeys(name for one in plans for name in one.ids))
    layout = plans[0].layout
    if any((one.layout is None) != (layout is None) for one in plans):
        raise InputError(f"some tables of {root} hold pairs and others single images: give them one by one")
    outline = None if layout is None else _outline(root, plans)
    return Input(total, items, [*sorted(files), *paths], [*found.notes(root), *notes], ids, layout, outline)


def _outline(root: Path, plans: Sequence[Plan]) -> Callable[[], Iterator[Item]]:
    """The rows of sets of pairs without images and prompts."""

    def read() -> Iterator[Item]:
        for plan in plans:
            name = shown(plan.table.path, root)
            # Of a table without ids and labels some column has to be read, which a footer knows not.
            rows_ = plan.table.rows(*plan.besides) if plan.besides else map(_empty, range(plan.table.count()))
            for number, row in enumerate(rows_):
                item = Item(f"{name}#{number}/{plan.images[0]}", None, None, None, None, ids_of(row.values, plan.ids))
                try:
                    yield dataclasses.replace(item, label=plan.label_of(row))
                except cells.Unusable as error:
                    yield dataclasses.replace(item, error=str(error))

    return read


def _empty(number: int) -> Row:
    return Row(f"row {number}", {})


def _look(root: Path, plan: Plan, finder: Finder, notes: list[str], files: dict[Path, None]) -> int:
    """Read through a table that names files: how many rows, which files; what is odd is noted."""
    total, elsewhere, repeated, seen = 0, 0, 0, set[int]()
    for row in plan.table.rows(*plan.images, *([plan.prompt] if plan.prompt else [])):
        total += 1
        names = [cells.file_of(row.values[name]) for name in plan.images]
        images = [finder.find(name) if name else None for name in names]
        for image in images:
            if image and (path := Path(os.path.abspath(image))) not in files:
                files[path] = None
                elsewhere += not path.is_relative_to(root.absolute())
        if all(images):
            key = hash((*images, str(row.values.get(plan.prompt or ""))))
            repeated += key in seen
            seen.add(key)
    counts = {
        f"images that {plan.table.path.name} names are not in {root}, but elsewhere": elsewhere,
        f"rows of {plan.table.path.name} repeat image and prompt of an earlier row": repeated,
    }
    notes += [f"{count} {what}" for what, count in counts.items() if count]
    return total


def _pass_over(found: Found, paths: Sequence[Path], files: dict[Path, None]) -> None:
    """Say which pictures of the folder no table names; the tables themselves are read."""
    for reason, others in list(found.passed_over.items()):
        found.passed_over[reason] = [path for path in others if path not in paths]
        if not found.passed_over[reason]:
            del found.passed_over[reason]
    others = [image for image in found.images if Path(os.path.abspath(image)) not in files]
    if files:
        found.pass_over(f"pictures that {paths[0].name} does not name", *others)
        found.pass_over("Parquet files beside the pictures", *(path for path in found.tables if path not in paths))
    else:
        found.pass_over("pictures beside Parquet files", *others)


def _items(root: Path, plan: Plan, finder: Finder) -> Iterator[Item]:
    name = shown(plan.table.path, root)
    for number, row in enumerate(plan.rows()):
        ids, label = ids_of(row.values, plan.ids), None
        with contextlib.suppress(cells.Unusable):  # the outline says what is wrong with labels
            label = plan.label_of(row)
        for column in plan.images:
            cell = row.values[column]
            file = cells.file_of(cell)
            own = f"{name}#{number}/{column}"
            if plan.named and plan.layout is None:  # a single image is called what the table calls it
                own = file or f"{plan.table.path.name} {row.place}"
            item = Item(own, None, None, None, label, ids, harmful=layouts.is_harmful(plan.layout, row.values, column))
            try:
                source = _source(cell, file, finder)
            except cells.Unusable as error:
                yield dataclasses.replace(item, error=str(error))
                continue
            item = dataclasses.replace(item, source=source)
            yield item if plan.prompt is None else with_prompt(item, row.values[plan.prompt])


def _source(cell: Any, file: str | None, finder: Finder) -> Path | bytes:
    """The bytes of a cell, or the file that it names; Unusable if there is none."""
    if file is None:
        try:
            if isinstance(cell, str):
                cells.text_of(cell)
            return cells.image_of(cell)
        except cells.Unusable as error:
            raise cells.Unusable(f"no image: {error}") from error
    if (path := finder.find(file)) is None:
        raise cells.Unusable(f"there is no such file: {finder.tried(file)}")
    return path
