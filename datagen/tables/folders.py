"""What is in a folder that others filled: its pictures, its tables, and what was passed over and why.

One walk for everything that reads folders. A picture is known by its content where its suffix does not say it;
hidden files, what systems leave behind (`__MACOSX`, `._a.png`, `.ipynb_checkpoints`) and results of our own are none.
Linked folders are entered, each once; links that lead nowhere are passed over.
"""

from __future__ import annotations

import dataclasses
import os
import stat
import unicodedata
import urllib.parse
from collections.abc import Iterable, Iterator
from pathlib import Path

from datagen.images.decode import SUFFIXES
from datagen.images.kinds import HEAD, READ, kind_of

PARTS = ".parts"  # suffix of a folder of scores that are not complete yet; nothing in it is an input
TABLES = (".parquet",)
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
TEXTS = (".txt", ".caption", ".json")  # what lies beside a picture and holds its prompt
NEITHER = "files that are neither pictures nor Parquet"  # among them tables in text, which some readers look for
LITTER = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "lost+found")  # folders of systems, with copies of pictures
# TIFF by content, with a small preview where a reader expects the picture.
RAW = (".dng", ".nef", ".nrw", ".cr2", ".arw", ".srf", ".sr2", ".orf", ".rw2", ".raf", ".pef", ".srw", ".3fr", ".iiq")
UNKNOWN = {".tga": "Targa", ".ico": "icon", ".pcx": "PCX", ".heic": "HEIC", ".heif": "HEIC", ".jxl": "JPEG XL"}


@dataclasses.dataclass
class Found:
    """The files of a folder, each list in order: `images`, `tables`, `texts`, `archives`; and the rest by reason.

    `linked` are the files and folders that are links; what they lead to is read.
    """

    images: list[Path] = dataclasses.field(default_factory=list)
    tables: list[Path] = dataclasses.field(default_factory=list)
    texts: list[Path] = dataclasses.field(default_factory=list)
    archives: list[Path] = dataclasses.field(default_factory=list)
    passed_over: dict[str, list[Path]] = dataclasses.field(default_factory=dict)
    linked: list[Path] = dataclasses.field(default_factory=list)

    def pass_over(self, reason: str, *paths: Path) -> None:
        """Leave files out, and remember why."""
        if paths:
            self.passed_over.setdefault(reason, []).extend(paths)

    def notes(self, root: Path) -> list[str]:
        """What was passed over, one line a reason: how many and an example; and what is read from elsewhere."""
        notes = [f"passed over: {reason} ({_some(paths, root)})" for reason, paths in sorted(self.passed_over.items())]
        here = root.resolve()
        if outside := [path for path in self.linked if not path.resolve().is_relative_to(here)]:
            notes.append(f"read although links lead out of the folder: {_some(outside, root)}")
        return notes


def _some(paths: list[Path], root: Path) -> str:
    """How many, if not one, and an example."""
    return f"{f'{len(paths)}, such as ' if len(paths) > 1 else ''}{shown(paths[0], root)}"


def walk(root: Path, leave_out: Iterable[Path] = ()) -> Found:
    """The files under a folder. `leave_out` are files of our own, such as the one that is about to be written."""
    found = Found()
    own = {path.resolve() for path in leave_out}
    names_of_own = {path.name for path in own}
    for folder, names in _folders(root, found):
        for name in names:
            path = folder / name
            if name not in names_of_own or path.resolve() not in own:
                sort_in(found, path)
    for listed in (found.images, found.tables, found.texts, found.archives, found.linked, *found.passed_over.values()):
        listed.sort()
    return found


def _folders(root: Path, found: Found) -> Iterator[tuple[Path, list[str]]]:
    """Each folder and the names of its files; linked folders last, and none twice, so that a cycle ends."""
    seen = set[tuple[int, int]]()
    todo = [root]
    while todo:
        for place, folders, names in os.walk(todo.pop(0), onerror=lambda error: _unreadable(found, error)):
            here = Path(place)
            facts = here.stat()
            if (facts.st_dev, facts.st_ino) in seen:
                found.pass_over("links to a folder that is read already", here)
                folders.clear()
                continue
            seen.add((facts.st_dev, facts.st_ino))
            entered = []
            for name in folders:
                if name.startswith(".") or name in LITTER or name.endswith(PARTS):
                    found.pass_over("unfinished scores" if name.endswith(PARTS) else "hidden folders", here / name)
                elif (here / name).is_symlink():
                    todo.append(here / name)
                    found.linked.append(here / name)
                else:
                    entered.append(name)
            folders[:] = entered
            yield here, names


def _unreadable(found: Found, error: OSError) -> None:
    found.pass_over("folders that cannot be opened", Path(error.filename))


def sort_in(found: Found, path: Path) -> None:
    """Put a file where it belongs."""
    suffix = path.suffix.lower()
    if path.name.startswith("."):
        found.pass_over("hidden files", path)
        return
    mode, linked = _mode(path)
    if linked and mode is not None:
        found.linked.append(path)
    if mode is None:
        found.pass_over("links that lead nowhere", path)
    elif not stat.S_ISREG(mode):
        found.pass_over("what is no regular file", path)
    elif suffix in SUFFIXES:
        found.images.append(path)
    elif suffix in TABLES:
        found.tables.append(path)
    elif suffix in TEXTS:
        found.texts.append(path)
    elif path.name.lower().endswith(ARCHIVES):
        found.archives.append(path)
    elif suffix in RAW:
        found.pass_over("pictures in a camera's raw format, which is not read", path)
    else:
        _by_content(found, path, suffix)


def _mode(path: Path) -> tuple[int | None, bool]:
    """What kind of file there is, None if there is none, and whether it is a link; one call for most, as folders may
    hold very many."""
    try:
        mode = os.lstat(path).st_mode
        return (os.stat(path).st_mode, True) if stat.S_ISLNK(mode) else (mode, False)
    except (OSError, ValueError):
        return None, False


def _by_content(found: Found, path: Path, suffix: str) -> None:
    """A file whose suffix says nothing: a picture if it begins like one."""
    try:
        with path.open("rb") as file:
            kind = kind_of(file.read(HEAD)) or UNKNOWN.get(suffix)
    except OSError:
        found.pass_over("files that cannot be opened", path)
        return
    if kind in READ:
        found.images.append(path)
    elif kind is not None:
        found.pass_over(f"pictures in {kind}, which is not read: convert them to PNG", path)
    else:
        found.pass_over(NEITHER, path)


def shown(path: Path, root: Path) -> str:
    """A path relative to a folder, as text: a name may be any bytes, and bytes that are no text are spelt out."""
    inside = path.relative_to(root) if path.is_relative_to(root) else path
    return os.fsencode(inside.as_posix()).decode("utf-8", "backslashreplace")


class Finder:
    """The files that a table names: in a folder, beside the table, or below the folder's own name.

    Names may be spelt in another way than the files: spaces around them, "\\" for "/", percent-encoding, composed
    against decomposed Unicode.
    """

    def __init__(self, folder: Path, table: Path, images: Iterable[Path]) -> None:
        self.folder, self.beside = folder, table.parent
        self.alike: dict[str, Path | None] = {}
        for image in images:
            key = _alike(shown(image, folder))
            self.alike[key] = None if key in self.alike else image  # two that differ in spelling only are neither's

    def find(self, name: str) -> Path | None:
        """The file that a table calls `name`; None if there is none."""
        spellings = _spellings(name)
        for folder in (self.folder, self.beside):
            if found := next((folder / spelt for spelt in spellings if _is_file(folder / spelt)), None):
                return found
        below = f"{self.folder.name}/"
        for spelt in [*spellings, *(s.removeprefix(below) for s in spellings if s.startswith(below))]:
            if _is_file(self.folder / spelt):
                return self.folder / spelt
            if found := self.alike.get(_alike(spelt)):
                return found
        return None

    def tried(self, name: str) -> str:
        """Where a name was looked for, in words."""
        if "://" in name:
            return f"{name} is an address, and nothing is downloaded"
        first = self.folder / name.strip()
        return str(first) if self.beside == self.folder else f"{first}, nor in {self.beside}"


def _spellings(name: str) -> list[str]:
    """A name as it stands, and as other systems would have written it."""
    return list(
        dict.fromkeys(
            spelt
            for base in (name, name.strip())
            for slashed in (base, base.replace("\\", "/"))
            for plain in (slashed, urllib.parse.unquote(slashed.removeprefix("file://")))
            for spelt in (plain, unicodedata.normalize("NFC", plain), unicodedata.normalize("NFD", plain))
            if spelt
        )
    )


def _alike(name: str) -> str:
    """What equal names have in common: composed Unicode, no spaces around their parts."""
    return "/".join(part.strip() for part in unicodedata.normalize("NFC", name).split("/") if part.strip() != ".")


def _is_file(path: Path) -> bool:
    """Whether there is such a file; False too for a name that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
