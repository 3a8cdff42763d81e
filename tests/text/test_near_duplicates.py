"""Near-duplicates are found exactly, whatever the texts are; clusters hold together over a split."""

from __future__ import annotations

import collections
import itertools
import random
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.text import near_duplicates
from datagen.text.near_duplicates import split
from datagen.text.shingled import shingles


def clusters(texts: Iterable[str], threshold: float = 0.8) -> list[int]:
    """Those found, as a list."""
    return near_duplicates.clusters(texts, threshold).tolist()


def duplicates(texts: Iterable[str], threshold: float = 0.8) -> list[bool]:
    """Those found, as a list."""
    return near_duplicates.duplicates(texts, threshold).tolist()


def similarity(a: str, b: str) -> float:
    """The Jaccard similarity of two texts' shingles, 0 to 1."""
    first, second = shingles(a), shingles(b)
    return len(first & second) / len(first | second)


PROMPT = (
    "a nurse in blue scrubs checks a chart beside a tall window of a bright hospital corridor while two doctors "
    "walk past her with coffee in the early morning light"
)
WORDS = st.lists(st.sampled_from("red blue green box ball cup a the of chef".split()), max_size=12).map(" ".join)
ANY = st.one_of(WORDS, st.text(max_size=20), st.text(st.characters(categories=["Lo", "Po", "So"]), max_size=8))


def components(texts: list[str], threshold: float) -> list[int]:
    """What `clusters` must give, by comparing every pair."""
    label = list(range(len(texts)))
    for a, b in itertools.combinations(range(len(texts)), 2):
        if similarity(texts[a], texts[b]) >= threshold:
            old, new = max(label[a], label[b]), min(label[a], label[b])
            label = [new if other == old else other for other in label]
    return label


def kept_first(texts: list[str], threshold: float) -> list[bool]:
    """What `duplicates` must give, by comparing every pair."""
    kept: list[str] = []
    found = []
    for text in texts:
        found.append(any(similarity(text, other) >= threshold for other in kept))
        if not found[-1]:
            kept.append(text)
    return found


@settings(max_examples=200, deadline=None)
@given(st.lists(ANY, max_size=25), st.sampled_from([0.8, 0.9, 1.0]))
def test_clusters_are_the_chains_of_near_are_near(texts: list[str], threshold: float) -> None:
    found, truth = clusters(texts, threshold), components(texts, threshold)
    # A pair at the threshold may be missed, one in a thousand, so nothing is merged wrongly but something may lack.
    assert all(truth[label] == truth[index] for index, label in enumerate(found))
    missed = [i for i, (a, b) in enumerate(zip(found, truth, strict=True)) if a != b]
    assert not [i for i in missed if similarity(texts[truth[i]], texts[i]) > threshold + 0.05]


@settings(max_examples=200, deadline=None)
@given(st.lists(ANY, max_size=25))
def test_only_what_has_a_kept_near_twin_is_a_duplicate(texts: list[str]) -> None:
    found = duplicates(texts)
    kept = [text for text, dropped in zip(texts, found, strict=True) if not dropped]
    for index, text in enumerate(texts):
        if found[index]:
            earlier = [other for other, dropped in zip(texts[:index], found[:index], strict=True) if not dropped]
            assert any(similarity(text, other) >= 0.8 for other in earlier)
    assert all(similarity(a, b) < 0.85 for a, b in itertools.combinations(kept, 2))


@settings(deadline=None)
@given(st.lists(ANY, max_size=20), st.randoms(use_true_random=False))
def test_which_texts_lie_together_does_not_depend_on_their_order(texts: list[str], rng: random.Random) -> None:
    order = rng.sample(range(len(texts)), len(texts))
    straight, shuffled = clusters(texts), clusters([texts[k] for k in order])
    together = {(order[i], order[label]) for i, label in enumerate(shuffled)}
    assert all(straight[a] == straight[b] for a, b in together)
    assert len(set(straight)) == len(set(shuffled))


@pytest.mark.parametrize(
    "twin",
    [
        PROMPT.upper(),
        PROMPT.replace(" while", ", while") + "!",
        PROMPT.replace("window", "pane"),
        PROMPT.replace(" tall", ""),
        "in the early morning light, " + PROMPT.removesuffix(" in the early morning light"),
        PROMPT.replace(" ", "\u00a0\t"),
        "\uff41" + PROMPT[1:],  # a full-width letter
    ],
)
def test_small_edits_make_a_near_twin(twin: str) -> None:
    assert similarity(PROMPT, twin) >= 0.8
    assert clusters(["another text altogether", PROMPT, twin]) == [0, 1, 1]
    assert duplicates([PROMPT, twin, "another text altogether"]) == [False, True, False]


def test_the_order_of_words_matters() -> None:
    swapped = ["a red cup stands on a blue box", "a blue cup stands on a red box"]
    assert similarity(*swapped) < 0.8
    assert clusters(swapped) == [0, 1]


def test_a_chain_is_one_cluster_but_only_neighbours_are_duplicates() -> None:
    words = [f"word{k}" for k in range(40)]
    chain = [" ".join(words[start : start + 25]) for start in range(0, 12, 2)]
    assert similarity(chain[0], chain[1]) >= 0.8 > similarity(chain[0], chain[2])
    assert clusters(chain) == [0] * 6
    assert duplicates(chain) == kept_first(chain, 0.8) == [False, True] * 3


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        ([], []),
        ([""], [0]),
        (["", " ", "\n"], [0, 0, 0]),
        (["cat", "dog", "Cat.", "cat cat"], [0, 1, 0, 3]),
        (["???", "!!!", "? ? ?"], [0, 1, 0]),
        (["\u4e00\u53ea\u732b\u5728\u684c\u5b50\u4e0a", "\u4e00\u53ea\u732b\u5728\u684c\u5b50\u4e0a\u3002"], [0, 0]),
        (["\u4e00\u53ea\u732b\u5728\u684c\u5b50\u4e0a", "\u4e24\u6761\u72d7\u5728\u6c34\u91cc"], [0, 1]),
        (["\u0939\u093f\u0928\u094d\u0926\u0940", "\u0939\u093f\u0928\u094d\u0926\u0941"], [0, 1]),
        (["\U0001f600", "\U0001f600", "\U0001f601"], [0, 0, 2]),
        (["\ud800", "\ud800 ", "\udfff"], [0, 0, 2]),
        (["\0", "\0\0"], [0, 1]),
        (["cafe\u0301 au lait", "caf\u00e9 au lait"], [0, 0]),
        (["don't", "dont", "don\u2019t"], [0, 0, 0]),
    ],
)
def test_texts_of_every_kind(texts: list[str], labels: list[int]) -> None:
    assert clusters(texts) == labels
    assert duplicates(texts) == [label != index for index, label in enumerate(labels)]


def test_a_hundred_thousand_identical_texts() -> None:
    texts = [PROMPT] * 100_000
    assert set(clusters(texts)) == {0}
    assert sum(duplicates(texts)) == 99_999


def test_thousands_that_are_all_near_are_near_are_one_cluster() -> None:
    texts = [f"{PROMPT} {number}" for number in range(5_000)]
    assert set(clusters(texts)) == {0}
    assert sum(duplicates(texts)) == 4_999


def test_texts_of_a_megabyte() -> None:
    rng = random.Random(0)
    long = " ".join(str(rng.randrange(10**6)) for _ in range(150_000))
    assert clusters([long, PROMPT, long + " more", "x" * 1_000_000]) == [0, 1, 0, 3]


def test_random_prompts_against_every_pair() -> None:
    rng = random.Random(0)
    texts = [PROMPT]
    for _ in range(150):
        words = rng.choice(texts).split()
        for _ in range(rng.randrange(3)):
            words[rng.randrange(len(words))] = f"w{rng.randrange(1000)}"
        texts.append(" ".join(words))
    for threshold in (0.6, 0.8):
        assert clusters(texts, threshold) == components(texts, threshold)
    assert duplicates(texts) == kept_first(texts, 0.8)


@pytest.mark.parametrize("threshold", [0, -1, 1.1, float("nan")])
def test_a_threshold_that_is_none_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        clusters(["a"], threshold)


def test_shingles_are_words_and_pairs_of_neighbours() -> None:
    assert shingles("A Red, red BALL") == {"a", "red", "ball", "a red", "red red", "red ball"}
    assert similarity("", "") == 1 and similarity("", "a") == 0


@given(st.lists(st.integers(0, 9).map(str), max_size=60), st.floats(0, 1), st.integers(0, 5))
def test_no_cluster_crosses_the_split(names: list[str], share: float, seed: int) -> None:
    sides = split(names, share, seed)
    assert len(sides) == len(names) and len(set(zip(names, sides, strict=True))) == len(set(names))
    sizes = collections.Counter(names)
    # One more cluster of train would not bring test nearer to its share, or it was passed over for that.
    missing = share * len(names) - sides.count("test")
    assert missing >= -max(sizes.values(), default=0) / 2
    assert all(
        abs(missing - sizes[n]) >= abs(missing) - 1e-9 for n, s in zip(names, sides, strict=True) if s == "train"
    )


def test_the_split_meets_its_share_and_depends_on_the_seed_and_not_on_the_order() -> None:
    names = [f"cluster {k % 700}" for k in range(1000)]
    sides = split(names, 0.15, 0)
    assert sides.count("test") == 150
    assert dict(zip(reversed(names), split(names[::-1], 0.15, 0), strict=True)) == dict(zip(names, sides, strict=True))
    assert split(names, 0.15, 1) != sides
    assert set(split(names, 0.0, 0)) == {"train"} and set(split(names, 1.0, 0)) == {"test"}


def test_a_cluster_larger_than_test_stays_in_train() -> None:
    names = ["giant"] * 800 + [f"small {k}" for k in range(200)]
    for seed in range(10):
        sides = split(names, 0.15, seed)
        assert set(sides[:800]) == {"train"} and sides.count("test") == 150


def test_hardly_a_cluster_changes_sides_when_rows_are_added() -> None:
    names = [f"cluster {k}" for k in range(2000)]
    few, many = split(names[:1000], 0.15, 0), split(names, 0.15, 0)
    assert sum(a != b for a, b in zip(few, many[:1000], strict=True)) <= 30
