"""All figures of all arms and seeds, put together: what was seen in, name → arm → estimate out.

Arms are base and adapted; beside them stand `change` (adapted − base, in pairs), `relative` (the change as a share of
the base's figure) and `chance` (what the figure would be if there were nothing to find).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from training.evaluation import attributes, bias, diversity, drift, preference, quality, toxicity
from training.evaluation.bootstrap import Draws, Figure, Mean, Single, change, draw, estimate, relative
from training.evaluation.instruments import Instruments
from training.evaluation.seen import Seen
from training.settings.evaluation import Probes

BASE, ADAPTED = "base", "adapted"
Figures = dict[str, Figure]
Table = dict[str, dict[str, dict[str, float]]]  # figure → arm → value, and low, high and images where they are known


def assemble(
    rounds: Sequence[Mapping[str, Seen]],
    pixels: Sequence[np.ndarray | None],
    tools: Instruments,
    probes: Probes,
    real: np.ndarray | None,
    seed: int = 0,
) -> Table:
    """The table of what was seen in each seed's arms; `pixels`: its pixel distances, `real`: features (M, F)."""
    values = _values(rounds, probes.rates)
    arms: dict[str, list[Figures]] = {BASE: [], ADAPTED: []}
    chances: list[dict[str, float]] = []
    for seen, distances in zip(rounds, pixels, strict=True):
        for arm, one in seen.items():
            arms[arm].append(of_arm(one, probes, values, tools) | against_real(one, tools, real))
        if distances is not None:
            pairs, chance = of_pair(seen[BASE], seen[ADAPTED], distances, tools)
            arms[ADAPTED][-1] |= pairs
            chances.append(chance)
    draws = draw(len(rounds[0][BASE].prompts), len(rounds), seed)
    return _table({arm: figures for arm, figures in arms.items() if figures}, chances, draws)


def of_arm(seen: Seen, probes: Probes, values: Mapping[str, set[object]], tools: Instruments) -> Figures:
    """Every figure of one arm and seed; `values`: what the attributes of `--rates` are seen to be in any of them."""
    found: Figures = {}
    if seen.shown is not None:
        found |= attributes.match(seen, probes.ignore)
        for name in probes.rates:
            found |= attributes.rates(seen, name, values[name])
        found |= bias.figures(seen, probes.balance, probes.over, probes.groups)
    found |= toxicity.figures(seen)
    if tools.clip:
        found |= quality.clipscore(seen, tools.clip.name) | diversity.figures(seen, tools.clip.name)
    if tools.extractor and seen.logits is not None and len(seen.logits) > 1:
        found[f"inception_score.{tools.extractor.name}"] = quality.inception_score(seen.logits)
    return found


def against_real(seen: Seen, tools: Instruments, real: np.ndarray | None) -> Figures:
    """`fid.real.<network>`: FID to the pictures of `--real`."""
    if real is None or tools.extractor is None or seen.features is None or min(len(real), len(seen.features)) < 2:
        return {}
    return {f"fid.real.{tools.extractor.name}": Single(quality.fid(real, seen.features), len(seen.features))}


def of_pair(base: Seen, adapted: Seen, pixels: np.ndarray, tools: Instruments) -> tuple[Figures, dict[str, float]]:
    """Figures of the adapted arm against the base, which is the reference of FID, and their levels of chance."""
    found: Figures = dict(preference.figures(base, adapted))
    chance = {name: 0.5 for name in found}
    found |= drift.figures(base, adapted, tools.clip.name if tools.clip else "", pixels)
    if tools.extractor and base.features is not None and adapted.features is not None and len(base.features) > 1:
        name = f"fid.base.{tools.extractor.name}"
        found[name] = Single(quality.fid(base.features, adapted.features), len(adapted.features))
        chance[name] = quality.fid_by_chance(base.features, adapted.features)
    return found, chance


def _values(rounds: Sequence[Mapping[str, Seen]], rates: Sequence[str]) -> dict[str, set[object]]:
    shown = [s for seen in rounds for arm in seen.values() for s in arm.shown or []]
    return {name: {s[name] for s in shown if name in s} for name in rates}


def _table(arms: Mapping[str, Sequence[Figures]], chances: Sequence[Mapping[str, float]], draws: Draws) -> Table:
    table: Table = {}
    missing = Mean(np.zeros(draws.prompts.shape[1]), np.zeros(draws.prompts.shape[1]), 0)
    for name in dict.fromkeys(name for seeds in arms.values() for figures in seeds for name in figures):
        taken = {arm: [f.get(name, missing) for f in seeds] for arm, seeds in arms.items()}
        taken = {arm: figures for arm, figures in taken.items() if any(f.images for f in figures)}
        if not taken:
            continue
        row = {arm: estimate(figures, draws) for arm, figures in taken.items()}
        if len(taken) == 2:
            row["change"] = change(taken[BASE], taken[ADAPTED], draws)
            if row[BASE]["value"]:
                row["relative"] = relative(taken[BASE], taken[ADAPTED], draws)
        levels = [chance[name] for chance in chances if name in chance]
        levels += [c for c in (bias.chance(f) for f in next(iter(taken.values()))) if c is not None]
        if levels:
            row["chance"] = {"value": float(np.mean(levels))}
        table[name] = row
    return table
