"""A run's metrics at Weights & Biases, for those who ask for it by --wandb; nothing is sent without.

A service that cannot be reached when the run begins is said then; one that fails later costs a line, not the run.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.errors import TrainingError, one_line
from training.loop.disk import by_main_process
from training.loop.distributed import Team


class Wandb:
    """One run of a project, named as the folder of the training; no project, or another process: nothing happens.

    Raises TrainingError, in all processes, if the run cannot be begun.
    """

    def __init__(self, project: str, out: Path, settings: Mapping[str, Any], team: Team) -> None:
        self.run: Any = None
        if project:
            by_main_process(team, out, lambda: self._begin(project, out, settings))

    def _begin(self, project: str, out: Path, settings: Mapping[str, Any]) -> None:
        try:
            library: Any = importlib.import_module("wandb")
        except ImportError as error:
            raise TrainingError("--wandb needs the package wandb: pip install wandb, or leave it out") from error
        try:
            self.run = library.init(project=project, name=out.resolve().name, dir=str(out), config=dict(settings))
        except Exception as error:  # the client raises many kinds
            raise TrainingError(f"--wandb {project}: the run cannot be begun: {one_line(error)}") from error

    def log(self, line: Mapping[str, Any]) -> None:
        """The numbers of a line of metrics.jsonl."""
        numbers = {name: value for name, value in line.items() if isinstance(value, float)}
        for name, values in line["by_timestep"].items():
            numbers |= {f"{name}/bin-{i}": value for i, value in enumerate(values) if value is not None}
        self._ask("log", numbers, step=line["step"])

    def close(self) -> None:
        """End the run there."""
        self._ask("finish")

    def _ask(self, what: str, *given: Any, **named: Any) -> None:
        if self.run is None:
            return
        try:
            getattr(self.run, what)(*given, **named)
        except Exception as error:  # the client raises many kinds; metrics.jsonl has everything
            self.run = None
            print(f"warning: wandb failed and gets no more of this run: {one_line(error)}", flush=True)
