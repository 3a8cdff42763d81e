import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datagen import records
from datagen.errors import InputError
from datagen.labels import labelling, sample, verdicts
from datagen.recipe import Images, Labels, Profile, Recipe
from datagen.records import NEGATIVE, Label, Prompt, Verdict, content_id, pair_id

NAN = math.nan


def recipe(pairing: Any = "contrast", candidates: int = 1, **labels: Any) -> Recipe:
    profile = Profile.model_validate(
        {"model": "embedded", "taxonomy": "t", "grammar": "g", "steps": 1, "guidance": 1.0, "width": 64, "height": 64,
         "judges": ["clip"]}
    )  # fmt: skip
    images = Images(candidates=candidates)
    return Recipe(
        name="r", license="x", pairing=pairing, images=images, labels=Labels(**labels), profiles={"p": profile}
    )


def prompts(count: int, **changes: Any) -> list[Prompt]:
    return [
        Prompt(f"p{k}", "pixel", "style", f"a chef {k}", "", "", "", "", f"c{k}", "train", "t", **changes)
        for k in range(count)
    ]


def verdict(prompt: str, side: str, lean: list[float], index: int = 0, **changes: Any) -> Verdict:
    silent = [NAN] * len(lean)
    values: dict[str, Any] = {"reason": None, "principle": silent, "wording": silent, "match": silent, "share": NAN}
    return Verdict(f"{prompt}-{side}-{index}", prompt, side, index, lean=lean, **(values | changes))


def label(
    of: Recipe, judges: list[str], rows: list[Prompt], images: list[Verdict]
) -> tuple[list[Label], dict[str, Any]]:
    table, facts = labelling.label(of, judges, records.to_table(Prompt, rows), records.to_table(Verdict, images))
    return records.from_table(Label, table), facts


def contrasts(count: int, obeyed: float = 0.85, seed: int = 0) -> tuple[list[Verdict], np.ndarray]:
    """Pairs of which so many were drawn as they were worded, and three judges that see it through noise."""
    rng = np.random.default_rng(seed)
    truth = np.where(rng.random(count) < obeyed, 1.0, -1.0)
    margins = truth[:, None] * np.array([2.0, 1.5, 1.0]) + rng.standard_normal((count, 3))
    images = []
    for k, row in enumerate(margins):
        images += [verdict(f"p{k}", "chosen", list(row)), verdict(f"p{k}", "rejected", [0.0] * 3)]
    return images, truth


def test_each_two_images_have_one_row_in_the_order_of_their_prompts() -> None:
    images, _ = contrasts(50)
    images[0] = verdict("p0", "chosen", [NAN] * 3, reason="no image")
    images[2] = verdict("p1", "chosen", [NAN] * 3, reason="no judge")
    rows, facts = label(recipe(), ["a", "b", "c"], prompts(51), images)
    assert [row.prompt_id for row in rows] == [f"p{k}" for k in range(50)]
    assert [row.reason for row in rows[:3]] == ["no image", "no judge", None]
    assert (rows[0].chosen_id, rows[0].rejected_id, rows[0].probability) == ("p0-chosen-0", "p0-rejected-0", None)
    assert facts["pairs"] == 48 and [judge["name"] for judge in facts["judges"]] == ["a", "b", "c"]


def test_pairs_that_were_drawn_the_other_way_round_are_found_by_judges_that_nobody_scaled() -> None:
    images, truth = contrasts(2000)
    for scale in (1.0, 7.0):
        scaled = [verdict(v.prompt_id, v.side, [v.lean[0] * scale, v.lean[1] / scale, v.lean[2]]) for v in images]
        rows, facts = label(recipe(min_probability=0.9), ["a", "b", "c"], prompts(2000), scaled)
        kept = np.array([row.reason is None for row in rows])
        assert (truth[kept] > 0).mean() > 0.98 and kept.mean() > 0.7
        assert {row.reason for row in rows} == {None, "low probability"}
        for row in rows[:20]:
            assert row.low is not None and row.probability is not None and row.high is not None
            assert row.low <= row.probability <= row.high


def candidates(count: int, each: int, seed: int = 0) -> tuple[list[Verdict], np.ndarray]:
    """Candidates of unequal quality, and two judges: one that sees it, one that sees nothing but is louder."""
    rng = np.random.default_rng(seed)
    quality = rng.standard_normal((count, each))
    seen = quality + 0.3 * rng.standard_normal((count, each))
    also = quality + 0.5 * rng.standard_normal((count, each))
    images = [verdict(f"p{p}", "candidate", [seen[p, k], also[p, k]], k) for p in range(count) for k in range(each)]
    return images, quality


def test_of_candidates_the_best_and_the_worst_by_what_was_learnt_meet() -> None:
    images, quality = candidates(300, 4)
    rows, facts = label(recipe("rank", 4), ["a", "b"], prompts(300), images)
    assert len(rows) == 300 and facts["pairs"] == 300
    right = [quality[p, int(row.chosen_id[-1])] > quality[p, int(row.rejected_id[-1])] for p, row in enumerate(rows)]
    assert np.mean(right) > 0.97
    assert all(row.probability is not None and row.probability >= 0.5 for row in rows)


def test_labels_of_people_calibrate_and_those_of_other_pairs_are_counted(tmp_path: Path) -> None:
    images, truth = contrasts(400)
    plain, _ = label(recipe(), ["a", "b", "c"], prompts(400), images)
    known = tmp_path / "known.csv"
    lines = [
        f"{content_id(row.prompt_id, row.chosen_id, row.rejected_id)},{'chosen' if better > 0 else 'rejected'}"
        for row, better in zip(plain[:200], truth, strict=False)
    ]
    known.write_text("\n".join(["pair_id,label", *lines, "stranger,chosen"]))
    rows, facts = label(recipe(known=str(known)), ["a", "b", "c"], prompts(400), images)
    assert "1 of 201 labels of people are of no pair of this run" in facts["notes"]
    assert [row.probability for row in rows] != [row.probability for row in plain]
    wrong = recipe(known=str(tmp_path / "nothing.csv"))
    with pytest.raises(InputError, match="which is no file"):
        label(wrong, ["a", "b", "c"], prompts(400), images)


def test_a_run_without_two_images_says_so() -> None:
    rows, facts = label(recipe(), ["a"], prompts(2), [verdict("p0", "chosen", [1.0])])
    assert [row.reason for row in rows] == ["no image"]
    assert facts == {"pairs": 0, "judges": [], "obedience": {}, "notes": ["no two images could be compared"]}
    assert label(recipe(), ["a"], [], []) == ([], facts)


@pytest.mark.parametrize("pairing", ["contrast", "pool"])
def test_the_same_verdicts_give_the_same_labels(pairing: str) -> None:
    images, _ = contrasts(60)
    first = label(recipe(pairing), ["a", "b", "c"], prompts(60), images)
    assert label(recipe(pairing), ["a", "b", "c"], prompts(60), images) == first
    assert all(isinstance(row, Label) for row in first[0])


def test_what_judges_see_of_the_wording_shows_in_questions_that_it_should_not_touch_and_is_taken_out() -> None:
    images, truth = contrasts(1500)
    rng = np.random.default_rng(1)
    seen, silent = np.array([1.2, 0.0, 0.0]), [NAN] * 3
    leaning = [
        dataclasses.replace(
            image,
            lean=[value + leak * (image.side == "chosen") for value, leak in zip(image.lean, seen, strict=True)],
            controls=[
                *(rng.standard_normal(3) + seen * (image.side == "chosen")),
                *silent,
            ],  # the second: not answered
        )
        for image in images
    ]
    rows, facts = label(recipe(), ["a", "b", "c"], prompts(1500), leaning)
    assert len(rows) == facts["pairs"] == 1500
    assert any("By 1500 controls a sees the wording; their leaks are taken out" in note for note in facts["notes"])
    leaks = [judge["leak"] for judge in facts["judges"]]
    assert leaks[0]["low"] < 1.2 / np.sqrt(2) < leaks[0]["high"] and abs(leaks[1]["value"]) < 0.1
    (obeyed,) = facts["obedience"].values()
    assert abs(obeyed["value"] - (truth > 0).mean()) < 0.04
    unasked = label(recipe(), ["a", "b", "c"], prompts(1500), images)[1]
    assert any("no controls" in note for note in unasked["notes"])


def negative(count: int, leak: float, seed: int = 0) -> tuple[list[Prompt], list[Verdict]]:
    """Negative controls, and judges of which the first leans towards what was meant."""
    rng = np.random.default_rng(seed)
    images: list[Verdict] = []
    for k, row in enumerate(rng.standard_normal((count, 3)) + [leak, 0, 0]):
        images += [verdict(f"n{k}", "chosen", list(row)), verdict(f"n{k}", "rejected", [0.0] * 3)]
    rows = [dataclasses.replace(row, prompt_id=f"n{k}", role=NEGATIVE) for k, row in enumerate(prompts(count))]
    return rows, images


def test_negative_controls_teach_what_a_judge_sees_of_wordings_and_are_no_pairs() -> None:
    images, _ = contrasts(600)
    for leak, sees in ((2.0, True), (0.0, False)):
        written, drawn = negative(100, leak)
        rows, facts = label(recipe(), ["a", "b", "c"], [*prompts(600), *written], [*images, *drawn])
        assert facts["pairs"] == 600 and list(facts["obedience"]) == ["pixel neutral"]
        assert [row.reason for row in rows[600:]] == ["negative control"] * 100
        assert all(row.probability is None and row.chosen_id.startswith("n") for row in rows[600:])
        told = facts["judges"][0]["leak"]
        assert told["value"] == pytest.approx(leak, abs=0.5) and (told["low"] > 0) is sees
        assert "100 negative controls were drawn and are in no dataset" in facts["notes"]


def test_of_negative_controls_without_images_nothing_is_learnt_and_they_are_counted() -> None:
    images, _ = contrasts(60)
    written, drawn = negative(10, 0.0)
    drawn[0] = dataclasses.replace(drawn[0], reason="no image")
    drawn[3] = dataclasses.replace(drawn[3], lean=[NAN] * 3)
    rows, facts = label(recipe(), ["a", "b", "c"], [*prompts(60), *written], [*images, *drawn[:-1]])
    assert len(rows) == 70 and rows[-1].rejected_id == ""
    (note,) = [note for note in facts["notes"] if "negative controls" in note]
    assert note.startswith("10 negative controls were drawn") and "of 3 of them there is nothing to learn" in note
    rows, facts = label(recipe(), ["a", "b", "c"], written, drawn)  # and no pair at all
    assert {row.reason for row in rows} == {"negative control"} and facts["pairs"] == 0


def test_degraded_copies_tell_which_judge_of_candidates_to_believe() -> None:
    images, quality = candidates(60, 4)
    rng = np.random.default_rng(5)
    images = [dataclasses.replace(image, lean=[image.lean[0], rng.normal(0, 5)]) for image in images]
    copies = [
        dataclasses.replace(
            image, image_id=verdicts.copy_id(image.image_id, "blur"), side=verdicts.COPY, reason=verdicts.OF_COPY,
            lean=[image.lean[0] - 3.0, rng.normal(0, 5)],
        )
        for image in images
    ]  # fmt: skip
    rows, facts = label(recipe("rank", 4), ["sees", "loud"], prompts(60), [*images, *copies])
    assert any(note.startswith("240 planted pairs are of an image and a degraded copy") for note in facts["notes"])
    assert len(rows) == 60 and {row.reason for row in rows} == {None}
    at = {image.image_id: divmod(k, 4) for k, image in enumerate(images)}
    right = [quality[at[of.chosen_id]] > quality[at[of.rejected_id]] for of in rows]
    assert np.mean(right) > 0.95
    assert facts["judges"][0]["weight"] > 5 * abs(facts["judges"][1]["weight"])


def in_parts(
    of: Recipe, judges: list[str], rows: list[Prompt], images: list[Verdict], cut: int
) -> tuple[list[Label], dict[str, Any]]:
    """As `label`, of a run that is cut into so many parts."""
    own = [rows[part * len(rows) // cut : (part + 1) * len(rows) // cut] for part in range(cut)]
    names = [{row.prompt_id for row in some} for some in own]
    seen = [[image for image in images if image.prompt_id in some] for some in names]
    parts = [
        (records.to_table(Prompt, some), records.to_table(Verdict, of_them))
        for some, of_them in zip(own, seen, strict=True)
    ]
    tables, facts = labelling.in_parts(of, judges, lambda: parts, len(images))
    return [row for table in tables for row in records.from_table(Label, table)], facts


def test_part_by_part_labels_are_what_they_are_of_a_run_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "LEARNT", 2000)
    images, truth = contrasts(3000)
    whole, _ = label(recipe(), ["a", "b", "c"], prompts(3000), images)
    rows, facts = in_parts(recipe(), ["a", "b", "c"], prompts(3000), images, 3)
    assert [(row.prompt_id, row.chosen_id) for row in rows] == [(row.prompt_id, row.chosen_id) for row in whole]
    found, before = (np.array([row.probability for row in of], dtype=float) for of in (rows, whole))
    assert np.abs(found - before).mean() < 0.01
    assert abs(np.where(truth > 0, 1 - found, found).mean() - np.where(truth > 0, 1 - before, before).mean()) < 0.005
    assert facts["pairs"] == 3000 and "of 6,000 images" in facts["notes"][-1]


def test_part_by_part_what_was_meant_says_nothing_of_how_sure_its_own_label_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sample, "LEARNT", 4000)  # all of them: each pair is taught and labelled
    rng = np.random.default_rng(5)
    noise = [
        image
        for k in range(1500)
        for image in (
            verdict(f"p{k}", "chosen", list(rng.standard_normal(3))),
            verdict(f"p{k}", "rejected", list(rng.standard_normal(3))),
        )
    ]
    rows, _ = in_parts(recipe(), ["a", "b", "c"], prompts(1500), noise, 2)
    alone = np.array([row.judges_only for row in rows], dtype=float)
    assert abs(alone.mean() - 0.5) < 0.03 and np.abs(alone - 0.5).mean() < 0.1


def test_part_by_part_candidates_are_ranked_by_what_some_taught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "LEARNT", 800)
    images, quality = candidates(600, 4)
    rows, facts = in_parts(recipe("rank", 4), ["a", "b"], prompts(600), images, 3)
    right = [quality[p, int(row.chosen_id[-1])] > quality[p, int(row.rejected_id[-1])] for p, row in enumerate(rows)]
    assert len(rows) == 600 and facts["pairs"] == 600 and np.mean(right) > 0.97


@pytest.mark.parametrize("pairing", ["contrast", "rank"])
def test_part_by_part_labels_of_people_calibrate_and_are_counted(
    pairing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sample, "LEARNT", 200)
    images = contrasts(600)[0] if pairing == "contrast" else candidates(600, 2)[0]
    judges = ["a", "b", "c"][: len(images[0].lean)]
    of = recipe(pairing, 1 if pairing == "contrast" else 2)
    plain, _ = in_parts(of, judges, prompts(600), images, 3)
    known = tmp_path / "known.csv"
    said = [f"{pair_id(row.prompt_id, row.chosen_id, row.rejected_id)},rejected" for row in plain[::3]]
    known.write_text("\n".join(["pair_id,label", *said, "elsewhere,chosen"]))
    told, facts = in_parts(of.model_copy(update={"labels": Labels(known=str(known))}), judges, prompts(600), images, 3)
    before, after = (np.array([row.probability for row in rows], dtype=float) for rows in (plain, told))
    turned = np.mean([row.chosen_id != other.chosen_id for row, other in zip(plain, told, strict=True)])
    # People say the contrary of all: it is less sure that what was meant is better, and candidates are turned round.
    assert turned > 0.95 if pairing == "rank" else turned == 0 and after.mean() < before.mean() - 0.1
    assert facts["notes"][-1] == "1 of 201 labels of people are of no pair of this run"


def test_part_by_part_caps_are_those_of_the_whole_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "LEARNT", 400)
    images, _ = contrasts(600)
    rows, _ = in_parts(recipe(most_each_principle=50), ["a", "b", "c"], prompts(600), images, 3)
    kept, left = (
        np.array([row.probability for row in rows if row.reason == reason], dtype=float)
        for reason in (None, "more of its principle")
    )
    assert len(kept) == 50 and len(left) and kept.min() >= left.max()


def test_part_by_part_negative_controls_are_counted_in_all_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "LEARNT", 400)
    images, _ = contrasts(300)
    rows = [*prompts(300)]
    for k in range(0, 300, 10):
        rows[k] = dataclasses.replace(rows[k], role=NEGATIVE)
    found, facts = in_parts(recipe(), ["a", "b", "c"], rows, images, 3)
    assert len(found) == 300 and sum(row.reason == "negative control" for row in found) == 30
    assert "30 negative controls were drawn and are in no dataset" in facts["notes"] and facts["pairs"] == 270
