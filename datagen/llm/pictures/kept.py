"""Pictures that were paid for, one file each, named by their content; the cache's completions say which is whose.

They lie beside the cache, so that no other run buys them again, and outside of it: an sqlite3 file is no place for
gigabytes. A file that is damaged or gone is as one that never was.
"""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

from datagen.llm.accounts.cache import default_path
from datagen.store import write_file

FOLDER = "pictures"


def default_folder() -> Path:
    """Beside the cache of replies."""
    return default_path().with_name(FOLDER)


class Kept:
    """Content hash → encoded picture, in a folder; any number of threads and processes.

    RunError if it cannot be written, or if the disk is full.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writing = threading.Lock()  # a temporary file is named by its process alone

    def put(self, picture: bytes) -> str:
        """Keep a picture; it is on disk when its name is returned."""
        name = hashlib.sha256(picture).hexdigest()
        with self._writing:
            if self.get(name) is None:
                write_file(self._path(name), lambda file: file.write(picture))
        return name

    def get(self, name: str) -> bytes | None:
        """The picture of a name, whole; None if there is none."""
        try:
            data = self._path(name).read_bytes()
        except OSError:
            return None
        return data if hashlib.sha256(data).hexdigest() == name else None

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / name
