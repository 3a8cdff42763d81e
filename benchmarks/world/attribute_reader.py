"""How often the attribute reader is right on fresh renders, every attribute drawn evenly.

`python -m benchmarks attribute_reader`
"""

from __future__ import annotations

import argparse
import collections
import random
import sys

from benchmarks.support.results import Row, percent, record
from datagen.world.grammar import ATTRIBUTES, VALUES, sample_scene
from datagen.world.reader import read_array
from datagen.world.render import render_array

RENDERS = 5_000


def main() -> int:
    """Print the share right for every attribute; 1 if one is under 99.5 %."""
    argparse.ArgumentParser(
        prog="python -m benchmarks attribute_reader", description=__doc__, allow_abbrev=False
    ).parse_args()
    rng = random.Random("fresh renders")
    right: collections.Counter[str] = collections.Counter()
    for _ in range(RENDERS):
        scene = sample_scene(rng, {name: rng.choice(VALUES[name]) for name in ATTRIBUTES})
        shown = read_array(render_array(scene)).attributes
        right.update(name for name, value in scene.attributes().items() if shown[name] == value)
    print(f"attribute reader on {RENDERS} fresh renders, share right")
    for name in ATTRIBUTES:
        print(f"  {name:<11}{right[name] / RENDERS:8.2%}")
    record("attribute_reader", [Row(name, percent(right[name] / RENDERS), "%", "≥ 99.5") for name in ATTRIBUTES])
    return 0 if min(right[name] for name in ATTRIBUTES) >= 0.995 * RENDERS else 1


if __name__ == "__main__":
    sys.exit(main())
