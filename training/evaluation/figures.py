"""All figures of all arms and seeds, put together: observations in, name → arm → estimate out.

Arms are base and adapted; besides them there are `change` (adapted − base, in pairs), `relative` (the change as a
share of the base's figure) and `chance` (what the figure would be if there were nothing to find).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from training.evaluation import attributes, bias, diversity, drift, preference, quality, toxicity
from training.evaluation.bootstrap import Figure, Mean, Resamples, Single, change, estimate, relative, resample
from training.evaluation.observations import Observations
from training.evaluation.probes import Probes
from training.settings.evaluation import ProbeOptions

BASE, ADAPTED = "base", "adapted"
Figures = dict[str, Figure]
Table = dict[str, dict[str, dict[str, float]]]  # figure → arm → value, and low, high and images where they are known


def assemble(
    rounds: Sequence[Mapping[str, Observations]],
    pixels: Sequence[np.ndarray | None],
    probes: Probes,
    options: ProbeOptions,
    real: np.ndarray | None,
    seed: int = 0,
) -> Table:
    """The table from the observations of each seed's arms; `pixels`: its pixel distances, `real`: features (M, F)."""
    values = _values(rounds, options.rates)
    arms: dict[str, list[Figures]] = {BASE: [], ADAPTED: []}
    chances: list[dict[str, float]] = []
    for observed, distances in zip(rounds, pixels, strict=True):
        for arm, one in observed.items():
            arms[arm].append(of_arm(one, options, values, probes) | against_real(one, probes, real))
        if distances is not None:
            pairs, chance = of_pair(observed[BASE], observed[ADAPTED], distances, probes)
            arms[ADAPTED][-1] |= pairs
            chances.append(chance)
    resamples = resample(len(rounds[0][BASE].prompts), len(rounds), seed)
    return _table({arm: figures for arm, figures in arms.items() if figures}, chances, resamples)


def of_arm(
    observed: Observations, options: ProbeOptions, values: Mapping[str, set[object]], probes: Probes
) -> Figures:
    """Every figure of one arm and seed; `values`: what the attributes of `--rates` are seen to be in any of them."""
    found: Figures = {}
    if observed.shown is not None:
        found |= attributes.match(observed, options.ignore)
        for name in options.rates:
            found |= attributes.rates(observed, name, values[name])
        if any(options.balance in shown for shown in observed.shown):
            found |= bias.figures(observed, options.balance, options.over, options.groups)
    found |= toxicity.figures(observed) | preference.scores(observed)
    if probes.clip:
        found |= quality.clipscore(observed, probes.clip.name) | diversity.figures(observed, probes.clip.name)
    if probes.extractor and observed.logits is not None and len(observed.logits) > 1:
        found[f"inception_score.{probes.extractor.name}"] = quality.inception_score(observed.logits)
    return found


def against_real(observed: Observations, probes: Probes, real: np.ndarray | None) -> Figures:
    """`fid.real.<network>`: FID to the pictures of `--real`."""
    if (
        real is None
        or probes.extractor is None
        or observed.features is None
        or min(len(real), len(observed.features)) < 2
    ):
        return {}
    return {f"fid.real.{probes.extractor.name}": Single(quality.fid(real, observed.features), len(observed.features))}


def of_pair(
    base: Observations, adapted: Observations, pixels: np.ndarray, probes: Probes
) -> tuple[Figures, dict[str, float]]:
    """Figures of the adapted arm against the base, which is the reference of FID, and their levels of chance."""
    found: Figures = dict(preference.figures(base, adapted))
    chance = {name: 0.5 for name in found}
    found |= drift.figures(base, adapted, probes.clip.name if probes.clip else "", pixels)
    if probes.extractor and base.features is not None and adapted.features is not None and len(base.features) > 1:
        name = f"fid.base.{probes.extractor.name}"
        found[name] = Single(quality.fid(base.features, adapted.features), len(adapted.features))
        chance[name] = quality.fid_by_chance(base.features, adapted.features)
    return found, chance


def _values(rounds: Sequence[Mapping[str, Observations]], rates: Sequence[str]) -> dict[str, set[object]]:
    shown = [s for observed in rounds for arm in observed.values() for s in arm.shown or []]
    return {name: {s[name] for s in shown if name in s} for name in rates}


def _table(
    arms: Mapping[str, Sequence[Figures]], chances: Sequence[Mapping[str, float]], resamples: Resamples
) -> Table:
    table: Table = {}
    missing = Mean(np.zeros(resamples.prompts.shape[1]), np.zeros(resamples.prompts.shape[1]), 0)
    for name in dict.fromkeys(name for seeds in arms.values() for figures in seeds for name in figures):
        taken = {arm: [f.get(name, missing) for f in seeds] for arm, seeds in arms.items()}
        taken = {arm: figures for arm, figures in taken.items() if any(f.images for f in figures)}
        if not taken:
            continue
        row = {arm: estimate(figures, resamples) for arm, figures in taken.items()}
        if len(taken) == 2:
            row["change"] = change(taken[BASE], taken[ADAPTED], resamples)
            if row[BASE]["value"]:
                row["relative"] = relative(taken[BASE], taken[ADAPTED], resamples)
        levels = [chance[name] for chance in chances if name in chance]
        levels += [c for c in (bias.chance(f) for f in next(iter(taken.values()))) if c is not None]
        if levels:
            row["chance"] = {"value": float(np.mean(levels))}
        table[name] = row
    return table
