"""What is known of each pair, checked, in an order of its own: the same rows give the same bytes however they come.

A row is a pair of images A and B. Its order here depends neither on the order given nor on which image is called A.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from datagen.errors import InputError

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]
Codes = NDArray[np.int64]
PAIR, CONTROL, PLANTED, NULL = range(4)
FOLDS, MORE_FOLDS = 5, 20  # where there are few prompts, what a fold leaves out is missed
FEW = 1_000  # prompts


@dataclasses.dataclass(frozen=True)
class Rows:
    """N rows of J judges. `margins` (N, J): A − B, NaN where a judge abstained; the others are (N,).

    `design` is +1 where A was meant to be the better one, −1 where B was, 0 where nothing was meant. `known` is 1, 0
    or NaN. `learn` are the rows that anything is learnt from; `prompt`, `stratum` and `fold` count from 0.
    """

    margins: Numbers
    design: Numbers
    role: Codes
    known: Numbers
    prompt: Codes
    stratum: Codes
    fold: Codes
    learn: Flags
    strata: list[str]

    def __len__(self) -> int:
        return len(self.design)

    def of(self, role: int) -> Flags:
        """The rows of a role that are learnt from."""
        result: Flags = self.learn & (self.role == role)
        return result


def rows(
    margins: ArrayLike,
    design: ArrayLike,
    role: ArrayLike,
    known: ArrayLike,
    prompts: ArrayLike,
    strata: ArrayLike | None,
    learn: ArrayLike | None,
    seed: int,
) -> tuple[Rows, Codes]:
    """The rows in their own order, and the place of each in what was given; InputError for arrays that do not fit."""
    said = _numbers("margins", margins, 2)
    if np.isinf(said).any():
        raise InputError("margins hold infinite values: give finite ones, or NaN where a judge abstained")
    if said.shape[1] == 0:
        raise InputError("margins have no column: give one a judge")
    count = len(said)
    one = {name: _numbers(name, of, 1) for name, of in (("design", design), ("role", role), ("known", known))}
    names = np.asarray(prompts).astype(str) if np.size(prompts) else np.zeros(0, str)
    groups = np.full(count, "") if strata is None else np.asarray(strata).astype(str)
    taught = np.ones(count, bool) if learn is None else np.asarray(learn).astype(bool)
    for name, value in {**one, "prompts": names, "strata": groups, "learn": taught}.items():
        if value.shape != (count,):
            raise InputError(
                f"{name} has the shape {value.shape}, but margins have {count} rows: give one value a row"
            )
    _among("design", one["design"], "1 (A was meant), -1 (B was) or 0 (nothing was meant)", 1, -1, 0)
    _among("role", one["role"], "0 (pair), 1 (control), 2 (planted) or 3 (null)", 0, 1, 2, 3)
    _among("known", one["known"], "1 (A is better), 0 (B is) or NaN (not known)", 1, 0, np.nan)
    for code, what in ((CONTROL, "control"), (PLANTED, "planted")):
        if ((one["role"] == code) & (one["design"] == 0)).any():
            raise InputError(f"a {what} row has the design 0: give 1 or -1, the image that was meant")
    unique, prompt = np.unique(names, return_inverse=True)
    known_strata, stratum = np.unique(groups, return_inverse=True)
    most = FOLDS if len(unique) >= FEW else MORE_FOLDS
    folds = np.random.default_rng(seed).permutation(len(unique)) % max(1, min(most, len(unique)))
    keys = [*np.abs(np.nan_to_num(said, nan=-1.0)).T, one["role"], stratum, prompt]
    order = np.lexsort(keys)
    made = Rows(
        said[order], one["design"][order], one["role"][order].astype(np.int64), one["known"][order],
        prompt[order], stratum[order], folds[prompt][order], taught[order], [str(name) for name in known_strata],
    )  # fmt: skip
    return made, order


def _numbers(name: str, given: ArrayLike, dimensions: int) -> Numbers:
    try:
        value = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} are not numbers: give floats") from None
    if value.ndim != dimensions:
        shape = "(pairs, judges)" if dimensions == 2 else "(pairs,)"
        raise InputError(f"{name} has the shape {value.shape}: give {shape}")
    return value


def _among(name: str, value: Numbers, accepted: str, *known: float) -> None:
    wrong = ~np.isin(value, [k for k in known if k == k])
    if any(k != k for k in known):
        wrong &= ~np.isnan(value)
    if wrong.any():
        raise InputError(f"{name} holds {value[wrong][0]:g}: accepted are {accepted}")


def patterns(absent: Flags) -> list[tuple[Flags, Codes]]:
    """The different sets of judges that spoke (J,), each with its rows."""
    code = np.zeros(len(absent), dtype=np.int64)
    for column in absent.T:  # each set of those so far with and without one more judge
        _, code = np.unique(2 * code + column, return_inverse=True)
    _, first, which = np.unique(code, return_index=True, return_inverse=True)
    found = absent[first]
    order = np.argsort(which, kind="stable")
    edges = np.searchsorted(which[order], np.arange(len(found) + 1))
    return [(~found[k], order[edges[k] : edges[k + 1]]) for k in range(len(found))]


def weights_of(prompt: Codes, random: np.random.Generator) -> Numbers:
    """Random weights of mean 1, one a prompt (Rubin's Bayesian bootstrap), for each row."""
    drawn = random.exponential(size=int(prompt.max()) + 1 if len(prompt) else 0)
    result: Numbers = (drawn / drawn.mean())[prompt] if len(prompt) else np.zeros(0)
    return result
