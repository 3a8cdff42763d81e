"""One evaluation, from settings to report: the pictures of every seed, a look at each, the figures, what is written.

Writes report.json, figures.png, bias.png where groups were counted, grid.png and the drawn pictures into OUT.
"""

from __future__ import annotations

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
from training.evaluation.instruments import Instruments
from training.evaluation.pictures import Round, folder, from_files, from_folders, from_table
from training.evaluation.seen import Seen
from training.evaluation.sheet import sheet
from training.models.diffusion import pick_device
from training.settings.evaluation import Probes, Settings

Stated = list[dict[str, object]]
Arms = dict[str, Seen]


def evaluate(settings: Settings) -> dict[str, Any]:
    """The whole evaluation; returns the report. Raises TrainingError."""
    texts, principles, existing = _material(settings)
    arms = len(existing.arms) if existing else 1 + bool(settings.drawn.adapter)
    probes = settings.probes
    if probes.rewards and len(probes.rewards) != arms:
        raise TrainingError(f"--rewards takes one table an arm, the base's first: {arms} here")
    parse = instruments.parser(probes)
    stated: Stated = [dict(parse(text)) for text in texts]
    tools = instruments.load(probes, texts, str(pick_device(settings.job.device)))
    out = Path(settings.job.out)
    out.mkdir(parents=True, exist_ok=True)
    real = _real(tools, settings)
    notes: list[dict[str, Any]] = []
    rounds = [existing] if existing else _draw(settings, _asked(texts, principles, stated, probes), tools, notes)
    made = {
        "settings": settings.model_dump(mode="json"),
        "prompts": len(texts),
        "images": sum(len(one.prompt_of) for one in rounds),
        "seeds": len(rounds),
        **_said(notes),
        "figures": assemble(
            [_look(tools, one, texts, stated, settings) for one in rounds],
            [_pixels(one) for one in rounds],
            tools,
            probes,
            real,
            settings.drawn.seed,
        ),
    }
    report.write(made, out)
    sheet(rounds[0], texts).save(out / "grid.png")
    plots.draw(made["figures"], probes.balance, probes.groups, out)
    return made


def _material(settings: Settings) -> tuple[list[str], list[tuple[str, ...]], Round | None]:
    """Prompts with their principles, and the pictures if there are any yet. Raises TrainingError."""
    drawn, existing = settings.drawn, settings.existing
    if len([given for given in (drawn.prompts, existing.base_images, existing.table) if given]) != 1:
        raise TrainingError("give one of --prompts (pictures are drawn), --base-images, --table (pictures that exist)")
    if drawn.prompts:
        texts, principles = prompts.load(drawn.prompts, drawn.principle, drawn.limit)
        return texts, principles, None
    if drawn.adapter or len(drawn.each_seed) > 1:
        raise TrainingError("--adapter and several --seeds are for pictures that are drawn: give --prompts instead")
    if existing.table:
        texts, pictures = from_table(existing.table)
    else:
        texts, pictures = from_folders(existing.base_images, existing.adapted_images, existing.captions)
    return texts, [()] * len(texts), pictures


def _asked(texts: list[str], principles: list[tuple[str, ...]], stated: Stated, probes: Probes) -> Asked:
    over = probes.over
    places = list(texts) if over == bias.PROMPT else [str(s.get(over, "")) for s in stated]
    unstated = [probes.balance not in s and bool(place) for s, place in zip(stated, places, strict=True)]
    return Asked(texts, principles, places, unstated)


def _draw(settings: Settings, asked: Asked, tools: Instruments, notes: list[dict[str, Any]]) -> list[Round]:
    """The pictures of every seed; what is to be said of them is added to `notes`."""
    probes = settings.probes
    shares: Callable[[Sequence[Image.Image], Sequence[str]], list[float]] | None = None
    if tools.reader:
        read = tools.reader

        def shares(pictures: Sequence[Image.Image], texts: Sequence[str]) -> list[float]:
            shown = [reading.get(probes.balance) for reading in read(pictures, texts)]
            return [shown.count(group) / len(shown) for group in probes.groups]

    rounds = []
    for seed in settings.drawn.each_seed:
        drawn, said = Studio(settings, seed, asked, shares).draw()
        rounds.append(drawn)
        notes.append(said)
    write_captions(Path(settings.job.out), asked, rounds)
    return rounds


def _look(tools: Instruments, drawn: Round, texts: list[str], stated: Stated, settings: Settings) -> Arms:
    """What is seen in each arm of a round, with the rewards that were given."""
    blank = Seen(texts, stated, np.array(drawn.prompt_of))
    files = settings.probes.rewards or [None] * len(drawn.arms)
    arms = {}
    for (arm, pictures), file in zip(drawn.arms.items(), files, strict=True):
        seen = instruments.look(tools, pictures, blank, settings.job.batch, arm)
        known = rewards.scores(file, pictures.names) if file else {}
        arms[arm] = dataclasses.replace(seen, scores={**seen.scores, **known})
    return arms


def _pixels(drawn: Round) -> np.ndarray | None:
    """The pixel distances of the pairs; None where there is one arm."""
    return pixel_distances(drawn.arms[BASE], drawn.arms[ADAPTED]) if ADAPTED in drawn.arms else None


def _real(tools: Instruments, settings: Settings) -> np.ndarray | None:
    """Features (M, F) of the pictures of --real."""
    if not settings.probes.real:
        return None
    if tools.extractor is None:
        raise TrainingError("--real is what FID compares with: it needs --features")
    pictures = from_files(list(folder(settings.probes.real, "--real").values()))
    return np.concatenate([tools.extractor.extract(batch)[0] for batch in pictures.batches(settings.job.batch)])


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
