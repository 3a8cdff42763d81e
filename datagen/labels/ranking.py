"""From comparisons of two images to a score for each: Bradley and Terry's model with ties, as Davidson has it.

P(i is better) : P(j is better) : P(tie) = exp((s_i − s_j)/2) : exp((s_j − s_i)/2) : ν (Davidson, JASA 1970). Not all
images of a prompt need to meet, as long as they hang together.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import optimize

from datagen.records import Label

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]

SPREAD = 3.0  # standard deviation that scores of one prompt are expected to have
TIES = 2.0  # and that of log ν
DIGITS = 4  # of a score; what is nearer is as good


def scores(
    first: Places, second: Places, probability: Numbers, images: int, ties: float | None = None
) -> tuple[Numbers, float]:
    """The score of each of so many images (images,), and ν, which is learnt with them unless `ties` gives it.

    `probability` (N,) says how likely the image of the place `first` (N,) is better than that of `second` (N,). As far
    as it is from one half it counts as won or lost, the rest as a tie. Scores are log-odds where ties are left out;
    those of images that hang together have the mean 0.
    """
    if not len(first):
        return np.zeros(images), 1.0 if ties is None else ties
    won = 2 * np.asarray(probability, np.float64) - 1
    tied = 1 - np.abs(won)

    def loss(at: Numbers) -> tuple[float, Numbers]:
        own, log_ties = at[:-1], float(at[-1]) if ties is None else math.log(ties)
        half = (own[first] - own[second]) / 2
        often = np.exp(log_ties)
        every = 2 * np.cosh(np.clip(half, -300, 300)) + often
        likely = (won * half + tied * log_ties - np.log(every)).sum()
        slope = won / 2 - np.sinh(np.clip(half, -300, 300)) / every
        slopes = np.bincount(first, slope, images) - np.bincount(second, slope, images) - own / SPREAD**2
        by_ties = (tied - often / every).sum() - log_ties / TIES**2 if ties is None else 0.0
        prior = (own**2).sum() / SPREAD**2 / 2 + log_ties**2 / TIES**2 / 2
        return prior - likely, -np.append(slopes, by_ties)

    found = optimize.minimize(loss, np.zeros(images + 1), jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    own: Numbers = np.asarray(found[:-1])
    return own, float(np.exp(found[-1])) if ties is None else ties


@dataclasses.dataclass(frozen=True)
class Ranked:
    """An image in the list of its prompt: its score, and how many others it was compared with."""

    image_id: str
    score: float
    met: int


AT_ONCE = 50_000  # labels that are ranked together; of more, the first so many say how often there are ties
COLUMNS = ("prompt_id", "chosen_id", "rejected_id", "probability")  # of labels, that a ranking is made of


def of_labels(labels: Iterable[Label]) -> dict[str, list[Ranked]]:
    """The images of each prompt, the best first, by all labels that have a probability; equals as they came."""
    rows = [label for label in labels if label.probability is not None]
    return dict(of_tables([pa.table({name: [getattr(row, name) for row in rows] for name in COLUMNS})]))


def of_tables(labels: Iterable[pa.Table]) -> Iterator[tuple[str, list[Ranked]]]:
    """The same of tables with `COLUMNS`, prompt by prompt as those lie there; AT_ONCE labels are in memory."""
    ties: float | None = None
    for told in _batches(labels):
        ties, lists = _ranked(told, ties)
        yield from lists.items()


def _batches(labels: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The labels that have a probability, those of one prompt in one table."""
    rest: pa.Table | None = None
    for table in labels:
        told = table.filter(pc.is_valid(table["probability"]))
        rest = told if rest is None else pa.concat_tables([rest, told])
        if len(rest) >= AT_ONCE:
            prompts = _prompts(rest)
            if whole := pc.index(prompts, prompts[-1]).as_py():  # the last one may go on
                yield rest.slice(0, whole)
                rest = rest.slice(whole)
    if rest is not None and len(rest):
        yield rest


def _prompts(labels: pa.Table) -> pa.ChunkedArray:
    return pc.fill_null(labels["prompt_id"].cast(pa.string()), "")


def _ranked(told: pa.Table, ties: float | None) -> tuple[float, dict[str, list[Ranked]]]:
    """ν and the lists of some prompts."""
    prompts = _prompts(told).to_numpy(zero_copy_only=False)
    sides = [told[name].to_numpy(zero_copy_only=False) for name in ("chosen_id", "rejected_id")]
    at: dict[tuple[str, str], int] = {}
    places = np.empty((len(told), 2), np.int64)
    for row, (prompt, *both) in enumerate(zip(prompts, *sides, strict=True)):
        places[row] = [at.setdefault((prompt, image), len(at)) for image in both]
    probability = told["probability"].to_numpy()
    found, ties = scores(places[:, 0], places[:, 1], probability, len(at), ties)
    met = np.bincount(places.ravel(), minlength=len(at))
    lists: dict[str, list[Ranked]] = collections.defaultdict(list)
    for (prompt, image), place in at.items():
        lists[prompt].append(Ranked(image, round(float(found[place]), DIGITS), int(met[place])))
    return ties, {prompt: sorted(some, key=lambda one: -one.score) for prompt, some in lists.items()}
