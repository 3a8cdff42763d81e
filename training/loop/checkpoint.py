"""What a run leaves on disk: checkpoints to go on from while it lasts, and its result when it is done.

Everything is written under a temporary name, flushed, renamed: what has its name is whole. A run is known by its
identity, the settings and data that decide its weights; whatever holds another one is refused, never overwritten.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from torch import Tensor

from datagen.errors import ModelError
from datagen.weights import parts
from training.errors import TrainingError
from training.loop.disk import CHECKPOINTS, by_main_process, flush, held, remove, write_tensors, write_text
from training.loop.distributed import Team, full_tensor, shard_like
from training.loop.lock import LOCK
from training.loop.update import Update
from training.trainables import Trainable

RESULT = "training.json"
METRICS = "metrics.jsonl"
OWN = {METRICS, f".{METRICS}", CHECKPOINTS, f".{CHECKPOINTS}", "tensorboard", "grids", "wandb", ".saving", LOCK}
IDENTITY = "run.json"
# What chooses the pairs and what a model is called: the digests of pairs and of weights decide, however it is spelled.
CHOOSERS = ("data", "columns", "skip_bad", "limit", "model", "revision", "clip")
STATE = "state.json"


def finished(out: Path, identity: dict[str, Any]) -> bool:
    """True if `out` holds this very run, finished. Raises TrainingError if it holds something else."""
    if not out.exists() or not any(out.iterdir() if out.is_dir() else [out]):
        return False
    if not out.is_dir():
        raise TrainingError(f"{out} is a file; --out takes a folder")
    if (out / RESULT).is_file():
        _check_same(out / RESULT, identity)
        return True
    if (out / CHECKPOINTS / IDENTITY).is_file():
        _check_same(out / CHECKPOINTS / IDENTITY, identity)
        return False
    if {p.name for p in out.iterdir()} - OWN:
        raise TrainingError(f"{out} holds other files: choose an empty or new folder for --out")
    return False


def _check_same(path: Path, identity: dict[str, Any]) -> None:
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
        before = _flat(found)
    except (OSError, ValueError, AttributeError) as error:
        raise TrainingError(f"{path} is damaged, so whose run it is cannot be told: choose another --out") from error
    now = _flat(json.loads(json.dumps(identity)))
    for chooser in CHOOSERS:
        before.pop(chooser, None), now.pop(chooser, None)
    if before != now:
        changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        folder = path.parent if path.name == RESULT else path.parent.parent
        raise TrainingError(f"{folder} holds another run (it differs in {', '.join(changed)}): choose another --out")


def _flat(identity: dict[str, Any]) -> dict[str, Any]:
    """The settings of all groups by their own names."""
    groups = {k: v if isinstance(v, dict) else {k: v} for k, v in identity.items()}
    return {name: value for group in groups.values() for name, value in group.items()}


def begin(out: Path, identity: dict[str, Any], team: Team) -> None:
    """Mark `out` as this run's, and clear away what a kill left half written."""
    by_main_process(team, out, lambda: _begin(out / CHECKPOINTS, identity))


def _begin(folder: Path, identity: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in (p for p in folder.iterdir() if p.name.startswith(".")):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    if not (folder / IDENTITY).is_file():
        write_text(folder / ".run.json", json.dumps(identity, indent=2) + "\n")
        os.replace(folder / ".run.json", folder / IDENTITY)


@dataclasses.dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of the run in `out`; the last `keep` stay. All processes call `save` and `load`, one writes."""

    out: Path
    keep: int
    team: Team

    def save(self, step: int, update: Update, extra: dict[str, Any]) -> None:
        """The state after `step` steps: weights, AdamW's moments, the average, and `extra` numbers."""
        target = self.out / CHECKPOINTS / f"step-{step:08d}"
        if target.is_dir():
            return
        staging = target.with_name(f".{target.name}")
        try:
            by_main_process(self.team, self.out, lambda: staging.mkdir(exist_ok=True))
            for name, tensors in update.state():
                by_main_process(
                    self.team, self.out, partial(write_tensors, staging / f"{name}.safetensors", self._whole(tensors))
                )
            state = json.dumps({"step": step, **update.numbers(), **extra})
            by_main_process(self.team, self.out, lambda: self._complete(staging, target, state))
        except TrainingError:
            if self.team.is_main_process:  # the room that it took may be what a result needs
                shutil.rmtree(staging, ignore_errors=True)
            raise

    def _whole(self, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
        """The tensors in one piece each, by number; nothing in all processes but the main one."""
        whole = {}
        for i, tensor in enumerate(tensors):
            piece = full_tensor(tensor)
            if self.team.is_main_process:
                whole[f"{i:05d}"] = piece.cpu().contiguous()
        return whole

    def _complete(self, staging: Path, target: Path, state: str) -> None:
        write_text(staging / STATE, state)
        flush(staging)
        os.replace(staging, target)
        flush(target.parent)
        for old in held(self.out)[: -self.keep]:
            remove(old)

    def load(self, update: Update) -> dict[str, Any]:
        """Put the last checkpoint into `update` and give its numbers; {"step": 0} without one."""
        if not (last := held(self.out)[-1:]):
            return {"step": 0}
        try:
            state: dict[str, Any] = json.loads((last[0] / STATE).read_text(encoding="utf-8-sig"))
            update.restore(state, lambda name: self._tensors(last[0], name, update.weights))
        except (OSError, ValueError, KeyError, ModelError) as error:
            raise TrainingError(
                f"{last[0]} is damaged ({type(error).__name__}): remove it to go on from the one before"
            ) from error
        return state

    def _tensors(self, folder: Path, name: str, weights: list[Any]) -> list[Tensor]:
        found = parts.tensors(folder / f"{name}.safetensors")
        return [shard_like(found[f"{i:05d}"], weight) for i, weight in enumerate(weights)]


def finish(trainable: Trainable, out: Path, identity: dict[str, Any], team: Team) -> None:
    """Write the weights, then `training.json`, whose existence says that the run is finished."""
    try:
        by_main_process(team, out, lambda: _finish(trainable, out, identity))
    except TrainingError:
        shutil.rmtree(out / ".saving", ignore_errors=True)
        raise


def _finish(trainable: Trainable, out: Path, identity: dict[str, Any]) -> None:
    staging = out / ".saving"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    trainable.save(staging)
    write_text(staging / RESULT, json.dumps(identity, indent=2) + "\n")
    for path in (p for p in staging.rglob("*") if p.is_file()):
        flush(path)
    for path in sorted(staging.iterdir(), key=lambda p: p.name == RESULT):
        if (out / path.name).is_dir():  # half of a result, from a run that was killed right here
            shutil.rmtree(out / path.name)
        os.replace(path, out / path.name)
    staging.rmdir()


def clear(out: Path, team: Team) -> None:
    """Drop the checkpoints of a finished run."""
    for folder in (out / f".{CHECKPOINTS}", out / CHECKPOINTS):
        if team.is_main_process and folder.is_dir():
            remove(folder)


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
