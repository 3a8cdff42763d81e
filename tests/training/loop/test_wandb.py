"""Weights & Biases gets the metrics where it is asked for, and its failures never cost a run."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from training.run import main


class Service:
    """Stands in for the client: what it was told, and when it fails."""

    def __init__(self, fails: str = "") -> None:
        self.fails, self.lines, self.ended, self.begun = fails, [], 0, {}

    def init(self, **given: Any) -> Service:
        if self.fails == "init":
            raise RuntimeError("no API key\nmore")
        self.begun = given
        return self

    def log(self, numbers: dict[str, float], step: int) -> None:
        if self.fails == "log":
            raise ConnectionError("the network is gone")
        self.lines.append((step, numbers))

    def finish(self) -> None:
        self.ended += 1


def train(service: Service | None, folder: Path, dataset: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    if service:
        module = types.ModuleType("wandb")
        module.__dict__["init"] = service.init
        monkeypatch.setitem(sys.modules, "wandb", module)
    line = ["--data", str(dataset), "--model", str(folder), "--method", "sft", "--steps", "12", "--batch", "2"]
    return main([*line, "--out", str(out), "--wandb", "ours"])


def test_it_gets_every_line_of_the_metrics(
    sd15_folder: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service()
    assert train(service, sd15_folder, dataset, tmp_path / "o", monkeypatch) == 0
    assert (service.begun["project"], service.begun["name"], service.ended) == ("ours", "o", 1)
    assert service.begun["config"]["run"]["method"] == "sft"
    metrics = [json.loads(text) for text in (tmp_path / "o" / "metrics.jsonl").read_text().splitlines()]
    assert [step for step, _ in service.lines] == [line["step"] for line in metrics] == [10, 12]
    assert [numbers["loss"] for _, numbers in service.lines] == [line["loss"] for line in metrics]


def test_a_service_that_fails_later_costs_a_line(
    sd15_folder: Path,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train(Service("log"), sd15_folder, dataset, tmp_path / "o", monkeypatch) == 0
    assert capsys.readouterr().out.count("warning: wandb failed") == 1
    assert (tmp_path / "o" / "training.json").is_file()


def test_a_service_that_cannot_be_begun_is_one_line(
    sd15_folder: Path,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train(Service("init"), sd15_folder, dataset, tmp_path / "o", monkeypatch) == 2
    assert "error: --wandb ours: the run cannot be begun: no API key" in capsys.readouterr().err


def test_without_the_package_it_is_one_line(
    sd15_folder: Path,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert train(None, sd15_folder, dataset, tmp_path / "o", monkeypatch) == 2
    assert "--wandb needs the package wandb" in capsys.readouterr().err
