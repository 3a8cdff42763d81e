"""How far the run in a folder is: begun, gone on with, finished.

A run is known by its identity, the settings and data that decide its weights. More steps are the same run, which goes
on from its last checkpoint, finished or not. Whatever holds another run is refused, never overwritten, and a run that
has nothing left to go on from is never begun anew.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

from training.errors import TrainingError
from training.loop.disk import CHECKPOINTS, by_main_process, flush, held, remove, write_text
from training.loop.distributed import Team
from training.loop.lock import LOCK
from training.trainables import Trainable

RESULT = "training.json"
METRICS = "metrics.jsonl"
OWN = {METRICS, f".{METRICS}", CHECKPOINTS, f".{CHECKPOINTS}", "tensorboard", "grids", "wandb", ".saving", LOCK}
IDENTITY = "run.json"
# What chooses the pairs and what a model is called: the digests of pairs and of weights decide, however it is spelled.
CHOOSERS = ("data", "columns", "skip_bad", "limit", "model", "revision", "clip", "init_from")
ENDS = "went_on_from"  # beside the identity


@dataclasses.dataclass(frozen=True)
class Standing:
    """How far a run is: `finished` as asked for; else `done` steps of the `planned`, which is 0 for a new run.

    `ends` are the steps after which it went on with another number of steps than it was begun with.
    """

    finished: bool = False
    done: int = 0
    planned: int = 0
    ends: tuple[int, ...] = ()


def look(out: Path, identity: dict[str, Any]) -> Standing:
    """How far `out` is with this run. Raises TrainingError if it holds something else, or a run that cannot go on."""
    if not out.exists() or not any(out.iterdir() if out.is_dir() else [out]):
        return Standing()
    if not out.is_dir():
        raise TrainingError(f"{out} is a file; --out takes a folder")
    result, begun = out / RESULT, out / CHECKPOINTS / IDENTITY
    asked, last = _steps(identity), int(held(out)[-1].name[5:]) if held(out) else 0
    if result.is_file():
        before = _same(result, identity, out)
        done = _steps(before)
        if done == asked:
            return Standing(finished=True, done=done, planned=done)
        if begun.is_file():
            _same(begun, identity, out)
        lost = not (begun.is_file() and last)
    elif begun.is_file():
        before = _same(begun, identity, out)
        done = last
        lost = bool(before.get(ENDS)) and not last
    else:
        if {p.name for p in out.iterdir()} - OWN:
            raise TrainingError(f"{out} holds other files: choose an empty or new folder for --out")
        return Standing()
    if asked < done:
        raise TrainingError(
            f"{out} holds this run with {done:,} steps done, --steps {asked} are fewer: give more to go on, "
            "or choose another --out"
        )
    if lost:
        raise TrainingError(
            f"{out} holds this run, but not the checkpoint that it would go on from (removed, without room on the "
            "disk, or of a version that kept none): choose another --out, and start it from these weights by "
            f"--init-from {out}"
        )
    ends = (*before.get(ENDS, ()), *([last] if last and _steps(before) != asked else []))
    return Standing(done=last, planned=_steps(before), ends=ends)


def _same(path: Path, identity: dict[str, Any], out: Path) -> dict[str, Any]:
    """The identity in a file, which may differ in its steps alone. Raises TrainingError."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8-sig"))
        before, ends = _flat(found), found.get(ENDS, [])
        if _steps(found) < 1 or not all(isinstance(step, int) for step in ends):
            raise ValueError(found)
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise TrainingError(f"{path} is damaged, so whose run it is cannot be told: choose another --out") from error
    _check_version(found, identity, path, out)
    now = _flat(json.loads(json.dumps(identity)))
    for name in (*CHOOSERS, "steps", ENDS):
        before.pop(name, None), now.pop(name, None)
    if before != now:
        changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        raise TrainingError(f"{out} holds another run (it differs in {', '.join(changed)}): choose another --out")
    return found


def _check_version(found: dict[str, Any], identity: dict[str, Any], path: Path, out: Path) -> None:
    """Raise TrainingError for the run of another version: one whose settings are not those that there are now."""
    groups = {name: held for name, held in identity.items() if isinstance(held, dict)}
    before: dict[str, Any] = {name: it if isinstance(it := found.get(name), dict) else {} for name in groups}
    if before["run"].get("method") != groups["run"]["method"]:  # each has options of its own
        groups.pop("loss", None)
    ours, theirs = ({(group, name) for group in groups for name in run[group]} for run in (groups, before))
    if ours == theirs:
        return
    which, has = ("an earlier", "has no") if ours - theirs else ("a later", "has")
    options = ", ".join(sorted(f"--{name.replace('_', '-')}" for _, name in ours - theirs or theirs - ours))
    advice = f" and start it from these weights by --init-from {out}" if path.name == RESULT else ""
    raise TrainingError(
        f"{out} holds a run of {which} version of this program, which {has} {options}, and is not gone on with: use "
        f"that version, or choose another --out{advice}"
    )


def _steps(identity: dict[str, Any]) -> int:
    return int(identity["optimizer"]["steps"])


def _flat(identity: dict[str, Any]) -> dict[str, Any]:
    """The settings of all groups by their own names."""
    groups = {k: v if isinstance(v, dict) else {k: v} for k, v in identity.items()}
    return {name: value for group in groups.values() for name, value in group.items()}


def begin(out: Path, identity: dict[str, Any], standing: Standing, team: Team) -> None:
    """Mark `out` as this run's, not finished, and clear away what a kill left half written."""
    by_main_process(team, out, lambda: _begin(out, identity, standing))


def _begin(out: Path, identity: dict[str, Any], standing: Standing) -> None:
    folder = out / CHECKPOINTS
    folder.mkdir(parents=True, exist_ok=True)
    _clear_torn(folder)
    if standing.planned != _steps(identity):
        write_text(folder / f".{IDENTITY}", _text(identity, standing))
        os.replace(folder / f".{IDENTITY}", folder / IDENTITY)
        flush(folder)
    if (out / RESULT).is_file():  # after the new number of steps stands there: a kill here loses neither
        (out / RESULT).unlink()
        flush(out)


def _text(identity: dict[str, Any], standing: Standing) -> str:
    return json.dumps(identity | ({ENDS: standing.ends} if standing.ends else {}), indent=2) + "\n"


def finish(trainable: Trainable, out: Path, identity: dict[str, Any], standing: Standing, team: Team) -> None:
    """Write the weights, then `training.json`, whose existence says that the run is finished."""
    try:
        by_main_process(team, out, lambda: _finish(trainable, out, _text(identity, standing)))
    except TrainingError:
        shutil.rmtree(out / ".saving", ignore_errors=True)
        raise


def _finish(trainable: Trainable, out: Path, facts: str) -> None:
    staging = out / ".saving"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    trainable.save(staging)
    write_text(staging / RESULT, facts)
    for path in (p for p in staging.rglob("*") if p.is_file()):
        flush(path)
    for path in sorted(staging.iterdir(), key=lambda p: p.name == RESULT):
        if (out / path.name).is_dir():  # of fewer steps, or half of a result, from a run that was killed right here
            shutil.rmtree(out / path.name)
        os.replace(path, out / path.name)
    staging.rmdir()


def keep_last(out: Path, team: Team) -> None:
    """Leave a finished run one checkpoint, its last, which more steps go on from; nothing of them if it has none."""
    if not team.is_main_process:
        return
    last = held(out)[-1:]
    for folder in (out / f".{CHECKPOINTS}", *(held(out)[:-1] if last else [out / CHECKPOINTS])):
        if folder.is_dir():
            remove(folder)
    if last:
        _clear_torn(out / CHECKPOINTS)


def _clear_torn(folder: Path) -> None:
    """Remove what a kill left half written, or half removed."""
    for leftover in (path for path in folder.iterdir() if path.name.startswith(".")):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
