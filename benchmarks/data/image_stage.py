"""What the stage of images adds to drawing: rows, files, the shard with its digests, and the look at what is done.

`python -m benchmarks image_stage [PROMPTS] [--rounds N]`. The same prompts of pick-style by the embedded model, drawn
by the model alone and made into a shard of a run, by turns and by CPU time; then by a model that costs nothing, which
leaves what the stage itself takes an image.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.support.interleaved import abba
from benchmarks.support.results import Row, record
from datagen import generators, records, store
from datagen import recipe as recipes
from datagen.generators.protocol import Means, Request
from datagen.recipe import Recipe
from datagen.records import Principle, Prompt
from datagen.stages import Context, Shard, images, principles, prompts

PROFILE = "embedded"
FOOTER: dict[str, Any] = {"errors": 0, "seconds": 0.0, "digest": "d", "version": "1", "drops": {}}


class Free:
    """A model whose pictures are there already."""

    name, revision = "free", "1"

    def __init__(self, recipe: Recipe) -> None:
        from PIL import Image

        profile = recipe.profile(PROFILE)
        noise = Image.effect_noise((profile.width, profile.height), 40)
        self._picture = Image.merge("RGB", [noise] * 3)
        self._means = Means("DDIMScheduler", "{}", "", "float32", 8, "nothing")

    def means(self, request: Request) -> Means:
        """The same for all."""
        return self._means

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Any]]:
        """The one picture that there is."""
        for place in range(len(requests)):
            yield place, self._picture


def written(recipe: Recipe) -> Shard:
    """The prompts of a recipe as a shard."""
    context = Context(recipe, recipe.profile(PROFILE))
    first = principles.STAGE.run(context, Shard())
    made = prompts.STAGE.run(context, Shard({Principle: first.rows}))
    return Shard({Principle: first.rows, Prompt: made.rows})


def stage(context: Context, shard: Shard, run: store.Run) -> None:
    """The shard as a run has it."""
    run.footer("images", 0)  # whether it is done
    rows = images.STAGE.run(context, shard).rows
    run.commit("images", 0, records.tables(records.Image, rows), **FOOTER)


def alone(context: Context, requests: list[Request]) -> None:
    """The model by itself."""
    for _ in generators.draw(generators.load(context.profile), requests):
        pass


def main() -> int:
    """Print and record the figures; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks image_stage", description=__doc__, allow_abbrev=False)
    parser.add_argument("prompts", nargs="?", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    recipe = recipes.load("pick-style", [f"prompts.count={given.prompts}"])
    context, shard = Context(recipe, recipe.profile(PROFILE)), written(recipe)
    wanted = [(prompt, side, k) for prompt in shard.rows(Prompt) for side, k in images._sides(context, prompt)]
    requests = [images._request(context, *want, {}) for want in wanted]
    with tempfile.TemporaryDirectory() as folder:
        run = store.Run(Path(folder))
        make = functools.partial(stage, context, shard, run)
        against = abba(make, functools.partial(alone, context, requests), given.rounds)
        each = free(recipe, functools.partial(stage, context, shard, run), given.rounds) / len(requests)
    model = against.seconds(1, cpu=True) / len(requests)
    rows = [
        Row("over the embedded model alone, by CPU time", 100 * (against.ratio(cpu=True) - 1), "%", "≤ 3",
            against.spread(cpu=True)),
        Row("of an image: the stage itself, with a model that costs nothing", 1000 * each, "ms"),
        Row("the same, of the embedded model's time", 100 * each / model, "%", "≤ 3"),
    ]  # fmt: skip
    for row in rows:
        print(f"{row.what}: {row.figure:.4g}{row.unit} {row.goal} ({row.spread})")
    record("image_stage", rows)
    return 0 if all(row.reached is not False for row in rows) else 1


def free(recipe: Recipe, make: Callable[[], None], rounds: int) -> float:
    """CPU seconds of the stage with a model that costs nothing."""
    load, model = generators.load, Free(recipe)
    generators.load = lambda choice: model
    try:
        return abba(make, make, rounds, warm=3).seconds(0, cpu=True)
    finally:
        generators.load = load


if __name__ == "__main__":
    sys.exit(main())
