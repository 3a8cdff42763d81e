from datagen.labels import told

FACTS = {
    "pairs": 357,
    "judges": [
        {"name": "clip", "reliability": 0.934, "leak": None},
        {"name": "hpsv2", "reliability": 0.856, "leak": {"value": 0.31, "low": 0.2, "high": 0.42}},
    ],
    "obedience": {"smoke neutral": {"value": 0.9, "low": 0.8, "high": 0.95}},
    "notes": ["few pairs: weights are shrunk"],
}


def test_what_was_learnt_is_told_in_lines() -> None:
    assert told.lines(FACTS) == [
        "learnt from 357 pairs",
        "judges, how often right: clip 0.93, hpsv2 0.86, sees the wording by 0.31 [0.20, 0.42] of its noise",
        "drawn as worded: smoke neutral 0.90 [0.80, 0.95]",
        "few pairs: weights are shrunk",
    ]


def test_of_a_run_without_labels_nothing_is_told() -> None:
    assert told.lines({}) == []
    empty = {"pairs": 0, "judges": [], "obedience": {}, "notes": ["no two images could be compared"]}
    assert told.lines(empty) == ["learnt from 0 pairs", "no two images could be compared"]


def test_of_a_judge_of_which_nothing_is_learnt_no_number_is_told() -> None:
    facts = {**FACTS, "judges": [{"name": "same", "reliability": float("nan"), "leak": None}]}
    assert told.lines(facts)[1] == "judges, how often right: same not known"
