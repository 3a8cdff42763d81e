"""What judges said as arrays: the same margins as the labels' own reading gives, of images that meet by themselves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.labels import aggregate
from datagen.labels.aggregate import Reading
from datagen.labels.audit import evidence
from datagen.labels.audit.evidence import Evidence

NAN = float("nan")
READINGS = {"clip": Reading(20.0), "nsfw": Reading(3.0, higher_is_better=False), "vlm": Reading(1.0)}


def image(key: str, side: str = "chosen", index: int = 0, **changes: Any) -> dict[str, Any]:
    made = {"image_id": key, "prompt_id": "p", "side": side, "index": index, "generator": "sd15", "error": None}
    return made | changes


def score(key: str, judge: str, axis: str, value: float | None, **changes: Any) -> dict[str, Any]:
    row = {"image_id": key, "prompt_id": "p", "judge": judge, "axis": axis, "value": value, "opponent": ""}
    return row | changes


def made(images: list[dict[str, Any]], scores: list[dict[str, Any]]) -> Evidence:
    kinds = {name: pa.string() for name in (*evidence.IMAGES, *evidence.SCORES)}
    kinds |= {"index": pa.int64(), "value": pa.float64()}
    of_images = pa.schema([(name, kinds[name]) for name in evidence.IMAGES])
    of_scores = pa.schema([(name, kinds[name]) for name in evidence.SCORES])
    tables = pa.Table.from_pylist(images, of_images), pa.Table.from_pylist(scores, of_scores)
    return evidence.of_tables(*tables, READINGS)


values = st.one_of(st.none(), st.floats(-1, 1))
said = st.dictionaries(st.sampled_from(evidence.AXES[:5]), values)


@given(said, said, st.one_of(st.none(), st.floats(0.001, 0.999)))
def test_margins_are_those_of_the_labels_own_reading(one: Any, other: Any, answer: float | None) -> None:
    one = one | {"question": answer}
    rows = [
        score(key, name, axis, value) for key, of in (("a", one), ("b", other)) for name in READINGS
        for axis, value in of.items()
    ]  # fmt: skip
    found = made([image("a"), image("b", "rejected")], rows)
    for column, reading in enumerate(READINGS.values()):
        both = aggregate.lean(reading, one), aggregate.lean(reading, other)
        expected = NAN if None in both else (both[0] or 0) - (both[1] or 0)
        assert found.margins[0, column] == pytest.approx(expected, nan_ok=True, abs=1e-9)


def test_two_wordings_meet_by_index_and_candidates_in_a_ring_whatever_their_scores() -> None:
    sides = [image("a"), image("b", index=1), image("c", index=2), image("d", "rejected"), image("e", "rejected", 1)]
    assert len(made(sides, []).prompts) == 2  # c has no partner
    ring = [image(f"{k}", "candidate", k, prompt_id="q", generator=f"model {k % 2}") for k in range(4)]
    found = made([*sides, *ring], [])
    assert found.prompts.tolist() == ["p"] * 2 + ["q"] * 4
    assert found.generators[2:].tolist() == [["model 0", "model 1"], ["model 1", "model 0"]] * 2
    assert len(made(ring[:2], []).prompts) == 1 and not len(made(ring[:1], []).prompts)


def test_images_that_failed_or_are_the_same_do_not_meet() -> None:
    assert not len(made([image("a"), image("b", "rejected", error="refused")], []).prompts)
    assert not len(made([image("a"), image("a", "rejected")], []).prompts)


def test_a_duel_counts_in_both_orders_without_the_liking_for_a_place() -> None:
    rows = [score("a", "vlm", "beats", 0.9, opponent="b"), score("b", "vlm", "beats", 0.6, opponent="a")]
    found = made([image("a"), image("b", "rejected")], rows)
    assert (found.ahead[0, 2], found.behind[0, 2]) == (0.9, 0.6)
    assert found.margins[0, 2] == pytest.approx((math.log(9) - math.log(1.5)) / 2)
    alone = made([image("a"), image("b", "rejected")], rows[:1])
    assert np.isnan(alone.margins[0, 2]) and alone.ahead[0, 2] == 0.9


def test_a_judge_that_was_spared_was_not_asked_and_one_that_abstained_was() -> None:
    rows = [score(key, "clip", "settled", None) for key in "ab"] + [score(key, "nsfw", "image", None) for key in "ab"]
    found = made([image("a"), image("b", "rejected")], rows)
    assert found.asked.tolist() == [[False, True, False]] and np.isnan(found.margins).all()


def test_one_image_of_two_prompts_is_judged_by_each() -> None:
    images = [image("a"), image("b", "rejected"), image("a", prompt_id="q"), image("c", "rejected", prompt_id="q")]
    rows = [score("a", "clip", "image", 1.0), score("b", "clip", "image", 0.5)]
    rows += [score("a", "clip", "image", 0.0, prompt_id="q"), score("c", "clip", "image", 0.5, prompt_id="q")]
    found = made(images, rows)
    assert found.margins[:, 0].tolist() == [10.0, -10.0]


def test_of_several_scores_the_first_counts_and_strangers_are_left_out() -> None:
    rows = [score("a", "clip", "image", 1.0), score("a", "clip", "image", 9.0), score("b", "clip", "image", 0.5)]
    rows += [score("z", "clip", "image", 5.0), score("a", "unknown", "image", 5.0)]
    assert made([image("a"), image("b", "rejected")], rows).margins[0, 0] == 10.0


def test_shards_are_put_together() -> None:
    one = made([image("a"), image("b", "rejected")], [score("a", "clip", "image", 1.0)])
    both = evidence.joined([one, made([], []), one])
    assert both.margins.shape == (2, 3) and both.prompts.tolist() == ["p", "p"]
