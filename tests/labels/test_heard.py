"""What is read of a run in columns is what the records of its images say, one prompt after the other."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen import records
from datagen.labels import matching, pairing, verdicts
from datagen.labels.heard import Heard, rows_of
from datagen.recipe import Images, Labels, Profile, Recipe
from datagen.records import Prompt, Verdict

PROFILE = Profile.model_validate(
    {"model": "embedded", "taxonomy": "t", "grammar": "g", "steps": 1, "guidance": 1.0, "width": 64, "height": 64,
     "judges": ["clip"]}
)  # fmt: skip
PROMPTS = [Prompt(f"p{k}", "pixel", "style", "a chef", "", "", "", "", f"c{k}", "train", "t") for k in range(4)]
REASONS = [None, "no image", "no judge", "shows another prompt", verdicts.OF_ANOTHER]


@st.composite
def images(draw: st.DrawFn) -> list[Verdict]:
    """Images of some prompts in the order of these, among them equal ones and such of which no judge spoke."""
    found, value = [], st.one_of(st.just(math.nan), st.floats(-3, 3))
    for prompt in PROMPTS:
        places = st.tuples(st.sampled_from(["chosen", "rejected"]), st.integers(0, 2))
        for side, index in draw(st.lists(places, max_size=5, unique=True)):
            leans = [draw(st.lists(value, min_size=2, max_size=2)) for _ in range(4)]
            name = draw(st.sampled_from(["a", "b", f"{side} {index}"]))
            reason, controls = draw(st.sampled_from(REASONS)), draw(st.sampled_from([[], [1.0, math.nan]]))
            found.append(Verdict(name, prompt.prompt_id, side, index, reason, *leans, draw(st.floats(0, 1)), controls))
    return found


def heard(rows: list[Verdict]) -> Heard:
    return Heard.of(records.to_table(Verdict, rows), records.to_table(Prompt, PROMPTS), 2)


def recipe() -> Recipe:
    return Recipe(name="r", license="x", pairing="contrast", images=Images(), labels=Labels(), profiles={"p": PROFILE})


@given(images())
@settings(max_examples=40, deadline=None)
def test_contrasts_meet_and_are_refused_as_the_images_of_each_prompt_alone(rows: list[Verdict]) -> None:
    columns = heard(rows)
    found = matching.Contrasts(columns, np.array([1])).found(pairing.by_sum)
    wanted = [
        (place, match)
        for place, prompt in enumerate(PROMPTS)
        for match in pairing.matches(recipe(), [row for row in rows if row.prompt_id == prompt.prompt_id])
        if place != 1
    ]
    assert found.prompt.tolist() == [place for place, _ in wanted]
    two = [tuple(None if row < 0 else rows[row] for row in both) for both in found.twos.tolist()]
    assert [tuple(map(id, both)) for both in two] == [tuple(map(id, match)) for _, match in wanted]
    why = [pairing.why_none(*match) for _, match in wanted if not isinstance(match, str)]
    assert columns.why_none(found.twos).tolist() == why
    none = [["" if image is None else image.image_id for image in match] for _, match in wanted]
    assert [columns.ids(side).to_pylist() for side in found.twos.T] == [[one[k] for one in none] for k in (0, 1)]


@given(images())
@settings(max_examples=20, deadline=None)
def test_margins_are_the_same_and_a_list_without_a_number_says_nothing(rows: list[Verdict]) -> None:
    columns = heard(rows)
    twos = [(one, other) for one in range(len(rows)) for other in range(len(rows))]
    for axis in ("lean", "principle", "wording", "match"):
        if twos:
            given_ = verdicts.margins([(rows[one], rows[other]) for one, other in twos], axis)
            np.testing.assert_array_equal(columns.margins(rows_of(twos), axis), given_)
    for row, controls in zip(rows, columns.controls, strict=True):
        np.testing.assert_array_equal(controls, row.controls or [math.nan] * len(controls))


def test_a_run_without_an_image_has_no_two() -> None:
    columns = heard([])
    assert columns.contrasts().shape == (0, 2) and columns.why_none(rows_of([])).shape == (0,)
    assert columns.in_order(np.array([0, 3])).tolist() == [[-1, -1], [-1, -1]]
