"""Hash and size of every image of a source, cached between runs, so that a large set is read through once.

A cache file belongs to the files' path, size, inode and times of change: a file that was touched is read again.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datagen.images.ahead import prefetch
from training.data import pictures
from training.data.faults import Faults, Unusable
from training.data.image_sources import ImageSource
from training.data.images import ImageInfo, Images
from training.errors import TrainingError
from training.progress import Progress

VERSION = 1  # of the cache files
WORTH = 32  # MB of files from which on caching pays off
SETTLED = 2.0  # seconds: a file changed later than that ago may change again within one tick of its clock


def folder_of_caches() -> Path:
    """$DATAGEN_TRAINING_CACHE, or the user's cache directory /datagen/training."""
    given = os.environ.get("DATAGEN_TRAINING_CACHE")
    if given:
        return Path(given)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "datagen" / "training"


def image_infos(source: ImageSource, places: Sequence[int], *, decoded: bool = False) -> list[ImageInfo | str]:
    """Hash, height and width of the images at `places`, in that order; instead, why an image cannot be used.

    `decoded`: pictures are decoded, too, so that those whose headers alone are sound are found. Raises TrainingError
    for a source that is broken.
    """
    cached = _cache_file(source, places, decoded)
    known = None if cached is None else _read(cached, len(places))
    if known is not None:
        return [*known]
    read = source.open()

    def one(place: int) -> tuple[int, bytes | str]:
        try:
            return place, read(place)
        except Unusable as error:
            return place, str(error)

    found = list(prefetch(lambda at: _image_info(at[1], source, at[0], decoded), map(one, places), 32))
    sound = [info for info in found if not isinstance(info, str)]
    if cached is not None and source.files() is not None and len(sound) == len(found):
        _write(cached, sound)
    return found


def undecodable(images: Images) -> Faults:
    """All of the images whose headers alone are sound; every one is decoded, which takes a while."""

    def look(row: int) -> str | None:
        try:
            pictures.decode(images.bytes(row), images.where(row))
        except TrainingError as error:
            return str(error)
        return None

    faults = Faults(pairs=len(images))
    with Progress("looking at all images", len(images), "images") as progress:
        for why in prefetch(look, range(len(images)), 32):
            progress.advance()
            if why is not None:
                faults.add(why)
    return faults


def _image_info(data: bytes | str, source: ImageSource, place: int, decoded: bool) -> ImageInfo | str:
    if isinstance(data, str):
        return data
    try:
        size = pictures.size_of(data, source.where(place))
        if decoded:
            pictures.decode(data, source.where(place))
    except TrainingError as error:
        return str(error)
    return hashlib.sha256(data).hexdigest()[:32], *size


def _cache_file(source: ImageSource, places: Sequence[int], decoded: bool) -> Path | None:
    """The file that caches these places; None if the source is small or was changed just now."""
    files = source.files() or []
    try:
        states = [path.stat() for path in files]
    except OSError:
        return None  # reading says which file it is
    if sum(s.st_size for s in states) < WORTH << 20 or max(s.st_mtime for s in states) > time.time() - SETTLED:
        return None
    state = hashlib.sha256(f"{VERSION} {pictures.VERSION}".encode())
    for path, s in zip(files, states, strict=True):
        state.update(f"{path.resolve()} {s.st_size} {s.st_ino} {s.st_mtime_ns} {s.st_ctime_ns}\n".encode())
    state.update(np.asarray(places, dtype=np.int64).tobytes())
    return folder_of_caches() / "facts" / f"{state.hexdigest()[:32]}.npy"


def _read(cached: Path, count: int) -> list[ImageInfo] | None:
    """What a cache file says, None if there is none or it is not whole."""
    try:
        rows = np.load(cached, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if rows.dtype != np.uint8 or rows.shape != (count, 24):
        return None
    sizes = np.ascontiguousarray(rows[:, 16:]).view("<u4").tolist()
    return [(row[:16].tobytes().hex(), height, width) for row, (height, width) in zip(rows, sizes, strict=True)]


def _write(cached: Path, found: list[ImageInfo]) -> None:
    """Write a cache file for the next run; where that fails the next run reads the files again."""
    hashes = np.frombuffer(bytes.fromhex("".join(name for name, _, _ in found)), np.uint8).reshape(-1, 16)
    sizes = np.array([size for _, *size in found], dtype="<u4").view(np.uint8).reshape(-1, 8)
    staging = cached.with_suffix(f".{os.getpid()}")
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        with open(staging, "wb") as file:
            np.save(file, np.concatenate([hashes, sizes], axis=1))
        os.replace(staging, cached)
    except OSError:
        staging.unlink(missing_ok=True)
