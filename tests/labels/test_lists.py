"""Candidates become ranked lists and pairs; judges are weighed by images of other prompts, where any were judged."""

from __future__ import annotations

import collections
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from datagen import records
from datagen.labels import lists, verdicts
from datagen.recipe import Images, Labels, Profile, Recipe
from datagen.records import Label, Prompt, Verdict, content_id

NAMES = ("sharp", "dull", "copy")


def recipe(**labels: Any) -> Recipe:
    profile = Profile.model_validate(
        {"model": "embedded", "taxonomy": "t", "grammar": "g", "steps": 1, "guidance": 1.0, "width": 64, "height": 64,
         "judges": ["clip"]}
    )  # fmt: skip
    images = Images(candidates=2)
    return Recipe(
        name="r", license="x", pairing="list", images=images, labels=Labels(**labels), profiles={"p": profile}
    )


def prompts_of(*names: str) -> pa.Table:
    return records.to_table(Prompt, [Prompt(of, "p", "c", of, of, of, "", "", of, "train", "t") for of in names])


def verdict(of: str, image: str, lean: list[float], side: str = "candidate") -> Verdict:
    return Verdict(image, of, side, 0, None if side == "candidate" else verdicts.OF_OTHER, lean, [], [], [], np.nan)


def world(prompts: int, each: int, others: int = 2, seed: int = 0) -> tuple[pa.Table, list[Verdict], dict[str, float]]:
    """Images of a quality that one judge sees well, and two badly, with the same errors; those of others are bad."""
    rng, images, quality = np.random.default_rng(seed), [], {}
    for p in range(prompts):
        for k in range(each + others):
            good = rng.normal() if k < each else -6.0
            shared = 2.5 * rng.normal()
            lean = [good + 0.7 * rng.normal(), 3 * (good + shared), 0.2 * (good + shared + 0.1 * rng.normal())]
            name = f"i{p}-{k}"
            quality[name] = good
            images.append(verdict(f"p{p}", name, lean, "candidate" if k < each else verdicts.OTHER))
    return prompts_of(*(f"p{p}" for p in range(prompts))), images, quality


Planted = tuple[list[Label], dict[str, Any], dict[str, float]]


def right(rows: list[Label], quality: dict[str, float]) -> float:
    return float(np.mean([quality[row.chosen_id] > quality[row.rejected_id] for row in rows]))


@pytest.fixture(scope="module")
def planted() -> Planted:
    prompts, images, quality = world(250, 3)
    return *lists.label(recipe(), NAMES, prompts, images), quality


def test_images_of_other_prompts_tell_whom_to_believe(
    planted: Planted,
) -> None:
    rows, facts, quality = planted
    prompts, images, of_alone = world(250, 3, others=0)
    alone, told = lists.label(recipe(), NAMES, prompts, images)
    assert len(rows) == len(alone) == 750
    leans = {image.image_id: np.array(image.lean) for image in images}
    most = [np.sum(np.sign(leans[row.chosen_id] - leans[row.rejected_id])) for row in alone]
    assert min(most) > 0  # three judges that all decide: no label is against two of them, though these two are bad
    assert right(rows, quality) > right(alone, of_alone) + 0.05 > 0.65
    assert lists.BY_PLANTED in facts["notes"] and lists.UNAIDED in told["notes"]
    weight = [judge["weight"] * size for judge, size in zip(facts["judges"], (1, 8, 0.5), strict=True)]
    assert weight[0] > 2 * max(weight[1:])


def test_each_image_is_in_one_pair_at_most_and_those_furthest_apart_are_one(
    planted: Planted,
) -> None:
    rows, _, _ = planted
    pairs = [row for row in rows if row.reason is None]
    seen = collections.Counter(image for row in pairs for image in (row.chosen_id, row.rejected_id))
    assert len(pairs) == 250 and max(seen.values()) == 1
    by_prompt = collections.defaultdict(list)
    for row in rows:
        by_prompt[row.prompt_id].append(row)
        assert row.probability is not None and row.low is not None and row.high is not None
        assert 0.5 <= row.probability < 1 and row.low <= row.probability <= row.high
    best = [max(own, key=lambda row: row.probability or 0) for own in by_prompt.values()]
    assert np.mean([row.reason is None for row in best]) > 0.95


def test_a_judge_that_was_not_asked_about_other_prompts_is_named() -> None:
    prompts, images, _ = world(60, 2)
    for image in images:
        if image.side == verdicts.OTHER:
            image.lean[1] = np.nan
    _, facts = lists.label(recipe(), NAMES, prompts, images)
    assert "not asked about other prompts, so without a weight: dull" in facts["notes"]
    assert facts["judges"][1]["weight"] == 0


def test_labels_of_people_count_whichever_image_they_name_first(tmp_path: Path) -> None:
    prompts, images, quality = world(150, 2)
    table = ["pair_id,label"]
    for p in range(150):
        one, other = (f"i{p}-0", f"i{p}-1") if p % 2 else (f"i{p}-1", f"i{p}-0")
        better = quality[one] > quality[other]
        table.append(f"{content_id(f'p{p}', one, other)},{'chosen' if better else 'rejected'}")
    (tmp_path / "known.csv").write_text("\n".join(table))
    _, facts = lists.label(recipe(known=str(tmp_path / "known.csv")), NAMES, prompts, images)
    (note,) = [note for note in facts["notes"] if "known labels: calibration error" in note]
    assert note.startswith("150 known labels")
    before, after = (
        float(part.split(",")[0]) for part in note.partition("Brier score ")[2].split(" by ")[0].split(" → ")
    )
    assert after <= before + 0.005


CASES: dict[str, tuple[list[Verdict], list[str | None]]] = {
    "one image": ([verdict("p", "a", [1.0])], [lists.ALONE]),
    "no image": ([], ["no image"]),
    "all the same": ([verdict("p", name, [1.0]) for name in "ab"], [lists.TIE]),
    "nobody spoke of both": ([verdict("p", "a", [1.0, np.nan]), verdict("p", "b", [np.nan, 2.0])], ["no judge"]),
    "the same image": ([verdict("p", "a", [1.0]), verdict("p", "a", [1.0])], ["identical images"]),
    "only others": ([verdict("p", name, [1.0], verdicts.OTHER) for name in "ab"], ["no image"]),
    "two": ([verdict("p", "a", [1.0]), verdict("p", "b", [2.0])], [None]),
}


@pytest.mark.parametrize("case", CASES)
def test_what_has_nothing_to_compare_says_why(case: str) -> None:
    images, reasons = CASES[case]
    judges = [f"j{k}" for k in range(max((len(image.lean) for image in images), default=1))]
    rows, facts = lists.label(recipe(), judges, prompts_of("p"), images)
    assert [row.reason for row in rows] == reasons and facts["notes"]
    if case == "two":
        assert (rows[0].chosen_id, rows[0].rejected_id) == ("b", "a") and (rows[0].probability or 0) > 0.5


def test_hundreds_of_candidates_of_one_prompt_are_ranked_by_some_of_their_meetings() -> None:
    rng = np.random.default_rng(0)
    quality = rng.normal(size=600)
    images = [verdict("p", f"i{k}", [q + 0.3 * rng.normal()]) for k, q in enumerate(quality)]
    rows, facts = lists.label(recipe(most_each_prompt=7), ["j"], prompts_of("p"), images)
    assert facts["pairs"] == len(rows) == 4_500
    assert sum(row.reason is None for row in rows) == 7
    assert lists.ONE in facts["notes"]


def test_where_one_judge_alone_speaks_it_is_said_whoever_else_was_asked() -> None:
    rng = np.random.default_rng(0)
    images = [verdict("p", f"i{k}", [float(rng.normal()), np.nan]) for k in range(6)]
    _, facts = lists.label(recipe(), ["speaks", "silent"], prompts_of("p"), images)
    assert lists.ONE in facts["notes"]
    _, both = lists.label(
        recipe(), ["a", "b"], prompts_of("p"), [*images, verdict("p", "x", [1.0, 2.0]), verdict("p", "y", [2.0, 1.0])]
    )
    assert lists.ONE not in both["notes"]
