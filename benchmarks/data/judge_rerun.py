"""Judges on CLIP's embedding asked again from kept embeddings: images a second a core, and whether scores are equal.

`python -m benchmarks judge_rerun [COUNT]`. Heads of the published sizes with random weights, on random embeddings,
by way of the panel, 256 images at a time, one text an image: each judge alone, and all four together. Equal means that
COUNT images in chunks, backwards and one by one give the same bytes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file

from benchmarks.support.results import Row, record
from datagen import judges
from datagen.judges import aesthetic_v1, aesthetic_v2, nsfw, panel, q16
from datagen.judges.panel import Question
from datagen.weights import heads

WIDTH, CHUNK = 768, 256
HEADS = {"aesthetic_v1": aesthetic_v1, "aesthetic_v2": aesthetic_v2, "q16": q16, "nsfw": nsfw}
GOAL = 50_000


def load(name: str, folder: Path) -> judges.Judge:
    """A judge with weights at random in the shapes of the published ones."""
    rng = np.random.default_rng(3)
    shapes = {key: tuple(WIDTH if n == heads.ANY else n for n in shape) for key, shape in HEADS[name].SHAPES.items()}
    arrays = {key: rng.normal(size=shape).astype(np.float32) / np.sqrt(shape[-1]) for key, shape in shapes.items()}
    if "variance" in arrays:
        arrays["variance"] = np.abs(arrays["variance"]) + np.float32(1e-3)
    save_file(arrays, folder / f"{name}.safetensors")
    return judges.load(name, {"weights": str(folder / f"{name}.safetensors")})


def questions(count: int, identity: str) -> list[Question]:
    """Images of which the embedding alone is known."""
    vectors = np.random.default_rng(5).normal(size=(count, WIDTH)).astype(np.float32)
    return [Question(None, ("a chef",), embeddings={identity: vector}) for vector in vectors]


def asked(chosen: Sequence[judges.Judge], given: Sequence[Question], chunk: int) -> tuple[list[Any], float]:
    """What the panel says of all, and CPU seconds."""
    started, said = time.process_time(), []
    for start in range(0, len(given), chunk):
        said += panel.ask(chosen, given[start : start + chunk])
    return said, time.process_time() - started


def differing(chosen: Sequence[judges.Judge], given: Sequence[Question]) -> int:
    """Images of which the scores are not the same in other company."""
    whole = asked(chosen, given, CHUNK)[0]
    backwards = asked(chosen, given[::-1], 37)[0][::-1]
    alone = asked(chosen, given[:500], 1)[0]
    pairs = [*zip(whole, backwards, strict=True), *zip(whole[:500], alone, strict=True)]
    return sum(any((a.scores[j.name] != b.scores[j.name]).any() for j in chosen) for a, b in pairs)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks judge_rerun", description=__doc__, allow_abbrev=False)
    parser.add_argument("count", nargs="?", type=int, default=50_000)
    count = parser.parse_args().count
    torch.set_num_threads(1)  # the figures are a core's
    with tempfile.TemporaryDirectory() as folder:
        chosen = {name: load(name, Path(folder)) for name in HEADS}
        given = questions(count, "ViT-L-14/openai")
        rows, slow = [], 0
        for name, some in [*((name, [judge]) for name, judge in chosen.items()), ("all four", list(chosen.values()))]:
            asked(some, given[:CHUNK], CHUNK)
            speed = count / min(asked(some, given, CHUNK)[1] for _ in range(3))
            goal = f"≥ {GOAL}" if len(some) == 1 else ""
            slow += bool(goal) and speed < GOAL
            print(f"{name:<14} {speed:>9,.0f} images a second of one core")
            rows.append(Row(f"{name}, from kept embeddings", speed, "images/s a core", goal))
        unequal = differing(list(chosen.values()), given)
        print(f"scores that differ in other company: {unequal}")
        rows.append(Row("scores that differ in other company", unequal, "images", "= 0"))
    record("judge_rerun", rows)
    return 1 if slow or unequal else 0


if __name__ == "__main__":
    sys.exit(main())
