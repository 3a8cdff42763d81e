"""What a run goes on from: checkpoints, the last of which outlives it, and signals that end it with one.

Everything is written under a temporary name, flushed, renamed: what has its name is whole.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import signal
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from torch import Tensor

from datagen.errors import ModelError
from datagen.weights import identity, parts
from training.errors import TrainingError
from training.loop.disk import CHECKPOINTS, by_main_process, flush, held, remove, write_tensors, write_text
from training.loop.distributed import Team, full_tensor, shard_like
from training.loop.update import Update

STATE = "state.json"
FILES, SEAL = "files", "seal"  # in it: the digest of each file of tensors, and of all else that it says


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of the run in `out`; the last `keep` stay. All processes call `save` and `load`, one writes."""

    out: Path
    keep: int
    team: Team

    def save(self, step: int, update: Update, extra: dict[str, Any]) -> None:
        """The state after `step` steps: weights, the optimizer's, the average, and `extra` numbers."""
        target = self.out / CHECKPOINTS / f"step-{step:08d}"
        if target.is_dir():
            return
        staging = target.with_name(f".{target.name}")
        try:
            by_main_process(self.team, self.out, lambda: staging.mkdir(exist_ok=True))
            digests: dict[str, str] = {}
            for name, tensors in update.state():
                path = staging / f"{name}.safetensors"
                by_main_process(self.team, self.out, partial(_write, path, self._whole(tensors), digests))
            state = {"step": step, **update.numbers(), **extra, FILES: digests}
            by_main_process(self.team, self.out, lambda: self._complete(staging, target, state))
        except TrainingError:
            if self.team.is_main_process:  # the room that it took may be what a result needs
                shutil.rmtree(staging, ignore_errors=True)
            raise

    def _whole(self, tensors: Mapping[int, Tensor]) -> dict[str, Tensor]:
        """The tensors in one piece each, by number; nothing in all processes but the main one."""
        whole = {}
        for i, tensor in tensors.items():
            piece = full_tensor(tensor)
            if self.team.is_main_process:
                whole[f"{i:05d}"] = piece.cpu().contiguous()
        return whole

    def _complete(self, staging: Path, target: Path, state: dict[str, Any]) -> None:
        write_text(staging / STATE, json.dumps({**state, SEAL: _seal(state)}))
        flush(staging)
        os.replace(staging, target)
        flush(target.parent)
        for old in held(self.out)[: -self.keep]:
            remove(old)

    def load(self, update: Update) -> dict[str, Any]:
        """Put the last checkpoint into `update` and give its numbers; {"step": 0} without one.

        Raises TrainingError for one that is not as it was written: what it lacks would be learnt without a word.
        """
        if not (last := held(self.out)[-1:]):
            return {"step": 0}
        try:
            state = _read(last[0])
            update.restore(state, lambda name: self._tensors(last[0], name, update.weights))
        except ValueError as error:
            if len(held(self.out)) > 1:
                advice = "remove it to go on from the one before"
            else:
                advice = "there is none before it: choose another --out to begin anew"
            raise TrainingError(f"{last[0]} is damaged ({error}): {advice}") from error
        return state

    def _tensors(self, folder: Path, name: str, weights: list[Any]) -> dict[int, Tensor]:
        found = parts.tensors(folder / f"{name}.safetensors")
        return {int(i): shard_like(value, weights[int(i)]) for i, value in found.items()}


def _write(path: Path, tensors: dict[str, Tensor], digests: dict[str, str]) -> None:
    write_tensors(path, tensors)
    digests[path.name] = identity.file(path)


def _read(folder: Path) -> dict[str, Any]:
    """The numbers of a checkpoint. Raises ValueError, one line, unless all of it is as it was written."""
    name = STATE
    try:
        state: dict[str, Any] = json.loads((folder / STATE).read_text(encoding="utf-8-sig"))
        if state.pop(SEAL) != _seal(state) or state["step"] != int(folder.name[5:]):
            raise ValueError(state)
        for name, digest in state[FILES].items():
            if identity.file(folder / name) != digest:
                raise ValueError(digest)
    except FileNotFoundError as error:
        raise ValueError(f"{name} is missing") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ModelError) as error:
        raise ValueError(f"{name} is not as it was written") from error
    return state


def _seal(state: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[: identity.LENGTH]


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """SIGTERM and Ctrl-C are noted in the list instead of obeyed; a second one is obeyed."""
    noted: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)
        signal.signal(number, before[number])

    before: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, note)
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
