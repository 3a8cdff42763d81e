"""What judges said as arrays: how much more they lean towards one image than the other, of images that meet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from datagen.labels.audit import evidence
from datagen.labels.audit.evidence import Evidence

NAN = float("nan")
JUDGES = ("clip", "nsfw", "vlm")


def image(key: str, side: str = "chosen", index: int = 0, **changes: Any) -> dict[str, Any]:
    made = {"image_id": key, "prompt_id": "p", "side": side, "index": index, "generator": "sd15", "error": None}
    return made | changes


def score(key: str, judge: str, axis: str, value: float | None, **changes: Any) -> dict[str, Any]:
    row = {"image_id": key, "prompt_id": "p", "judge": judge, "axis": axis, "value": value, "opponent": ""}
    return row | changes


def made(
    images: list[dict[str, Any]], leans: dict[str, list[float]], scores: list[dict[str, Any]] | None = None
) -> Evidence:
    """`leans` are by image id, or by prompt and image id; an image without any was not spoken of."""
    kinds = {name: pa.string() for name in (*evidence.IMAGES, *evidence.SCORES)}
    kinds |= {"index": pa.int64(), "value": pa.float64(), "lean": pa.list_(pa.float64())}
    verdicts = [
        {**one, "lean": leans.get(f"{one['prompt_id']} {one['image_id']}", leans.get(one["image_id"], [NAN] * 3))}
        for one in reversed(images)  # in another order than the images
    ]
    images_, leans_, scores_ = (
        pa.Table.from_pylist(rows, pa.schema([(name, kinds[name]) for name in columns]))
        for rows, columns in (
            (images, evidence.IMAGES),
            ([{name: row[name] for name in evidence.LEANS} for row in verdicts], evidence.LEANS),
            (scores or [], evidence.SCORES),
        )
    )
    return evidence.of_tables(images_, leans_, scores_, JUDGES)


lean = st.one_of(st.just(NAN), st.floats(-9, 9))
three = st.lists(lean, min_size=3, max_size=3)


@given(three, three)
def test_a_margin_is_how_much_more_a_judge_leans_to_the_first_where_it_spoke_of_both(one: Any, other: Any) -> None:
    found = made([image("a"), image("b", "rejected")], {"a": one, "b": other})
    np.testing.assert_array_equal(found.margins, [np.array(one) - np.array(other)])
    assert found.asked.all() and np.isnan(found.ahead).all()


def test_two_wordings_meet_by_index_and_candidates_in_a_ring_whatever_their_scores() -> None:
    sides = [image("a"), image("b", index=1), image("c", index=2), image("d", "rejected"), image("e", "rejected", 1)]
    assert len(made(sides, {}).prompts) == 2  # c has no partner
    ring = [image(f"{k}", "candidate", k, prompt_id="q", generator=f"model {k % 2}") for k in range(4)]
    found = made([*sides, *ring], {})
    assert found.prompts.tolist() == ["p"] * 2 + ["q"] * 4
    assert found.generators[2:].tolist() == [["model 0", "model 1"], ["model 1", "model 0"]] * 2
    assert len(made(ring[:2], {}).prompts) == 1 and not len(made(ring[:1], {}).prompts)


def test_images_that_failed_or_are_the_same_do_not_meet() -> None:
    assert not len(made([image("a"), image("b", "rejected", error="refused")], {}).prompts)
    assert not len(made([image("a"), image("a", "rejected")], {}).prompts)


def test_duels_are_told_in_both_orders_as_they_were_answered() -> None:
    rows = [score("a", "vlm", "beats", 0.9, opponent="b"), score("b", "vlm", "beats", 0.6, opponent="a")]
    two = [image("a"), image("b", "rejected")]
    found = made(two, {"a": [NAN, NAN, 0.4], "b": [NAN, NAN, -0.4]}, rows)
    assert (found.ahead[0, 2], found.behind[0, 2]) == (0.9, 0.6) and found.margins[0, 2] == 0.8
    alone = made(two, {}, rows[:1])
    assert np.isnan(alone.margins[0, 2]) and alone.ahead[0, 2] == 0.9 and np.isnan(alone.behind[0, 2])


def test_a_judge_that_was_spared_was_not_asked_and_one_that_abstained_was() -> None:
    rows = [score(key, name, "settled", None) for key in "ab" for name in ("clip", "gone since")]
    found = made([image("a"), image("b", "rejected")], {}, rows)
    assert found.asked.tolist() == [[False, True, True]] and np.isnan(found.margins).all()


def test_one_image_of_two_prompts_is_judged_by_each() -> None:
    images = [image("a"), image("b", "rejected"), image("a", prompt_id="q"), image("c", "rejected", prompt_id="q")]
    leans = {"p a": [1.0] * 3, "q a": [0.0] * 3, "b": [0.5] * 3, "c": [0.5] * 3}
    assert made(images, leans).margins[:, 0].tolist() == [0.5, -0.5]


def test_shards_are_put_together() -> None:
    one = made([image("a"), image("b", "rejected")], {"a": [1.0] * 3, "b": [0.0] * 3})
    both = evidence.joined([one, made([], {}), one])
    assert both.margins.tolist() == [[1.0] * 3] * 2 and both.prompts.tolist() == ["p", "p"]
