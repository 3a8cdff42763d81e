"""What a run says of itself: metrics.jsonl, TensorBoard, and a warning when the loser's term is winning.

Sums stay on the device until a line is due, so no step waits for them. The state goes into checkpoints: a resumed run
writes the lines that an uninterrupted one does, but for its speed.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from training.loop.board import Board
from training.loop.disk import by_main_process
from training.loop.distributed import Team, full_tensor
from training.loop.objective import Scored
from training.loop.soundness import broken

LOG_EVERY = 10  # steps; the metrics in between are averaged
STILL = 1e-8  # AdamW's epsilon: of gradients below it hardly any weight moves
BINS = 5  # of timesteps, from the least noise to the most
BINNED = ("chosen_error", "rejected_error", "margin")
WATCHED = 10  # lines that the chosen error is averaged over, at the start and now
RISE = 0.1  # of the chosen error: above this share the run warns


class Tracker:
    """Collects what steps measured and writes a line now and then; every process has one, the main process's writes.

    `after` is the step that the run goes on from, `state` what `state()` gave there. `overflows` (fp16) says that
    gradients may do so, in which case their step is left out.
    """

    def __init__(
        self,
        out: Path,
        team: Team,
        *,
        timesteps: int,
        after: int,
        state: dict[str, Any] | None,
        overflows: bool = False,
    ) -> None:
        self.out, self.team, self.timesteps, self.overflows = out, team, timesteps, overflows
        self.done = after
        self.told_still = False
        self.names: list[str] = (state or {}).get("names", [])
        self.sums: Tensor | None = None
        self.norms: Tensor | None = None
        if state and state["sums"] is not None:
            # The sums of all processes: one of them takes these over, the others start from zero.
            self.sums = (
                torch.tensor(state["sums"], dtype=_wide(team.device), device=team.device) * team.is_main_process
            )
            self.norms = torch.tensor(state["norms"], dtype=_wide(team.device), device=team.device)
        self.start: list[list[list[float]]] = (state or {}).get("start", [])
        self.recent: list[list[list[float]]] = (state or {}).get("recent", [])
        self.warned: bool = (state or {}).get("warned", False)
        self.log: Any = None
        self.board: Board | None = None
        by_main_process(team, out, lambda: self._open(after))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # of a full disk, which was said
            if self.log is not None:
                self.log.close()
            if self.board is not None:
                self.board.close()

    def _open(self, after: int) -> None:
        self.log = _opened(self.out / "metrics.jsonl", after)
        self.board = Board(self.out / "tensorboard", purge_step=after + 1)

    def add(self, scored: list[Scored], norm: Tensor) -> None:
        """Take in one step of this process, on the device."""
        for part in scored:
            bins = F.one_hot(part.timesteps * BINS // self.timesteps, BINS)
            weights = bins.to(_wide(self.team.device)) * part.counted[:, None]
            self.names = list(part.measured)
            rows = [value.to(weights) for value in part.measured.values()]
            summed = torch.stack([*rows, torch.ones_like(rows[0])]) @ weights
            self.sums = summed if self.sums is None else self.sums + summed
        norm, usable = full_tensor(norm), full_tensor(norm).isfinite()  # fp16 skips a step that overflowed
        norms = torch.stack([torch.where(usable, norm, 0), usable.to(norm), torch.ones_like(norm)])
        norms = norms.to(_wide(self.team.device))
        self.norms = norms if self.norms is None else self.norms + norms
        self.done += 1

    def line(self, step: int, **more: float) -> dict[str, Any]:
        """Write the metrics since the last line, and give them. Raises TrainingError for those that are not finite."""
        sums, norms = self._collected(step)
        count = sums[-1]
        line: dict[str, Any] = {"step": step}
        line |= {name: sum(row) / max(sum(count), 1) for name, row in zip(self.names, sums[:-1], strict=True)}
        line |= {"gradient_norm": norms[0] / norms[1] if norms[1] else None, **more}
        line["by_timestep"] = {
            name: [value / n if n else None for value, n in zip(sums[self.names.index(name)], count, strict=True)]
            for name in BINNED
        }
        line["chosen_rise"] = self._rise(sums)
        self.sums = self.norms = None
        by_main_process(self.team, self.out, lambda: self._write(step, line))
        return line

    def _write(self, step: int, line: dict[str, Any]) -> None:
        print(json.dumps(line), file=self.log, flush=True)
        if self.board is not None:
            self._plot(self.board, step, line)
        if line["gradient_norm"] is not None and line["gradient_norm"] < STILL and not self.told_still:
            self.told_still = True
            print(f"warning: the gradient is {line['gradient_norm']:g} at step {step}: nothing is learnt", flush=True)
        if line["chosen_rise"] is not None and line["chosen_rise"] > RISE and not self.warned:
            self.warned = True
            print(
                f"warning: at step {step} the chosen images' error is {line['chosen_rise']:.0%} above where it "
                "began: the model unlearns them to push the rejected ones away; lower --lr or --beta",
                flush=True,
            )

    def state(self) -> dict[str, Any]:
        """What a run that goes on from here needs; all processes ask at once. Raises TrainingError as `line` does."""
        sums, norms = (None, None) if self.sums is None else self._collected(self.done)
        return {
            "names": self.names,
            "sums": sums,
            "norms": norms,
            "start": self.start,
            "recent": self.recent,
            "warned": self.warned,
        }

    def _collected(self, step: int) -> tuple[list[list[float]], list[float]]:
        """The sums of all processes (metrics and their count, BINS each); of this one the gradients' norms.

        The latter are the sum of those that are finite, their number, and that of all. Raises TrainingError unless all
        that was measured up to `step` is finite.
        """
        assert self.sums is not None and self.norms is not None
        sums: list[list[float]] = self.team.sum(self.sums.clone()).tolist()
        norms: list[float] = self.norms.tolist()
        for name, row in zip(self.names, sums[:-1], strict=True):
            if not math.isfinite(sum(row)):
                raise broken(f"the {name.replace('_', ' ')} became {sum(row)} before step {step}", self.out)
        if (lost := norms[2] - norms[1]) and not self.overflows:
            raise broken(f"the gradient was not finite in {lost:.0f} steps before step {step}", self.out)
        return sums, norms

    def _rise(self, sums: list[list[float]]) -> float | None:
        """Share by which the chosen error is above the reference's, or where it was at the start; None if too early.

        Without a reference it is compared bin by bin, since it depends on the timesteps more than on anything else.
        """
        against = "ref_chosen_error" if "ref_chosen_error" in self.names else None
        held = [sums[self.names.index(name)] for name in ("chosen_error", against) if name] + [sums[-1]]
        self.recent = [*self.recent, held][-WATCHED:]
        if len(self.start) < WATCHED:
            self.start.append(held)
        if len(self.recent) < WATCHED:
            return None
        now = [[sum(column) for column in zip(*rows, strict=True)] for rows in zip(*self.recent, strict=True)]
        if against:
            return float(sum(now[0]) / max(sum(now[1]), 1e-12) - 1)
        then = [[sum(column) for column in zip(*rows, strict=True)] for rows in zip(*self.start, strict=True)]
        ratios = [(a / n) / (b / m) for a, n, b, m in zip(*now, *then, strict=True) if n and m and b]
        return sum(ratios) / len(ratios) - 1 if ratios else None

    def _plot(self, board: Board, step: int, line: dict[str, Any]) -> None:
        """The numbers of a line as TensorBoard's curves."""
        for name, value in line.items():
            if isinstance(value, float):
                board.add_scalar(name, value, step)
        width = self.timesteps // BINS
        for name, values in line["by_timestep"].items():
            for i, value in enumerate(values):
                if value is not None:
                    board.add_scalar(f"{name}/t{i * width}-{(i + 1) * width - 1}", value, step)
        board.flush()


def _opened(path: Path, after: int) -> Any:
    """The file of lines, without those that come after the step that the run goes on from."""
    kept = []
    if path.is_file():
        for text in path.read_text(encoding="utf-8-sig").splitlines():
            try:
                kept += [text] if json.loads(text)["step"] <= after else []
            except (ValueError, KeyError, TypeError):
                break  # torn by a kill
    fresh = path.with_name(f".{path.name}")
    fresh.write_text("".join(f"{text}\n" for text in kept))
    os.replace(fresh, path)
    return open(path, "a", encoding="utf-8")


def _wide(device: torch.device) -> torch.dtype:
    """Apple's GPUs have no float64."""
    return torch.float32 if device.type == "mps" else torch.float64
