"""Which benchmarks there are: every file of a room is one, and names are unique over the rooms."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parents[1]
ROOMS = ("world", "data", "labels", "llm", "training")


def benchmarks(room: str) -> dict[str, Path]:
    """Name and file of each benchmark of a room, in the order of the names."""
    return {path.stem: path for path in sorted((HERE / room).glob("[!_]*.py"))}
