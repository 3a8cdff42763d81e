"""Shards that take processor time and nothing else, as executors are given them."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import time


@dataclasses.dataclass(frozen=True)
class Burn:
    """A task whose every shard hashes so many blocks; it gives back its process, and when it began and ended."""

    blocks: int

    def __call__(self, index: int) -> tuple[int, float, float]:
        """Work one shard."""
        began, data = time.time(), bytes(65536)
        for _ in range(self.blocks):
            hashlib.sha256(data).digest()
        return os.getpid(), began, time.time()
