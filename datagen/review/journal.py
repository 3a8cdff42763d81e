"""The answers of a review in one file of JSON lines that only grows: what is to be asked, answers, answers taken back.

A line is on the disk before its answer counts. A process that is killed while it writes leaves half a line, which
says nothing and is cut off by the next one.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datagen import store
from datagen.errors import RunError
from datagen.labels.people import BAD, CHOSEN, REJECTED, TIE
from datagen.records import content_id

FILE = "review.jsonl"
SKIP = "skip"
ANSWERS = (CHOSEN, REJECTED, TIE, BAD, SKIP)


@dataclasses.dataclass(frozen=True)
class Planned:
    """A pair to be asked: its prompt and images, the stratum it was drawn from, whether `rejected` is on the left."""

    prompt_id: str
    chosen_id: str
    rejected_id: str
    stratum: str
    turned: bool

    @property
    def pair_id(self) -> str:
        """The id that pairs of a run have."""
        return content_id(self.prompt_id, self.chosen_id, self.rejected_id)


class Journal:
    """What a file holds, and what is added to it; `answers` are pair id → answer in the order they were given."""

    def __init__(self, path: Path) -> None:
        """Read a file, which need not be there; RunError if a line in it is not ours."""
        self.path = path
        self.planned: list[Planned] = []
        self.sizes: dict[str, int] = {}  # stratum → pairs of the run that it was drawn from
        self.answers: dict[str, str] = {}
        self.torn = False  # whether half a line was cut off
        data = path.read_bytes() if path.is_file() else b""
        whole, _, rest = data.rpartition(b"\n")
        if rest:
            self.torn = True
            with store.writing(path):
                os.truncate(path, len(data) - len(rest))
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                self._take(json.loads(line.decode("utf-8-sig")))
            except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
                raise RunError(
                    f"{path}, line {number}, is not of a review: mend the line, or move the file away to begin anew"
                ) from error

    def plan(self, planned: Sequence[Planned], sizes: Mapping[str, int]) -> None:
        """Add pairs that are to be asked."""
        self._add({"sample": [dataclasses.astuple(pair) for pair in planned], "of": dict(sizes)})

    def answer(self, pair: Planned, answer: str) -> None:
        """Keep an answer; which image was on the left is kept with it."""
        left = REJECTED if pair.turned else CHOSEN
        self._add({"pair_id": pair.pair_id, "answer": answer, "left": left, "stratum": pair.stratum})

    def undo(self) -> str | None:
        """Take back the last answer; the pair it was given to, None if there is none."""
        if not self.answers:
            return None
        pair_id = next(reversed(self.answers))
        self._add({"pair_id": pair_id, "undo": True})
        return pair_id

    def _take(self, line: Mapping[str, Any]) -> None:
        """Count one line."""
        if "sample" in line:
            for prompt, chosen, rejected, stratum, turned in line["sample"]:
                self.planned.append(Planned(str(prompt), str(chosen), str(rejected), str(stratum), bool(turned)))
            self.sizes |= {str(name): int(size) for name, size in line["of"].items()}
        elif line.get("undo"):
            self.answers.pop(line["pair_id"])
        elif line["answer"] in ANSWERS:
            self.answers.pop(line["pair_id"], None)
            self.answers[str(line["pair_id"])] = line["answer"]
        else:
            raise ValueError(line["answer"])

    def _add(self, line: dict[str, Any]) -> None:
        """Write a line and count it when it is on the disk; RunError if that refuses, and the file is as before."""
        line["at"] = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        data = json.dumps(line, ensure_ascii=False).encode() + b"\n"
        with store.writing(self.path):
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            try:
                size = os.fstat(descriptor).st_size
                try:
                    if os.write(descriptor, data) < len(data):
                        raise OSError(28, "No space left on device")
                    os.fsync(descriptor)
                except OSError:
                    os.ftruncate(descriptor, size)
                    raise
            finally:
                os.close(descriptor)
            if not size:
                store.sync_folder(self.path.parent)
        self._take(line)
