"""How often each judge of the embedded jury is right on fresh pairs, and which errors they share.

`python -m benchmarks jury [--draws FOLDER] [--judges NAME …]`. A pair is two pictures that the embedded model drew
from the two wordings of a recipe's prompt; of a share of the prompts the wordings were exchanged before. Which of
the two keeps the principle better is what the attribute reader sees; where it sees no difference, the pair is a tie of
the reader's and left out. Each judge is asked as a run asks it, and is right where its log-odds have the right sign.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from benchmarks.support.results import Row, percent, record
from benchmarks.support.world_pairs import EXCHANGED, RECIPES, SCENES, Scene, scenes
from datagen import recipe as recipes
from datagen.judges import panel
from datagen.judges.jury import EMBEDDED
from datagen.labels import aggregate, reliability
from datagen.recipe import JudgeChoice
from datagen.records import Image, Principle, Prompt
from datagen.stages import Context, Shard, scores

LOW, HIGH = 60.0, 98.5  # per cent: a judge of the jury says something, and can be wrong
PLAN = "pick-safety"  # whose embedded profile names the jury
OTHERS = (JudgeChoice(name="vlm", options={"weights": EMBEDDED}),)  # members that label no recipe
CHUNK = 50  # scenes judged at a time: as many prompts as stand in a shard or more, so that there are others
Lean = dict[str, float]


def main() -> int:
    """Print the tables; 1 if a judge is never wrong, or no better than a coin."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks jury", description=__doc__, allow_abbrev=False)
    parser.add_argument("--draws", type=Path, default=Path("out/benchmarks/jury"), help="where the pictures are kept")
    parser.add_argument(
        "--scenes", type=int, default=SCENES, help=f"of each recipe, at most {SCENES}; four pairs each"
    )
    parser.add_argument("--judges", nargs="*", help="of the jury's; default: all")
    given = parser.parse_args()
    members = (*recipes.load(PLAN, []).profile("embedded").judges, *OTHERS)
    choices = [choice for choice in members if not given.judges or choice.name in given.judges]
    drawn = scenes(given.draws, given.scenes)
    names, said = margins(drawn, choices)
    labels, prompts, kinds = truth(drawn)
    known = labels != 0.5
    designed = float((labels[known] == 1).mean())
    print(f"{len(labels)} pairs, {1 - known.mean():.1%} ties of the reader; of the others {designed:.1%} as worded")
    print(f"({EXCHANGED:.0%} of the prompts were worded the other way round)\n")
    rows = _print_judges(names, said, labels, prompts)
    _print_kinds(names, said, labels, kinds)
    rows += _print_shared(names, said, labels)
    record("jury", rows)
    return 0 if all(row.reached is not False for row in rows) else 1


def margins(drawn: list[Scene], choices: list[JudgeChoice]) -> tuple[list[str], np.ndarray]:
    """The judges' names, and (pairs, judges) log-odds of the side that was meant to keep the principle."""
    found: list[np.ndarray] = []
    names: list[str] = []
    for name in RECIPES:
        recipe = recipes.load(name, [])
        profile = recipe.profile("embedded").model_copy(update={"judges": tuple(choices)})
        context = Context(recipe, profile)
        judges = panel.load(profile.judges)
        names = [judge.name for judge in judges]
        readings = {j.name: aggregate.Reading(j.scale, j.facts.higher_is_better) for j in judges}
        own = [scene for scene in drawn if scene.recipe == name]
        for start in range(0, len(own), CHUNK):
            found += _judged(context, own[start : start + CHUNK], readings)
    return names, np.stack(found)


def _judged(context: Context, some: list[Scene], readings: dict[str, aggregate.Reading]) -> list[np.ndarray]:
    """(judges,) log-odds for each pair, in order; NaN where a judge abstained."""
    images = [image for scene in some for image in images_of(scene)]
    principles = {scene.principle.principle_id: scene.principle for scene in some}
    prompts = [scene.prompt for scene in some]
    shard = Shard({Principle: list(principles.values()), Prompt: prompts, Image: images})
    said: dict[tuple[str, str], dict[str, float | None]] = defaultdict(dict)
    for row in scores.run(context, shard).rows:
        if not row.opponent:
            said[row.image_id, row.judge].setdefault(row.axis, row.value)
    leans = {
        image.image_id: [aggregate.lean(reading, said[image.image_id, name]) for name, reading in readings.items()]
        for image in images
    }
    by_place = {(image.prompt_id, image.side, image.index): np.array(leans[image.image_id], float) for image in images}
    return [
        by_place[scene.prompt.prompt_id, "chosen", one] - by_place[scene.prompt.prompt_id, "rejected", other]
        for scene in some
        for one, other in scene.pairs()
    ]


def images_of(scene: Scene) -> list[Image]:
    """A scene's four images as a run stores them."""
    found = []
    for side, of_side in zip(("chosen", "rejected"), scene.images, strict=True):
        for index, pixels in enumerate(of_side):
            file = io.BytesIO()
            Pillow.fromarray(pixels).save(file, "PNG")
            name = f"{scene.prompt.prompt_id}-{side}-{index}"
            found.append(
                Image(
                    name, scene.prompt.prompt_id, side, index, "", "", 0, "embedded", "", "ddim", 0, 0.0, 64, 64,
                    file.getvalue(),
                )
            )  # fmt: skip
    return found


def truth(drawn: list[Scene]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Of each pair: 1, 0, or 0.5 for a tie of the reader's; its prompt; and what it is about."""
    labels, prompts, kinds = [], [], []
    for scene in drawn:
        seen = scene.truth()
        style = scene.recipe if scene.prompt.category == "style" else scene.prompt.category
        for one, other in scene.pairs():
            labels.append((np.sign(seen[0, one] - seen[1, other]) + 1) / 2)
            prompts.append(scene.prompt.prompt_id)
            kinds.append(style)
    return np.array(labels), np.array(prompts), kinds


def _print_judges(names: list[str], margins: np.ndarray, labels: np.ndarray, prompts: np.ndarray) -> list[Row]:
    print("| judge | accuracy | ties | abstained |\n|---|---|---|---|")
    rows = []
    for name, own in zip(names, margins.T, strict=True):
        found = reliability.of_scores(own, labels, prompts)
        silent = 1 - found.coverage
        print(f"| {name} | {found.accuracy} | {found.ties.value:.1%} | {silent:.1%} |")
        spread = f"{found.accuracy.low:.1%} to {found.accuracy.high:.1%}"
        note = f"{found.accuracy.count} pairs, ties {found.ties.value:.1%}, abstained {silent:.1%}"
        right = percent(found.accuracy.value)
        rows.append(Row(f"{name}: accuracy", right, "%", f"≤ {HIGH}", spread=spread, note=note))
    weakest = min(row.figure for row in rows)
    without = [place for place, name in enumerate(names) if name not in {choice.name for choice in OTHERS}]
    for what, places in {"all": without, "all, and those that label no recipe": list(range(len(names)))}.items():
        share = reliability.of_scores(np.nansum(margins[:, places], axis=1), labels, prompts).accuracy
        print(f"| {what}, log-odds added | {share} | | |")
        rows.append(Row(f"{what}, log-odds added: accuracy", percent(share.value), "%"))
    print()
    rows.append(Row("the weakest judge", weakest, "%", f"≥ {LOW}"))
    return rows


def _print_kinds(names: list[str], margins: np.ndarray, labels: np.ndarray, kinds: list[str]) -> None:
    """Accuracy by hazard, style and coat."""
    known, truth = labels != 0.5, np.where(labels > 0.5, 1, -1)
    of = sorted(set(kinds))
    print(f"| accuracy on | {' | '.join(of)} |\n|---|{'---|' * len(of)}")
    for name, own in zip(names, margins.T, strict=True):
        decided = known & ~np.isnan(own) & (own != 0)
        cells = []
        for kind in of:
            mine = decided & (np.array(kinds) == kind)
            cells.append(f"{(np.sign(own) == truth)[mine].mean():.3f}" if mine.any() else "-")
        print(f"| {name} | {' | '.join(cells)} |")
    print()


def _print_shared(names: list[str], margins: np.ndarray, labels: np.ndarray) -> list[Row]:
    """Which errors two judges share."""
    shared = reliability.error_correlation(margins, labels)
    print(f"| correlation of errors | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for name, row in zip(names, shared, strict=True):
        print(f"| {name} | {' | '.join(f'{value:.2f}' for value in row)} |")
    pairs = [(shared[i, j], names[i], names[j]) for i in range(len(names)) for j in range(i)]
    return [
        Row(f"errors of {one} and {other}: correlation", float(value)) for value, one, other in sorted(pairs)[::-1]
    ]


if __name__ == "__main__":
    sys.exit(main())
