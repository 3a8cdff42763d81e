"""Tar files by split, of samples whose files share a key: WebDataset's layout, without times or owners."""

from __future__ import annotations

import io
import tarfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

SHARD_BYTES = 500_000_000
SHARD_SAMPLES = 10_000


class Archives:
    """A context that writes FOLDER/SPLIT-00000.tar as samples are added; train is there even if empty."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count, self._held = defaultdict[str, int](int), defaultdict[str, int](int)
        self._made = defaultdict[str, int](int)
        self._open: dict[str, tarfile.TarFile] = {}

    def __enter__(self) -> Self:
        return self

    def add(self, split: str, key: str, files: Mapping[str, bytes]) -> None:
        """Add a sample: its files by what stands behind the key and a dot."""
        size = sum(map(len, files.values()))
        if self._held[split] and (self._held[split] + size > SHARD_BYTES or self._count[split] == SHARD_SAMPLES):
            self._close(split)
        tar = self._tar(split)
        for name, data in files.items():
            member = tarfile.TarInfo(f"{key}.{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        tar.members.clear()  # type: ignore[attr-defined]  # it remembers all that it wrote
        self._count[split] += 1
        self._held[split] += size

    def _tar(self, split: str) -> tarfile.TarFile:
        if split not in self._open:
            path = self._folder / f"{split}-{self._made[split]:05d}.tar"
            self._open[split] = tarfile.open(path, "w", format=tarfile.PAX_FORMAT)
            self._made[split] += 1
        return self._open[split]

    def _close(self, split: str) -> None:
        self._open.pop(split).close()
        self._count[split] = self._held[split] = 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and not self._made:
            self._tar("train")
        for split in list(self._open):
            self._close(split)
