import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datagen.records import Image, Pair, Principle, Prompt, Score, Written
from datagen.stages import Context, Shard

Labelled = Callable[[Context, Shard], Written[Pair]]
# image → judge → (match, aligned, violating)
Given = dict[str, dict[str, tuple[float | None, float | None, float | None]]]


def image(image_id: str, side: str = "chosen", index: int = 0, prompt_id: str = "p0", **changes: Any) -> Image:
    values: dict[str, Any] = {
        "image_id": image_id, "prompt_id": prompt_id, "side": side, "index": index, "text": f"text of {side}",
        "negative": "", "seed": 100 + index, "generator": "g", "generator_revision": "v", "scheduler": "s", "steps": 3,
        "guidance": 2.0, "width": 8, "height": 8, "image": image_id.encode(), "error": None,
    }  # fmt: skip
    return Image(**(values | changes))


def scored(given: Given, prompt_id: str = "p0") -> list[Score]:
    return [
        Score(image_id, prompt_id, judge, "1", axis, value)
        for image_id, by_judge in given.items()
        for judge, values in by_judge.items()
        for axis, value in zip(("match", "aligned", "violating"), values, strict=True)
    ]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.fixture
def decide(label: Labelled, principle: Principle, make_prompt: Callable[..., Prompt]) -> Callable[..., Any]:
    """(pairs, drops) of one prompt's images and scores."""

    def run(context: Context, images: list[Image], given: Given, **prompt: Any) -> Any:
        shard = Shard({Principle: [principle], Prompt: [make_prompt(**prompt)], Image: images, Score: scored(given)})
        written = label(context, shard)
        return written.rows, written.drops

    return run


BOTH = [image("good"), image("bad", "rejected")]
CLEAR: Given = {"good": {"clip": (0.5, 0.6, 0.1)}, "bad": {"clip": (0.5, 0.2, 0.3)}}  # m = 0.5 + 0.1


def test_a_pair_has_the_closed_form_label_and_everything_of_its_images(
    make_context: Callable[..., Context], decide: Callable[..., Any]
) -> None:
    shared = {"height": 16, "dtype": "float16", "batch_size": 4, "software": "brush 1"}
    of_another = {
        "generator": "h", "generator_revision": "w", "negative": "blur", "scheduler": "t",
        "scheduler_config": '{"a": 1}', "adapter": "lora",
    }  # fmt: skip
    other = [image("good", **shared), image("bad", "rejected", **shared, **of_another)]
    (pair,), dropped = decide(make_context(), other, CLEAR, role="control", split="test")
    assert dropped == {}
    assert pair.probability == pytest.approx(sigmoid(20 * 0.6))
    assert pair.margin == pytest.approx(20 * 0.6)
    assert (pair.chosen_id, pair.rejected_id) == ("good", "bad")
    assert (pair.prompt, pair.chosen_prompt, pair.rejected_prompt) == ("a chef", "text of chosen", "text of rejected")
    assert (pair.principle, pair.category, pair.kind) == ("pixel art preferred", "style", "prefer")
    assert (pair.generator, pair.generator_revision, pair.steps, pair.guidance) == ("g", "v", 3, 2.0)
    assert (pair.rejected_generator, pair.rejected_generator_revision) == ("h", "w")
    assert (pair.chosen_negative_prompt, pair.rejected_negative_prompt) == ("", "blur")
    assert (pair.scheduler, pair.rejected_scheduler) == ("s", "t")
    assert (pair.scheduler_config, pair.rejected_scheduler_config) == ("{}", '{"a": 1}')
    assert (pair.adapter, pair.rejected_adapter, pair.dtype, pair.software) == ("", "lora", "float16", "brush 1")
    assert (pair.width, pair.height, pair.batch_size, pair.pool) == (8, 16, 4, "")
    assert (pair.recipe, pair.license, pair.split, pair.role) == ("r", "openrail++", "test", "control")
    assert json.loads(pair.scores)["clip"]["rejected"] == {"match": 0.5, "aligned": 0.2, "violating": 0.3}


def test_the_log_odds_of_two_judges_add_up_and_one_that_abstains_says_nothing(
    make_context: Callable[..., Context], decide: Callable[..., Any]
) -> None:
    given: Given = {
        "good": {"clip": (0.5, 0.6, 0.1), "world": (1.0, 1.0, 0.5)},
        "bad": {"clip": (0.5, 0.2, 0.3), "world": (1.0, 0.75, 1.0)},
    }
    (pair,), _ = decide(make_context(), BOTH, given)
    assert pair.margin == pytest.approx(20 * 0.6 + 20 * 0.75, abs=1e-3)  # so near 1, the last bits count
    assert pair.probability == pytest.approx(sigmoid(20 * 0.6 + 20 * 0.75))
    given["bad"]["world"] = (1.0, None, 1.0)
    (pair,), _ = decide(make_context(), BOTH, given)
    assert pair.probability == pytest.approx(sigmoid(20 * 0.6))
    assert json.loads(pair.scores)["world"]["rejected"]["aligned"] is None


NOT_MADE = {"image": None, "error": "NaN"}


@pytest.mark.parametrize(
    ("images", "given", "reason"),
    [
        ([image("good"), image("bad", "rejected", **NOT_MADE)], CLEAR, "no image"),
        ([image("good", **NOT_MADE), image("bad", "rejected")], CLEAR, "no image"),
        ([image("good")], CLEAR, "no image"),
        ([image("good"), image("good", "rejected")], CLEAR, "identical images"),
        (BOTH, {}, "no judge"),
        (BOTH, {"good": CLEAR["good"], "bad": {"clip": (None, None, None)}}, "no judge"),
        (BOTH, {"good": CLEAR["bad"], "bad": CLEAR["good"]}, "low probability"),
        (BOTH, {"good": CLEAR["good"], "bad": CLEAR["good"]}, "low probability"),
    ],
)
def test_a_pair_that_does_not_pass_is_counted_with_its_reason(
    images: list[Image],
    given: Given,
    reason: str,
    make_context: Callable[..., Context],
    decide: Callable[..., Any],
) -> None:
    assert decide(make_context(min_probability=0.9), images, given) == ([], {reason: 1})


def test_one_corrupt_image_costs_its_own_pair_only(
    make_context: Callable[..., Context], decide: Callable[..., Any]
) -> None:
    images = [image(f"good{k}", index=k) for k in range(3)] + [image(f"bad{k}", "rejected", k) for k in range(3)]
    given = {f"{side}{k}": CLEAR[side] for side in ("good", "bad") for k in range(3)}
    given["bad1"] = {"clip": (None, None, None)}  # what the scores of an undecodable image are
    made, dropped = decide(make_context(candidates=3), images, given)
    assert [(pair.chosen_id, pair.rejected_id) for pair in made] == [("good0", "bad0"), ("good2", "bad2")]
    assert dropped == {"no judge": 1}
    assert len({pair.pair_id for pair in made}) == 2


@pytest.mark.parametrize(
    ("good", "bad", "passes"),
    [
        # Each image shows its own wording; what it shows of the other's, or of the context, does not count.
        ((0.0, 1.0, 0.2), (0.0, 0.2, 1.0), True),
        ((1.0, 0.7, 0.0), (1.0, 0.2, 1.0), False),
        ((1.0, 1.0, 0.2), (1.0, 0.2, 0.7), False),
        ((1.0, 0.8, 0.2), (1.0, 0.2, 0.8), True),
    ],
)
def test_min_match_asks_of_each_image_its_own_wording(
    good: tuple[float, float, float],
    bad: tuple[float, float, float],
    passes: bool,
    make_context: Callable[..., Context],
    decide: Callable[..., Any],
) -> None:
    made, dropped = decide(make_context(min_match=0.8), BOTH, {"good": {"world": good}, "bad": {"world": bad}})
    assert (len(made), dropped) == ((1, {}) if passes else (0, {"low match": 1}))


def test_min_match_is_no_matter_for_a_cosine_or_where_the_reader_abstains(
    make_context: Callable[..., Context], decide: Callable[..., Any]
) -> None:
    given: Given = {name: {**CLEAR[name], "world": (None, None, None)} for name in ("good", "bad")}
    made, _ = decide(make_context(min_match=1.0), BOTH, given)
    assert len(made) == 1


@pytest.mark.parametrize(("match", "passes"), [(0.9, True), (0.7, False)])
def test_min_match_of_rank_is_the_share_of_the_context_prompt(
    match: float, passes: bool, make_context: Callable[..., Context], decide: Callable[..., Any]
) -> None:
    images = [image("good", "candidate", 0), image("bad", "candidate", 1)]
    given: Given = {"good": {"world": (match, 0.5, 0.0)}, "bad": {"world": (0.9, 0.0, 0.5)}}
    made, dropped = decide(make_context("rank", candidates=2, min_match=0.8), images, given)
    assert (len(made), dropped) == ((1, {}) if passes else (0, {"low match": 1}))


def pool(aligned: int, violating: int) -> tuple[list[Image], Given]:
    """Sound images of one scene, all as clear as CLEAR."""
    images = [image(f"good{k}", index=k) for k in range(aligned)]
    images += [image(f"bad{k}", "rejected", k) for k in range(violating)]
    return images, {one.image_id: CLEAR[one.image_id.rstrip("0123456789")] for one in images}


def sides(made: list[Pair]) -> list[tuple[str, str]]:
    return [(pair.chosen_id, pair.rejected_id) for pair in made]


@pytest.mark.parametrize(("aligned", "violating"), [(1, 1), (2, 2), (4, 3), (2, 5), (3, 1)])
def test_a_pool_deals_every_image_as_evenly_as_it_goes_and_its_rows_know_it(
    aligned: int, violating: int, make_context: Callable[..., Context], decide: Callable[..., Any]
) -> None:
    images, given = pool(aligned, violating)
    made, dropped = decide(make_context("pool", candidates=aligned, violating=violating), images, given)
    assert dropped == {} and len(made) == len(set(sides(made))) == max(aligned, violating)
    for side, count in (("good", aligned), ("bad", violating)):
        times = [sum(f"{side}{k}" in pair for pair in sides(made)) for k in range(count)]
        assert min(times) >= 1 and max(times) - min(times) <= 1
    assert {pair.pool for pair in made} == {"p0"}
    assert len({pair.pair_id for pair in made}) == len(made)


def test_who_meets_whom_in_a_pool_follows_from_the_recipes_seed_and_the_images(
    make_context: Callable[..., Context], decide: Callable[..., Any]
) -> None:
    images, given = pool(6, 6)
    dealt = [sides(decide(make_context("pool", candidates=6, seed=seed), images, given)[0]) for seed in (0, 0, 1, 2)]
    assert dealt[0] == dealt[1]
    assert len({tuple(pairs) for pairs in dealt}) == 3
    assert any(good[4:] != bad[3:] for good, bad in dealt[0])  # not index by index


def test_each_image_of_a_pool_is_checked_on_its_own_wording_and_its_loss_costs_no_other(
    make_context: Callable[..., Context], decide: Callable[..., Any]
) -> None:
    images, _ = pool(3, 4)
    images[0] = image("good0", **NOT_MADE)
    good, bad = (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
    given: Given = {one.image_id: {"world": good if one.side == "chosen" else bad} for one in images}
    given["good1"] = {"world": (1.0, 0.5, 0.0)}
    given["bad0"] = {"world": (1.0, 0.0, 0.5)}
    given["bad3"] = {"world": (None, None, None)}
    made, dropped = decide(make_context("pool", candidates=3, violating=4, min_match=0.8), images, given)
    assert sorted(sides(made)) == [("good2", "bad1"), ("good2", "bad2")]
    assert dropped == {"no image": 1, "low match": 2, "no judge": 1}


def test_a_pool_of_one_side_alone_has_no_pairs(
    make_context: Callable[..., Context], decide: Callable[..., Any]
) -> None:
    images, given = pool(2, 1)
    images[-1] = image("bad0", "rejected", **NOT_MADE)
    assert decide(make_context("pool", candidates=2, violating=1), images, given) == (
        [],
        {"no image": 1, "no partner": 2},
    )


def candidates(count: int) -> list[Image]:
    return [image(f"c{k}", "candidate", k) for k in range(count)]


def test_rank_sets_the_best_candidate_against_the_worst(
    make_context: Callable[..., Context], decide: Callable[..., Any]
) -> None:
    given: Given = {f"c{k}": {"clip": (0.0, lean, 0.0)} for k, lean in enumerate([0.1, -0.3, 0.4, 0.2])}
    (pair,), _ = decide(make_context("rank", candidates=4), candidates(4), given)
    assert (pair.chosen_id, pair.rejected_id) == ("c2", "c1")
    assert (pair.seed_chosen, pair.seed_rejected) == (102, 101)
    assert pair.margin == pytest.approx(20 * 0.7)


def test_of_equals_the_first_is_best_and_the_last_worst_at_even_odds(
    make_context: Callable[..., Context], decide: Callable[..., Any]
) -> None:
    given: Given = {f"c{k}": {"clip": (0.0, 0.1, 0.0)} for k in range(3)}
    (pair,), _ = decide(make_context("rank", candidates=3), candidates(3), given)
    assert (pair.chosen_id, pair.rejected_id, pair.probability) == ("c0", "c2", 0.5)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_candidate_that_no_judge_could_read_is_neither_best_nor_worst(
    sign: int, make_context: Callable[..., Context], decide: Callable[..., Any]
) -> None:
    given: Given = {f"c{k}": {"clip": (0.0, sign * lean, 0.0)} for k, lean in enumerate([0.1, 0.2, 0.3])}
    given["c3"] = {"clip": (None, None, None)}
    images = [*candidates(4), image("c4", "candidate", 4, **NOT_MADE)]
    (pair,), _ = decide(make_context("rank", candidates=5), images, given)
    assert {pair.chosen_id, pair.rejected_id} == {"c0", "c2"}
    assert pair.margin == pytest.approx(20 * 0.2)


@pytest.mark.parametrize(
    ("images", "given", "reason"),
    [
        ([*candidates(1), image("c1", "candidate", 1, **NOT_MADE)], {"c0": {"clip": (0.0, 0.1, 0.0)}}, "no image"),
        (candidates(2), {}, "no judge"),
        (candidates(2), {"c0": {"clip": (0.0, 0.1, 0.0)}}, "no judge"),
    ],
)
def test_rank_without_two_images_or_two_judged_ones_is_no_pair(
    images: list[Image],
    given: Given,
    reason: str,
    make_context: Callable[..., Context],
    decide: Callable[..., Any],
) -> None:
    assert decide(make_context("rank", candidates=2), images, given) == ([], {reason: 1})


def test_equal_images_of_two_prompts_keep_their_own_scores(
    label: Labelled, make_context: Callable[..., Context], principle: Principle, make_prompt: Callable[..., Prompt]
) -> None:
    prompts = [make_prompt(), make_prompt(prompt_id="p1")]
    images = [dataclasses.replace(one, prompt_id=prompt) for prompt in ("p0", "p1") for one in BOTH]
    other: Given = {"good": CLEAR["bad"], "bad": CLEAR["good"]}
    shard = Shard({Principle: [principle], Prompt: prompts, Image: images, Score: scored(CLEAR) + scored(other, "p1")})
    first, second = label(make_context(), shard).rows
    assert first.margin == pytest.approx(-second.margin)
    assert first.pair_id != second.pair_id


values = st.tuples(*[st.one_of(st.none(), st.floats(0, 1))] * 3)
by_judge = st.dictionaries(st.sampled_from(["clip", "world"]), values)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.fixed_dictionaries({"good": by_judge, "bad": by_judge}), st.floats(0, 1), st.floats(0, 1))
def test_each_two_images_become_one_pair_or_one_reason_and_swapping_them_flips_the_label(
    make_context: Callable[..., Context], decide: Callable[..., Any], given_: Given, least: float, share: float
) -> None:
    made, dropped = decide(make_context(min_probability=least, min_match=share), BOTH, given_)
    assert len(made) + sum(dropped.values()) == 1
    assert all(pair.probability >= least for pair in made)
    forth, _ = decide(make_context(), BOTH, given_)
    back, _ = decide(make_context(), [image("bad"), image("good", "rejected")], given_)
    assert len(forth) == len(back)
    for one, other in zip(forth, back, strict=True):
        assert one.probability == pytest.approx(1 - other.probability)
        # Log-odds of a probability so near 1 carry its rounding: 2^-53 / (1 - p) of them.
        off = 1e-6 + 2**-51 / min(1 - one.probability, one.probability, 1 - other.probability, other.probability)
        assert one.margin == pytest.approx(-other.margin, abs=off)


def by_axis(values: dict[str, dict[str, float]]) -> list[Score]:
    return [
        Score(image_id, "p0", "clip", "1", axis, value)
        for image_id, own in values.items()
        for axis, value in own.items()
    ]


OWN = {"good": {"aligned": 0.6, "violating": 0.1}, "bad": {"aligned": 0.2, "violating": 0.3}}


@pytest.mark.parametrize(
    ("good", "bad", "reason"),
    [
        ({"keeps": 0.6, "breaks": 0.1}, {"keeps": 0.2, "breaks": 0.3}, None),
        # A writer that exchanged its wordings: each image shows its own, and the principle sees the contrary.
        ({"keeps": 0.2, "breaks": 0.3}, {"keeps": 0.6, "breaks": 0.1}, "against its principle"),
        ({"match": 0.5, "others": 0.2}, {"match": 0.5, "others": 0.4}, None),
        # Wordings of another scene keep the principle, and show nothing of the context prompt.
        ({"match": 0.2, "others": 0.5}, {"match": 0.5, "others": 0.2}, "shows another prompt"),
        ({"match": 0.5, "others": 0.2}, {"match": 0.2, "others": 0.5}, "shows another prompt"),
        # What an image was drawn from tells more of it than the image.
        ({"wording": 0.1}, {"wording": 0.2}, None),
        ({"wording": -0.1}, {"wording": 0.2}, "a wording of another prompt"),
        ({"wording": 0.3}, {"wording": -0.1, "match": 0.2, "others": 0.5}, "a wording of another prompt"),
    ],
)
def test_a_pair_must_hold_by_what_its_writer_had_no_hand_in(
    good: dict[str, float],
    bad: dict[str, float],
    reason: str | None,
    label: Labelled,
    make_context: Callable[..., Context],
    principle: Principle,
    make_prompt: Callable[..., Prompt],
) -> None:
    scores = by_axis({"good": OWN["good"] | good, "bad": OWN["bad"] | bad})
    tables: dict[type, list[Any]] = {Principle: [principle], Prompt: [make_prompt()], Image: BOTH, Score: scores}
    written = label(make_context(), Shard(tables))
    assert (len(written.rows), written.drops) == ((1, {}) if reason is None else (0, {reason: 1}))
    exchanged = [dataclasses.replace(one, side={"chosen": "rejected", "rejected": "chosen"}[one.side]) for one in BOTH]
    if good.get("keeps") == 0.6:  # the wordings against the principle, the other way round
        assert label(make_context(), Shard({**tables, Image: exchanged})).drops == {}


def test_two_images_that_were_compared_are_a_pair_and_the_place_counts_for_nothing(
    label: Labelled, make_context: Callable[..., Context], principle: Principle, make_prompt: Callable[..., Prompt]
) -> None:
    met = [("good", "bad", 0.9), ("bad", "good", 0.4)]
    scores = [Score(one, "p0", "clip", "1", "beats", value, opponent=other) for one, other, value in met]
    shard = Shard({Principle: [principle], Prompt: [make_prompt()], Image: BOTH, Score: scores})
    ((pair,), dropped) = (label(make_context(), shard).rows, label(make_context(), shard).drops)
    assert dropped == {}
    assert pair.margin == pytest.approx((math.log(9) - math.log(0.4 / 0.6)) / 2)


def test_what_a_judge_said_stands_in_the_row_whatever_it_is_called(
    label: Labelled, make_context: Callable[..., Context], principle: Principle, make_prompt: Callable[..., Prompt]
) -> None:
    named = 'a "judge" \\ ü'
    given = {"good": {"match": 0.5, "aligned": 0.6, "violating": None}, "bad": {"match": 0.25, "aligned": 0.5}}
    extra = [
        Score(image_id, "p0", named, "1", axis, value)
        for image_id, own in given.items()
        for axis, value in own.items()
    ]
    tables: dict[type, list[Any]] = {Principle: [principle], Prompt: [make_prompt()], Image: BOTH}
    alone = Score("good", "p0", "of one image", "1", "match", 0.1)
    (pair,) = label(make_context(), Shard({**tables, Score: [*scored(CLEAR), *extra, alone]})).rows
    said = json.loads(pair.scores)
    assert list(said) == [named, "clip"] and said["clip"]["chosen"]["aligned"] == 0.6
    assert said[named] == {"chosen": given["good"], "rejected": given["bad"]}
    assert pair.scores == json.dumps(said, sort_keys=True)
