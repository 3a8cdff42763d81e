from __future__ import annotations

import pyarrow as pa
import pytest

from datagen import records
from datagen.labels import sample
from datagen.records import Prompt, Verdict, pair_id

from .test_labelling import prompts, verdict

Tables = list[tuple[pa.Table, pa.Table]]


def parts(count: int, each: int = 2, cut: int = 4) -> Tables:
    rows = [prompts(count)[first::cut] for first in range(cut)]
    images = [[verdict(row.prompt_id, "candidate", [0.0], k) for row in some for k in range(each)] for some in rows]
    return [
        (records.to_table(Prompt, some), records.to_table(Verdict, own))
        for some, own in zip(rows, images, strict=True)
    ]


@pytest.mark.parametrize(
    ("images", "expected"), [(0, 1), (250_000, 1), (250_001, 2), (300_000, 2), (300_001, 3), (2_000_000, 14)]
)
def test_a_part_and_what_is_learnt_of_are_no_more_than_is_labelled_together(images: int, expected: int) -> None:
    assert sample.count(images) == expected


def test_about_as_many_prompts_are_drawn_as_asked_for_each_with_all_its_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sample, "LEARNT", 600)
    drawn, images = sample.of(parts(2000, each=3), 6000)
    assert 150 < drawn.num_rows < 250  # 200 ± 4 standard deviations
    assert images.num_rows == 3 * drawn.num_rows
    assert set(images["prompt_id"].to_pylist()) == set(drawn["prompt_id"].to_pylist())


def test_which_are_drawn_depends_on_their_names_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "LEARNT", 600)
    few, many = (set(sample.of(parts(1000, cut=cut), 2000)[0]["prompt_id"].to_pylist()) for cut in (1, 7))
    assert few == many


def test_prompts_that_people_spoke_of_are_among_them_whichever_image_they_were_shown_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sample, "LEARNT", 0)
    known = {
        pair_id("p3", "p3-candidate-0", "p3-candidate-2"),
        pair_id("p8", "p8-candidate-1", "p8-candidate-0"),
        pair_id("p9", "p8-candidate-0", "p9-candidate-1"),  # of images of two prompts, so of none
    }
    drawn, images = sample.of(parts(12, each=3), 36, known)
    assert sorted(drawn["prompt_id"].to_pylist()) == ["p3", "p8"] and images.num_rows == 6
