"""Images with their prompts in files beside them: `a.txt`, `a.caption` or `a.json` of `a.png`, or `a.png.txt`.

A .txt counts before a .caption, and that before a .json, whose "prompt", "caption" or "text" is read.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from datagen.errors import InputError
from datagen.images.decode import SUFFIXES
from datagen.tables import cells, json_lines, text
from datagen.tables.folders import TEXTS, Found, shown
from datagen.tables.items import Input, Item, identifies, ids_of
from datagen.tables.layouts import PROMPTS


def read(root: Path, found: Found) -> Input:
    """A folder's images, each with the text beside it."""
    beside = Sidecars(found)
    matches = [beside.of(image) for image in found.images]
    used = {path for paths in matches for path in paths[:1]}
    further = {path for paths in matches for path in paths[1:]} - used
    found.pass_over("texts beside another one of the same picture", *sorted(further))
    rest = [path for path in found.texts if path not in used and path not in further]
    found.pass_over("texts without a picture of their name", *rest)
    found.texts = [path for path in found.texts if path in used]
    items = (_item(root, image, beside, paths) for image, paths in zip(found.images, matches, strict=True))
    return Input(len(found.images), items, [*found.images, *found.texts], found.notes(root))


def one(image: Path) -> Input:
    """A single image file, with the text beside it."""
    found = Found(images=[image])
    wanted = (_key(image, stem_of(image))[1], _key(image, image.name)[1])
    with os.scandir(image.parent) as entries:
        beside = (name for name in (entry.name for entry in entries) if name.lower().endswith(TEXTS))
        names = sorted(name for name in beside if unicodedata.normalize("NFC", os.path.splitext(name)[0]) in wanted)
    found.texts = [image.with_name(name) for name in names]
    given = read(image.parent, found)
    return Input(given.total, given.items, given.files, [])


class Sidecars:
    """The texts of a folder by the picture they belong to, in any spelling of Unicode, any case of the suffix."""

    def __init__(self, found: Found) -> None:
        self.texts: dict[tuple[Path, str], list[Path]] = {}
        for path in found.texts:
            self.texts.setdefault(_key(path, path.stem), []).append(path)
        others = [path for paths in found.passed_over.values() for path in paths]
        self.others = {_key(path, path.name.partition(".")[0]): path for path in [*found.texts, *others]}

    def of(self, image: Path) -> list[Path]:
        """The texts beside an image, the one that counts first."""
        stem = stem_of(image)
        names = list(dict.fromkeys((stem, image.name)))
        found = [path for name in names for path in self.texts.get(_key(image, name), ())]
        return sorted(found, key=lambda path: (TEXTS.index(path.suffix.lower()), path.stem != stem, path))

    def expected(self, image: Path) -> str:
        """What was looked for, and what lies there instead."""
        other = self.others.get(_key(image, image.name.partition(".")[0]))
        hint = f"; {other.name} is not read" if other else ""
        return f"expected {stem_of(image)}.txt (.caption, .json) next to the image, or --prompts{hint}"


def stem_of(image: Path) -> str:
    """An image's name without its suffix; of one whose last part is none ("scene 1.5 wide"), its whole name."""
    suffix = image.suffix[1:]
    known = image.suffix.lower() in SUFFIXES
    return image.stem if known or (suffix.isalnum() and not suffix.isdigit()) else image.name


def _key(file: Path, stem: str) -> tuple[Path, str]:
    return file.parent, unicodedata.normalize("NFC", stem)


def _item(root: Path, image: Path, beside: Sidecars, texts: list[Path]) -> Item:
    name = shown(image, root)
    if not texts:
        return Item(name, image, None, f"no prompt: {beside.expected(image)}")
    try:
        if texts[0].suffix.lower() == ".json":
            values = _object(texts[0])
            ids = ids_of(values, filter(identifies, values))
            return Item(name, image, _prompt(values, texts[0].name), ids=ids)
        prompt = text.read(texts[0])
        if not prompt:
            return Item(name, image, None, f"no prompt: {texts[0].name} is empty")
        return Item(name, image, cells.text_of(prompt))
    except (InputError, cells.Unusable) as error:
        return Item(name, image, None, f"no prompt: {error}")


def _object(path: Path) -> Mapping[str, object]:
    try:
        value = json_lines.loads(text.read(path))
    except ValueError as error:
        raise cells.Unusable(f"{path.name} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise cells.Unusable(f"{path.name} holds {cells.kind_of(value)}, not an object")
    return value


def _prompt(values: Mapping[str, object], what: str) -> str:
    name = next((name for name in PROMPTS if name in values), None)
    if name is None:
        raise cells.Unusable(f"{what} has none of {', '.join(PROMPTS)}")
    return cells.text_of(values[name])
