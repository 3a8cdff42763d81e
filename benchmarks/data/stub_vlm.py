"""How well a comparing model's accuracy and its liking for the first place are recovered, and what labels keep of it.

`python -m benchmarks stub_vlm [--pairs N] [--seeds N]`. A model that names the first of two images in 30 % of its
answers, and in the others the better one 7 times of 10, is asked about 2,000 pairs in both orders: over HTTP on
loopback, by `endpoint_pairwise`, with one seed; and with many seeds by the same function without the server.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.support.results import Row, record
from benchmarks.support.vlm_server import Taste, VlmStub, first_wins, picture, text
from datagen import judges
from datagen.judges import panel
from datagen.labels import aggregate, reliability
from datagen.labels.axes import BEATS
from datagen.llm import LlmOptions

PAIRS, SEEDS, SEED = 2_000, 200, 0
TASTE = Taste()
WITHIN, LEFT = 0.03, 0.01  # of accuracy and bias; of the bias of a label
VARIABLES = {"DATAGEN_LLM_MODEL": "stub", "DATAGEN_LLM_API_KEY": "", "OPENAI_API_KEY": ""}
Said = NDArray[np.float64]  # (N,) probabilities that the image that is shown first beats the other


def truth(pairs: int) -> Said:
    """1 where the first image of a pair is the better one: of every other pair."""
    return np.array([float(pair % 2 == 0) for pair in range(pairs)])


def by_function(seed: int, pairs: int) -> tuple[Said, Said]:
    """What the model says of each pair as it stands, and exchanged."""
    better = (1 - truth(pairs)).astype(int).tolist()
    ahead, behind = (
        np.array([first_wins(TASTE, seed, pair, first, better[pair]) for pair in range(pairs)]) for first in (0, 1)
    )
    return ahead, behind


def over_http(pairs: int) -> tuple[Said, Said, float]:
    """The same of a server, asked as a run asks it; and the calls a second."""
    better = (1 - truth(pairs)).astype(int).tolist()
    duels = [
        panel.Duel(picture(pair, 0, better[pair]), picture(pair, 1, better[pair]), text(pair)) for pair in range(pairs)
    ]
    judge = judges.load("endpoint_pairwise", {"format": "png"})
    with tempfile.TemporaryDirectory() as folder, VlmStub(seed=SEED) as stub:
        with (
            _environment(VARIABLES | {"DATAGEN_LLM_BASE_URL": stub.base_url, "DATAGEN_CACHE": f"{folder}/cache"}),
            panel.connected([judge], LlmOptions(Path(folder))),
        ):
            started = time.monotonic()
            said = [two[judge.name] for some in panel.chunks(duels) for two in panel.compare([judge], some)]
            seconds = time.monotonic() - started
        calls = stub.stats()["calls"]
    if calls != 2 * pairs:
        sys.exit(f"error: {calls} calls for {pairs} pairs in both orders")
    ahead, behind = (np.array([one.p for one in column]) for column in zip(*said, strict=True))
    return ahead, behind, calls / seconds


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def labels(ahead: Said, behind: Said) -> Said:
    """How probably the first image of each pair is preferred, from both orders, as this judge's log-odds say."""
    reading, found = aggregate.Reading(1.0), []
    for one, other in zip(ahead.tolist(), behind.tolist(), strict=True):
        beats = aggregate.standing({("a", "b"): one, ("b", "a"): other})
        a, b = (aggregate.lean(reading, {BEATS: beats[image]}) for image in "ab")
        assert a is not None and b is not None
        found.append(aggregate.sigmoid(a - b))
    return np.array(found)


def recovered(ahead: Said, behind: Said) -> tuple[float, float, float, float]:
    """Accuracy, bias, and how much oftener than the truth a label prefers the first image: of one order, of both."""
    known = truth(len(ahead))
    found = reliability.of_orders(ahead, behind, known, np.arange(len(ahead)))
    assert found.first is not None and found.unbiased is not None
    both, expected = labels(ahead, behind), float(known.mean())
    return found.unbiased, 2 * found.first.value - 1, float(ahead.mean()) - expected, float(both.mean()) - expected


def rows(http: tuple[Said, Said, float], seeds: int) -> list[Row]:
    """The figures of the run over HTTP, each with its spread over many seeds of the same model without a server."""
    ahead, behind, rate = http
    pairs = len(ahead)
    many = np.array([recovered(*by_function(seed, pairs)) for seed in range(seeds)])
    low, high = np.quantile(many, (0.025, 0.975), axis=0)
    means = many.mean(axis=0)
    spread = [f"{a:.3f} to {b:.3f} over {seeds} seeds" for a, b in zip(low, high, strict=True)]
    accuracy, bias, single, both = recovered(ahead, behind)
    # Of one order a label hangs on who stands first; here each pair is labelled as it stands, and exchanged.
    exchanged = float((labels(ahead, behind) + labels(behind, ahead)).mean() / 2) - 0.5
    note = f"{pairs} pairs over HTTP, {2 * pairs} calls; true: "
    drawn = f"oftener than the first image is the better one; mean over {seeds} seeds: "
    return [
        Row("accuracy, recovered", accuracy, spread=spread[0], note=f"{note}{TASTE.accuracy}"),
        Row("accuracy, off by", abs(accuracy - TASTE.accuracy), "", f"≤ {WITHIN}"),
        Row("accuracy, mean over seeds off by", abs(means[0] - TASTE.accuracy), "", f"≤ {WITHIN}"),
        Row("position bias, recovered", bias, spread=spread[1], note=f"{note}{TASTE.bias}"),
        Row("position bias, off by", abs(bias - TASTE.bias), "", f"≤ {WITHIN}"),
        Row("position bias, mean over seeds off by", abs(means[1] - TASTE.bias), "", f"≤ {WITHIN}"),
        Row("label bias of one order", single, spread=spread[2], note=f"{drawn}{means[2]:.4f}"),
        Row("label bias of both orders", abs(both), "", f"≤ {LEFT}", spread[3], f"{drawn}{means[3]:.4f}"),
        Row("label bias of both orders, each pair as it stands and exchanged", abs(exchanged), "", f"≤ {LEFT}"),
        Row("client and server on one machine", rate, "calls/s"),
    ]


def main() -> int:
    """Print what is recovered; 1 if it is not."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks stub_vlm", description=__doc__, allow_abbrev=False)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    given = parser.parse_args()
    http = over_http(given.pairs)
    if not all(np.allclose(a, b) for a, b in zip(http[:2], by_function(SEED, given.pairs), strict=True)):
        sys.exit("error: over HTTP the model said something else than by itself")
    measured = rows(http, given.seeds)
    print("| what | figure | spread | goal |\n|---|---|---|---|")
    for row in measured:
        print(f"| {row.what} | {row.figure:.4g} {row.unit} | {row.spread} | {row.goal} |")
    record("stub_vlm", measured)
    return 0 if all(row.reached is not False for row in measured) else 1


if __name__ == "__main__":
    sys.exit(main())
