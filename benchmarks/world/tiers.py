"""How seldom the jury's dearest judge need be asked when cheaper ones come first, and what labels lose by it.

`python -m benchmarks tiers [--draws FOLDER] [--scenes N]`. The pairs are those of the benchmark `jury`, of which a
share was drawn from exchanged wordings. Judges stand in the order of what they cost. Whether the cheap ones are asked
at once or one after another, and from which probability a label is settled, is chosen on one half of the prompts, and
measured on the other half by a stage `scores` that is given these tiers. The truth is what the attribute reader sees.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.support.results import Row, percent, record
from benchmarks.support.world_pairs import RECIPES, SCENES, Scene, scenes
from benchmarks.world.jury import CHUNK, images_of
from datagen import recipe as recipes
from datagen import records
from datagen.judges import panel
from datagen.labels import judged, labelling, pairing, reliability, verdicts
from datagen.labels.axes import SETTLED
from datagen.recipe import Labels, Profile, Recipe
from datagen.records import Image, Label, Principle, Prompt, Score, Verdict
from datagen.stages import Context, Shard, scores

CERTAIN = (0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
MOST_ASKED, MOST_LOST = 40.0, 0.5  # per cent of the images; points of accuracy
Tiers = tuple[tuple[str, ...], ...]


@dataclasses.dataclass(frozen=True)
class Heard:
    """Scenes of one recipe with what the reader sees of each, the shard that they are, and what judges said."""

    recipe: Recipe
    profile: Profile
    scenes: Sequence[Scene]
    truths: Sequence[np.ndarray]
    shard: Shard
    rows: Sequence[Score]

    def verdicts(self, rows: Sequence[Score], names: Sequence[str]) -> Iterator[list[Verdict]]:
        """What some judges make of the images of each prompt."""
        some = panel.load(choice for choice in self.profile.judges if choice.name in names)
        tables = (self.shard.rows(Prompt), self.shard.rows(Principle), self.shard.rows(Image))
        return map(verdicts.of, judged.by_prompt(*tables, rows, judged.readings(some)))


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Over some prompts: the share of the images that the dearest judge was asked about, the accuracy of all labels
    that a run learns of them, and of the published ones, with their number."""

    asked: float
    accuracy: reliability.Share
    published: reliability.Share


def hear(drawn: Sequence[Scene], tiers: Tiers = (), settled: float = Labels().settled) -> list[Heard]:
    """Have the stage `scores` ask the jury, of all images or by tiers."""
    found = []
    for name, start in itertools.product(RECIPES, range(0, len(drawn), CHUNK)):
        own = [scene for scene in drawn if scene.recipe == name][start : start + CHUNK]
        if not own:
            continue
        recipe = recipes.load(name, [f"labels.settled={settled}"])
        profile = recipe.profile("embedded").model_copy(update={"tiers": tiers})
        principles = {scene.principle.principle_id: scene.principle for scene in own}
        images = [image for scene in own for image in images_of(scene)]
        shard = Shard({Principle: list(principles.values()), Prompt: [scene.prompt for scene in own], Image: images})
        truths = [scene.truth() for scene in own]
        rows = list(scores.run(Context(recipe, profile), shard).rows)
        found.append(Heard(recipe, profile, own, truths, shard, rows))
    return found


def costs(drawn: Sequence[Scene]) -> dict[str, float]:
    """Seconds of CPU that each judge takes for an image by itself, the cheapest first."""
    shards, spent = hear(drawn), defaultdict[str, float](float)
    for heard in shards:
        for choice in heard.profile.judges:
            alone = heard.profile.model_copy(update={"judges": (choice,)})
            started = time.process_time()
            scores.run(Context(heard.recipe, alone), heard.shard)
            spent[choice.name] += time.process_time() - started
    count = sum(len(heard.shard.rows(Image)) for heard in shards)
    return {name: seconds / count for name, seconds in sorted(spent.items(), key=lambda item: item[1])}


def ways(order: Sequence[str]) -> list[Tiers]:
    """The cheap judges at once or one after another, and then the dearest."""
    *cheap, last = order
    return [(tuple(cheap), (last,)), tuple((name,) for name in order)]


def spared(heard: Heard, tiers: Tiers, settled: float) -> Heard:
    """What would have been said, had all that was said been asked for by tiers."""
    recipe = heard.recipe.model_copy(update={"labels": heard.recipe.labels.model_copy(update={"settled": settled})})
    rows: list[Score] = []
    names: list[str] = []
    open_ = {image.image_id for image in heard.shard.rows(Image)}
    for tier in tiers:
        if names:
            found = heard.verdicts(rows, names)
            open_ = {image_id for images in found for image_id in pairing.left_open(recipe, images)}
        rows += [row for row in heard.rows if row.judge in tier and row.image_id in open_]
        names += tier
    return dataclasses.replace(heard, rows=rows)


def outcome(some: Sequence[Heard], dearest: str) -> Outcome:
    """What became of labels, and how often the dearest judge was asked."""
    asked, images = 0, 0
    right: list[tuple[bool, str]] = []
    true: list[tuple[bool, str]] = []
    for name in RECIPES:
        own = [heard for heard in some if heard.recipe.name == name]
        for heard in own:
            seen = {row.image_id for row in heard.rows if row.judge == dearest and row.axis != SETTLED}
            asked, images = asked + len(seen), images + len(heard.shard.rows(Image))
        for prompt_id, prefers, better, published in _labels(own):
            right.append((prefers == better, prompt_id))
            true += [(better, prompt_id)] if published else []
    return Outcome(asked / images, _share(right), _share(true))


def _labels(own: Sequence[Heard]) -> Iterator[tuple[str, bool, bool, bool]]:
    """Of each label that a run of one recipe would learn: the prompt, whether it prefers its first image, whether
    that is the better one, and whether it is published. Without those of which the reader sees no difference."""
    if not own:
        return
    names = [choice.name for choice in own[0].profile.judges]
    prompts = [scene.prompt for heard in own for scene in heard.scenes]
    said = [verdict for heard in own for images in heard.verdicts(heard.rows, names) for verdict in images]
    keeps = {
        image.image_id: truth[0 if image.side == "chosen" else 1, image.index]
        for heard in own
        for scene, truth in zip(heard.scenes, heard.truths, strict=True)
        for image in images_of(scene)
    }
    tables = records.to_table(Prompt, prompts), records.to_table(Verdict, said)
    for row in records.from_table(Label, labelling.label(own[0].recipe, names, *tables)[0]):
        if row.probability is not None and (better := keeps[row.chosen_id] - keeps[row.rejected_id]):
            yield row.prompt_id, row.probability > 0.5, better > 0, row.reason is None


def _share(found: Sequence[tuple[bool, str]]) -> reliability.Share:
    values = np.array([float(value) for value, _ in found])
    return reliability.share(values, np.ones(len(values), bool), np.array([prompt for _, prompt in found]))


def choose(some: Sequence[Heard], order: Sequence[str]) -> tuple[Tiers, float]:
    """The tiers and the probability that ask the dearest judge least within the goal for accuracy; prints them all.

    Where none is within it, those that lose least.
    """
    always = outcome(some, order[-1])
    print("| tiers | settled from | asked | accuracy | published, true |\n|---|---|---|---|---|")
    _print("none", 1.0, always)
    best: tuple[tuple[float, float], Tiers, float] | None = None
    for tiers, settled in itertools.product(ways(order), CERTAIN):
        found = outcome([spared(heard, tiers, settled) for heard in some], order[-1])
        _print(named(tiers), settled, found)
        lost = 100 * (always.accuracy.value - found.accuracy.value)
        rank = (max(0.0, lost - MOST_LOST), found.asked)
        if best is None or rank < best[0]:
            best = rank, tiers, settled
    assert best is not None
    return best[1], best[2]


def named(tiers: Tiers) -> str:
    """Tiers in words."""
    return " → ".join("+".join(tier) for tier in tiers)


def _print(tiers: str, settled: float, found: Outcome) -> None:
    cells = (tiers, settled, f"{found.asked:.1%}", found.accuracy, f"{found.published.count}, {found.published}")
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def rows_of(what: str, tiers: Tiers, settled: float, always: Outcome, found: Outcome) -> list[Row]:
    """The figures of one way of asking."""
    note = f"{named(tiers)}, settled from {settled}"
    lost = 100 * (always.accuracy.value - found.accuracy.value)
    true = f"{percent(found.published.value)} % of {found.published.count} published pairs true, "
    true += f"always asked {percent(always.published.value)} % of {always.published.count}"
    spread = f"{found.accuracy.value:.1%} against {always.accuracy.value:.1%} of {found.accuracy.count} pairs"
    return [
        Row(
            f"{what}: images that the dearest judge is asked about",
            percent(found.asked),
            "%",
            f"≤ {MOST_ASKED}",
            note=note,
        ),
        Row(f"{what}: accuracy lost", lost, "points", f"≤ {MOST_LOST}", spread, true),
    ]


def main() -> int:
    """Print the tables; 1 if the dearest judge is asked too often, or too much is lost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks tiers", description=__doc__, allow_abbrev=False)
    parser.add_argument("--draws", type=Path, default=Path("out/benchmarks/jury"), help="where the pictures are kept")
    parser.add_argument("--scenes", type=int, default=SCENES, help=f"of each recipe, at most {SCENES}; 4 images each")
    given = parser.parse_args()
    drawn = scenes(given.draws, given.scenes)
    order = list(costs([scene for k, scene in enumerate(drawn) if k % 10 == 0]).items())
    names = [name for name, _ in order]
    dearest = names[-1]
    print("CPU an image:", ", ".join(f"{name} {1000 * seconds:.1f} ms" for name, seconds in order))
    tiers, settled = choose(hear(drawn[::2]), names)
    fresh = drawn[1::2]
    always = outcome(hear(fresh), dearest)
    found = outcome(hear(fresh, tiers, settled), dearest)
    print("\nthe other half of the prompts")
    _print("none", 1.0, always)
    _print(named(tiers), settled, found)
    measured = rows_of("chosen on the other half", tiers, settled, always, found)
    record("tiers", measured)
    return 0 if all(row.reached is not False for row in measured) else 1


if __name__ == "__main__":
    sys.exit(main())
