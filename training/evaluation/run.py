"""One evaluation, from settings to report: the pictures of every seed, a look at each, the figures, what is written.

Writes report.json, figures.png, bias.png where groups were counted, grid.png and the drawn pictures into OUT.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from training.errors import TrainingError
from training.evaluation import bias, instruments, plots, prompts, report, rewards
from training.evaluation.drawing import Asked, Studio, write_captions
from training.evaluation.drift import pixel_distances
from training.evaluation.figures import ADAPTED, BASE, assemble
from training.evaluation.instruments import Instruments, dotted
from training.evaluation.pictures import Round, folder, from_files, from_folders, from_table
from training.evaluation.seen import Seen
from training.evaluation.sheet import sheet
from training.models.diffusion import pick_device

Stated = list[dict[str, object]]
Arms = dict[str, Seen]


def evaluate(settings: argparse.Namespace) -> dict[str, Any]:
    """The whole evaluation; returns the report. Raises TrainingError."""
    texts, principles, existing = _material(settings)
    arms = len(existing.arms) if existing else 1 + bool(settings.adapter)
    if settings.rewards and len(settings.rewards) != arms:
        raise TrainingError(f"--rewards takes one table an arm, the base's first: {arms} here")
    parse = None if settings.parser == instruments.NONE else dotted(settings.parser, "--parser")
    stated: Stated = [dict(parse(text)) if parse else {} for text in texts]
    tools = instruments.load(settings, texts, str(pick_device(settings.device)))
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    real = _real(tools, settings)
    notes: list[dict[str, Any]] = []
    rounds = [existing] if existing else _draw(settings, _asked(texts, principles, stated, settings), tools, notes)
    made = {
        "settings": vars(settings),
        "prompts": len(texts),
        "images": sum(len(one.prompt_of) for one in rounds),
        "seeds": len(rounds),
        **_said(notes),
        "figures": assemble(
            [_look(tools, one, texts, stated, settings) for one in rounds],
            [_pixels(one) for one in rounds],
            tools,
            settings,
            real,
        ),
    }
    report.write(made, out)
    sheet(rounds[0], texts).save(out / "grid.png")
    plots.draw(made["figures"], settings.balance, settings.groups, out)
    return made


def _material(settings: argparse.Namespace) -> tuple[list[str], list[tuple[str, ...]], Round | None]:
    """Prompts with their principles, and the pictures if there are any yet. Raises TrainingError."""
    given = [name for name in ("prompts", "base_images", "table") if getattr(settings, name)]
    if len(given) != 1:
        raise TrainingError("give one of --prompts (pictures are drawn), --base-images, --table (pictures that exist)")
    if given == ["prompts"]:
        texts, principles = prompts.load(settings.prompts, settings.principle, settings.limit)
        return texts, principles, None
    if settings.adapter or len(settings.seeds) > 1:
        raise TrainingError("--adapter and several --seeds are for pictures that are drawn: give --prompts instead")
    if given == ["table"]:
        texts, existing = from_table(settings.table)
    else:
        texts, existing = from_folders(settings.base_images, settings.adapted_images, settings.captions)
    return texts, [()] * len(texts), existing


def _asked(texts: list[str], principles: list[tuple[str, ...]], stated: Stated, settings: argparse.Namespace) -> Asked:
    over = settings.over
    places = list(texts) if over == bias.PROMPT else [str(s.get(over, "")) for s in stated]
    unstated = [settings.balance not in s and bool(place) for s, place in zip(stated, places, strict=True)]
    return Asked(texts, principles, places, unstated)


def _draw(settings: argparse.Namespace, asked: Asked, tools: Instruments, notes: list[dict[str, Any]]) -> list[Round]:
    """The pictures of every seed; what is to be said of them is added to `notes`."""
    shares: Callable[[Sequence[Image.Image], Sequence[str]], list[float]] | None = None
    if tools.reader:
        read = tools.reader

        def shares(pictures: Sequence[Image.Image], texts: Sequence[str]) -> list[float]:
            shown = [reading.get(settings.balance) for reading in read(pictures, texts)]
            return [shown.count(group) / len(shown) for group in settings.groups]

    rounds = []
    for seed in settings.seeds:
        drawn, said = Studio(settings, seed, asked, shares).draw()
        rounds.append(drawn)
        notes.append(said)
    write_captions(Path(settings.out), asked, rounds)
    return rounds


def _look(tools: Instruments, drawn: Round, texts: list[str], stated: Stated, settings: argparse.Namespace) -> Arms:
    """What is seen in each arm of a round, with the rewards that were given."""
    blank = Seen(texts, stated, np.array(drawn.prompt_of))
    files = settings.rewards or [None] * len(drawn.arms)
    arms = {}
    for (arm, pictures), file in zip(drawn.arms.items(), files, strict=True):
        seen = instruments.look(tools, pictures, blank, settings.batch, arm)
        known = rewards.scores(file, pictures.names) if file else {}
        arms[arm] = dataclasses.replace(seen, scores={**seen.scores, **known})
    return arms


def _pixels(drawn: Round) -> np.ndarray | None:
    """The pixel distances of the pairs; None where there is one arm."""
    return pixel_distances(drawn.arms[BASE], drawn.arms[ADAPTED]) if ADAPTED in drawn.arms else None


def _real(tools: Instruments, settings: argparse.Namespace) -> np.ndarray | None:
    """Features (M, F) of the pictures of --real."""
    if not settings.real:
        return None
    if tools.extractor is None:
        raise TrainingError("--real is what FID compares with: it needs --features")
    pictures = from_files(list(folder(settings.real, "--real").values()))
    return np.concatenate([tools.extractor.extract(batch)[0] for batch in pictures.batches(settings.batch)])


def _said(notes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One statement of all seeds: idle without a token in all of them, the mean use of the token."""
    said: dict[str, Any] = {}
    if any("identical_without_token" in note for note in notes):
        said["identical_without_token"] = all(note["identical_without_token"] for note in notes)
        uses = [note["use_probability"] for note in notes]
        if isinstance(uses[0], dict):
            said["use_probability"] = {name: float(np.mean([use[name] for use in uses])) for name in uses[0]}
        else:
            said["use_probability"] = uses[0]
    return said
