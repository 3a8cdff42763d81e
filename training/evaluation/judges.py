"""The judges that datasets are built with, in evaluation: the same scores, from the same panel.

A judge that built the data which was trained on is no independent witness: as a metric it is refused, unless that is
asked for, and a report says which judges did.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from datagen import judges
from datagen.errors import InputError
from datagen.judges import panel
from training.data import Table, find_files
from training.errors import TrainingError


def known(name: str) -> bool:
    """Whether `datagen list judges` has a judge of this name."""
    return name in judges.JUDGES.names()


class Asked:
    """One judge, asked about pictures and their prompts; `sign` is −1 where lower scores are better."""

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self._judge = judges.load(name, options)
        facts = self._judge.facts
        if not facts.metric:
            raise TrainingError(f"--judge {name} is not for evaluation: what it says is no measure of a model")
        if not hasattr(self._judge, "score"):
            raise TrainingError(f"--judge {name} gives no score to one picture by itself: name another")
        self.sign = 1 if facts.higher_is_better else -1

    def __call__(self, pictures: Sequence[Image.Image], prompts: Sequence[str]) -> np.ndarray:
        """(N,) scores, NaN where it abstains; of a judge with several scores the first."""
        questions = [panel.Question(picture, (text,)) for picture, text in zip(pictures, prompts, strict=True)]
        answers = panel.ask([self._judge], questions)
        return np.array([answer.scores[self._judge.name][0, 0] for answer in answers])


def load(name: str, given: Sequence[str]) -> Asked:
    """The judge of a name with its own of the options `JUDGE.OPTION=VALUE`. Raises ModelError and TrainingError."""
    mine = [option.removeprefix(f"{name}.") for option in given if option.startswith(f"{name}.")]
    options: dict[str, Any] = {}
    for option in mine:
        key, equals, value = option.partition("=")
        if not equals:
            raise TrainingError(f"--judge-options {name}.{option}: give JUDGE.OPTION=VALUE")
        options[key] = _value(value)
    return Asked(name, options)


def refuse_strangers(given: Sequence[str], names: Sequence[str]) -> None:
    """Raise TrainingError for options of a judge that is not asked."""
    for option in given:
        if not any(option.startswith(f"{name}.") for name in names):
            raise TrainingError(f"--judge-options {option}: give JUDGE.OPTION=VALUE for one of --judge")


def built(source: str) -> set[str]:
    """The judges whose scores stand in a dataset; none where the source is no dataset, or tells none."""
    path = Path(source).expanduser()
    if not path.exists():
        return set()
    try:
        files = find_files(source, "test")
    except (TrainingError, InputError):  # whoever reads it says what is wrong with it
        return set()
    for file in files[:1]:
        table = Table(file, path if path.is_dir() else path.parent)
        if "scores" in table.names and (cells := table.values("scores")):
            try:
                found = json.loads(cells[0])
            except (TypeError, ValueError):
                return set()
            return set(found) if isinstance(found, dict) else set()
    return set()


def builders(prompts: str, adapters: Sequence[Path]) -> set[str]:
    """The judges that built the dataset of the prompts, or the data of adapters whose training.json names it."""
    sources = [prompts] * bool(prompts) + [_trained_on(adapter) for adapter in adapters]
    return {name for source in sources if source for name in built(source)}


def refuse_builders(asked: Sequence[str], builders: Set[str]) -> None:
    """Raise TrainingError for a judge that is asked for as a metric and built the data."""
    if own := sorted(set(asked) & set(builders)):
        raise TrainingError(
            f"--judge {' '.join(own)} labelled the data that was trained on or that the prompts are from, so it is no "
            "independent metric: name another judge, or add --allow-builders"
        )


def _trained_on(adapter: Path) -> str:
    """The data that an adapter was trained on; "" where nothing tells."""
    path = (adapter if adapter.is_dir() else adapter.parent) / "training.json"
    try:
        return str(json.loads(path.read_text(encoding="utf-8-sig"))["run"]["data"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _value(text: str) -> Any:
    """A number or a truth value where the text is one, else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
