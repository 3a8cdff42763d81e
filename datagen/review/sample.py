"""Which pairs a person is asked: half of them where the labels are least certain, half at random from all the others.

The uncertain ones teach most, but would say by themselves that labels are worse than they are. Of both it is known how
many pairs of the run they were drawn from, so that an answer can count as those it stands for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from datagen.records import content_id
from datagen.review.journal import SKIP, Planned

UNCERTAIN, REST = "uncertain", "rest"
LEAST = 0.25  # share of the pairs that is called uncertain
COLUMNS = ["prompt_id", "chosen_id", "rejected_id", "probability"]


def draw(
    labels: pa.Table, count: int, seed: int, without: Sequence[Planned] = ()
) -> tuple[list[Planned], dict[str, int]]:
    """Up to `count` pairs in the order to ask them, and how many each stratum holds; none of `without`.

    `labels` has COLUMNS, rows without a probability are no pairs. Any beginning of the order is a sample, too: the
    strata take turns, and each is in an order of its own that no score has a say in.
    """
    labels = labels.select(COLUMNS).filter(labels["probability"].is_valid())
    unsure = -np.abs(labels["probability"].to_numpy() - 0.5)
    rng = np.random.default_rng(seed)
    mixed = rng.permutation(len(unsure))
    by_doubt = mixed[np.argsort(-unsure[mixed], kind="stable")]  # among equals, chance decides
    least = math.ceil(LEAST * len(unsure))
    strata = {UNCERTAIN: rng.permutation(by_doubt[:least]), REST: rng.permutation(by_doubt[least:])}
    asked = {frozenset((pair.chosen_id, pair.rejected_id)) | {pair.prompt_id} for pair in without}
    found: list[Planned] = []
    for name, place in _turns(strata):
        if len(found) == count:
            break
        prompt, chosen, rejected, _ = (column[place].as_py() for column in labels.columns)
        if frozenset((chosen, rejected, prompt)) not in asked:
            turned = int(content_id("side", seed, prompt, chosen, rejected), 16) % 2 == 1
            found.append(Planned(prompt, chosen, rejected, name, turned))
    return found, {name: len(places) for name, places in strata.items()}


def _turns(strata: Mapping[str, NDArray[np.int64]]) -> Iterator[tuple[str, int]]:
    """One pair of each stratum after the other, as long as there are any."""
    longest = max(map(len, strata.values()), default=0)
    return ((name, int(places[at])) for at in range(longest) for name, places in strata.items() if at < len(places))


def weights(planned: Sequence[Planned], answers: Mapping[str, str], sizes: Mapping[str, int]) -> dict[str, float]:
    """Pair id → how many pairs of the run its answer stands for; skipped ones stand for none."""
    given = {pair.pair_id: pair.stratum for pair in planned if answers.get(pair.pair_id, SKIP) != SKIP}
    counts = {stratum: sum(other == stratum for other in given.values()) for stratum in sizes}
    return {name: sizes[stratum] / counts[stratum] for name, stratum in given.items() if stratum in sizes}
