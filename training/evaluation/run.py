"""One evaluation, from settings to report: the pictures of every seed, measured; the figures; what is written.

Writes report.json, figures.png, bias.png where groups were counted, grid.png and the sampled pictures into OUT.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from training.errors import TrainingError
from training.evaluation import bias, judges, plots, prompts, report, rewards
from training.evaluation.contact_sheet import contact_sheet
from training.evaluation.figures import assemble
from training.evaluation.first_look import Look, is_blank, look
from training.evaluation.observations import Observations
from training.evaluation.pictures import Round, folder, from_files, from_folders, from_table
from training.evaluation.probes import Probes, load_probes, load_prompt_parser, measure, unseen
from training.evaluation.sampler import PromptSet, Sampler, write_captions
from training.inference.adapter import base_of
from training.models.diffusion import pick_device
from training.models.embedded import is_embedded
from training.settings.evaluation import ProbeOptions, Settings, for_pictures
from training.settings.reading import as_json

Stated = list[dict[str, object]]
Arms = dict[str, Observations]


def evaluate(settings: Settings) -> dict[str, Any]:
    """The whole evaluation; returns the report. Raises TrainingError."""
    texts, principles, existing = _material(settings)
    settings, notes = _resolved(settings, existing)
    arms = len(existing.arms) if existing else 1 + bool(settings.drawn.adapter)
    options = settings.probes
    if options.rewards and len(options.rewards) != arms:
        raise TrainingError(f"--rewards takes one table an arm, the base's first: {arms} here")
    parse = load_prompt_parser(options)
    stated: Stated = [dict(parse(text)) for text in texts]
    probes = load_probes(options, texts, str(pick_device(settings.job.device)))
    if notes and arms == 1 and probes.are_none:
        raise TrainingError(f"nothing would be measured, {notes[-1]}")
    out = Path(settings.job.out)
    out.mkdir(parents=True, exist_ok=True)
    real = _real(probes, settings, notes)
    said: list[dict[str, Any]] = []
    rounds = (
        [existing] if existing else _sample(settings, _prompt_set(texts, principles, stated, options), probes, said)
    )
    looks = [look(one) for one in rounds]
    notes += _seen(looks)
    observed = [_measure(probes, one.round, texts, stated, settings) for one in looks]
    result = {
        "settings": as_json(settings, but={"probes_given"}),
        "prompts": len(texts),
        "images": sum(len(one.prompt_of) for one in rounds),
        "left_out": {arm: sum(len(one.blank[arm]) for one in looks) for arm in looks[0].blank},
        "seeds": len(rounds),
        **_said(said),
        "figures": assemble(observed, [one.pixels for one in looks], probes, options, real, settings.drawn.seed),
        "notes": notes + unseen(observed, probes, options) + _not_independent(settings.drawn.prompts, observed),
    }
    report.write(result, out)
    contact_sheet(rounds[0], texts).save(out / "grid.png")
    plots.write(result["figures"], options.balance, options.groups, out)
    return result


def _resolved(settings: Settings, existing: Round | None) -> tuple[Settings, list[str]]:
    """The settings with the model and the probes as they are for it, and what is to be said. Raises TrainingError."""
    drawn = settings.drawn
    if existing:  # nobody knows what drew them, unless --model says so
        embedded, notes = bool(drawn.model) and is_embedded(drawn.model), list(existing.notes)
    else:
        base = base_of(drawn.adapters, drawn.model)
        drawn, embedded = dataclasses.replace(drawn, model=base.model), base.is_embedded
        notes = [base.note] if base.note else []
    probes, said = for_pictures(settings.probes, frozenset(settings.probes_given), embedded=embedded)
    return dataclasses.replace(settings, drawn=drawn, probes=probes), notes + said


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


def _prompt_set(
    texts: list[str], principles: list[tuple[str, ...]], stated: Stated, options: ProbeOptions
) -> PromptSet:
    over = options.over
    places = list(texts) if over == bias.PROMPT else [str(s.get(over, "")) for s in stated]
    unstated = [options.balance not in s and bool(place) for s, place in zip(stated, places, strict=True)]
    return PromptSet(texts, principles, places, unstated)


def _sample(settings: Settings, prompt_set: PromptSet, probes: Probes, notes: list[dict[str, Any]]) -> list[Round]:
    """The pictures of every seed; what is to be said of them is added to `notes`."""
    options = settings.probes
    shares: Callable[[Sequence[Image.Image], Sequence[str]], list[float]] | None = None
    if probes.reader and options.groups:
        read = probes.reader

        def shares(pictures: Sequence[Image.Image], texts: Sequence[str]) -> list[float]:
            usable = [(p, text) for p, text in zip(pictures, texts, strict=True) if not is_blank(p)]
            if not usable:
                raise TrainingError("--use-probability auto: every picture to calibrate with is of one colour")
            shown = [r.get(options.balance) for r in read([p for p, _ in usable], [text for _, text in usable])]
            return [shown.count(group) / len(shown) for group in options.groups]

    rounds = []
    for seed in settings.drawn.each_seed:
        sampled, said = Sampler(settings, seed, prompt_set, shares).sample()
        rounds.append(sampled)
        notes.append(said)
    write_captions(Path(settings.job.out), prompt_set, rounds)
    return rounds


def _measure(probes: Probes, one: Round, texts: list[str], stated: Stated, settings: Settings) -> Arms:
    """The observations of each arm of a round, with the rewards that were given."""
    blank = Observations(texts, stated, np.array(one.prompt_of))
    files = settings.probes.rewards or [None] * len(one.arms)
    arms = {}
    for (arm, pictures), file in zip(one.arms.items(), files, strict=True):
        observed = measure(probes, pictures, blank, settings.job.batch, arm)
        known = rewards.scores(file, pictures.names) if file else {}
        arms[arm] = dataclasses.replace(observed, scores={**observed.scores, **known})
    return arms


def _seen(looks: Sequence[Look]) -> list[str]:
    """What is to be said of what the first look left out, and of pictures that did not change."""
    said = []
    for arm in looks[0].blank:
        if names := [name for one in looks for name in one.blank[arm]]:
            said.append(f"{len(names)} pictures of the {arm} arm are of one colour and left out, first {names[0]}")
    if all(one.pixels is not None and not one.pixels.any() for one in looks):
        said.append("the adapted pictures are the base model's to the last pixel: what was trained does nothing here")
    return said


def _not_independent(source: str, observed: Sequence[Arms]) -> list[str]:
    """Which of the judges' figures are of judges that built the dataset."""
    judged = {name for arms in observed for one in arms.values() for name in one.scores}
    builders = judges.built(source) if source else set()
    told = sorted(name for name in judged if name.partition("-")[0] in builders or name in builders)
    return [f"{name} built the data: what it says of a model that was trained on it proves little" for name in told]


def _real(probes: Probes, settings: Settings, notes: list[str]) -> np.ndarray | None:
    """Features (M, F) of the pictures of --real that show something; what is left out is added to `notes`."""
    if not settings.probes.real:
        return None
    if probes.extractor is None:
        raise TrainingError("--real is what FID compares with: it needs --features")
    pictures = from_files(list(folder(settings.probes.real, "--real").values()))
    seen = look(Round([0] * len(pictures), {"--real": pictures}))
    notes += _seen([seen])
    batches = seen.round.arms["--real"].batches(settings.job.batch)
    return np.concatenate([probes.extractor.extract(batch)[0] for batch in batches])


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
