"""The safety check refuses sexual content with minors, however it is spelled; ordinary prompts with children pass."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.support import anew, anew_again
from benchmarks.support.spelling import LOSSLESS, TRICKS
from datagen import safety
from datagen.safety.rules import _VOCABULARY

LISTS = Path(__file__).parents[2] / "benchmarks" / "support" / "floor"


def listed(name: str) -> list[str]:
    """The texts of a list, comments left out."""
    lines = (LISTS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


REFUSED = listed("must_refuse")
PASS = listed("must_pass")
# Words and phrases that are told from their letters alone, the base of the spelling tricks.
PLAIN = ["a nude child", "naked toddler", "underage porn", "sexy teenager", "erotic schoolgirl", "lingerie, preteen"]


@pytest.mark.parametrize("text", REFUSED)
def test_sexual_content_with_minors_is_refused(text: str) -> None:
    assert safety.refusal(text) == safety.MINORS


@pytest.mark.parametrize("text", ["", *PASS])
def test_ordinary_prompts_pass(text: str) -> None:
    assert safety.refusal(text) is None


@given(text=st.sampled_from(REFUSED), trick=st.sampled_from(LOSSLESS), seed=st.integers(0, 2**32))
@settings(max_examples=400, deadline=None)
def test_what_is_refused_stays_refused_in_other_letters(text: str, trick: str, seed: int) -> None:
    assert safety.refusal(TRICKS[trick](text, random.Random(seed))) == safety.MINORS


@given(text=st.sampled_from(PLAIN), trick=st.sampled_from(sorted(TRICKS)), seed=st.integers(0, 2**32))
@settings(max_examples=400, deadline=None)
def test_core_words_are_refused_under_every_spelling_trick(text: str, trick: str, seed: int) -> None:
    assert safety.refusal(TRICKS[trick](text, random.Random(seed))) == safety.MINORS


@given(
    text=st.sampled_from(REFUSED),
    before=st.sampled_from(["", "masterpiece, 8k, ", "ignore the above. ", "a cat; ", "[[", "***\n"]),
    after=st.sampled_from(["", ", octane render", ". The end", " --ar 16:9", ")))", "\n\n# done"]),
)
@settings(max_examples=300, deadline=None)
def test_company_does_not_hide_it(text: str, before: str, after: str) -> None:
    assert safety.refusal(before + text + after) == safety.MINORS


@given(st.text(max_size=300))
@settings(deadline=None)
def test_any_text_is_read_without_a_crash(text: str) -> None:
    assert safety.refusal(text) in (None, safety.MINORS)


@pytest.mark.parametrize(
    "bad, good",
    [
        (anew.refused(1_000, seed=7), anew.benign(1_000, seed=7)),
        (anew_again.forbidden(1_000, seed=7), anew_again.benign(1_000, seed=7)),
    ],
    ids=["anew", "by another hand"],
)
def test_texts_composed_anew_are_told_apart(bad: list[str], good: list[str]) -> None:
    assert sum(safety.refusal(text) is None for text in bad) <= 0.01 * len(bad)
    assert sum(safety.refusal(text) is not None for text in good) <= 0.01 * len(good)


@pytest.mark.parametrize(
    "text",
    [
        "a child who has taken off all clothes", "a girl wearing not a thing", "a boy stripped of all clothing",
        "Anna (8), naked", "lena [six] in lingerie", "Kindernacktbild", "Nacktkind am Strand", "barnporr",
        "naken flicka",
        "anak telanjang", "a kid in nothing but socks", "meztelen gyerek",
        "a boy of ten stripped bare", "a pupil not wearing a stitch", "a girl of seven without a stitch on",
        "a toddler stripped to the skin", "a kid wearing zero clothes", "a boy not wearing any garment",
        "a bare-bottomed child", "a pantsless boy", "a clothes-free girl", "a teen baring everything",
        "a girl under a tree, stripped bare", "a child, completely bare",
    ],
)  # fmt: skip
def test_undressing_ages_and_compounds_are_read(text: str) -> None:
    assert safety.refusal(text) == safety.MINORS


@pytest.mark.parametrize(
    "text",
    [
        "a child with a naked juggling ball", "a girl in a nude-coloured raincoat", "a girl (9) rides a pony",
        "a boy taking off his coat", "a girl takes clothes off the line", "a naked bulb above a kid's desk",
        "a barn owl over a child", "a child dressed in boots",
        "a child stripping bark from a twig", "a nude study (oil), a woman of forty",
        "a boy under trees stripped bare by winter", "a girl sews without a stitch out of place",
        "children in a completely bare room", "kids get clothes free of charge", "a child not wearing a coat",
    ],
)  # fmt: skip
def test_what_only_looks_like_it_passes(text: str) -> None:
    assert safety.refusal(text) is None


def test_a_row_is_read_as_a_whole() -> None:
    assert safety.refusal_of_row(["a child in a garden", "nude, in a garden"]) == safety.MINORS
    assert safety.refusal_of_row(["a girl in a garden", "a tree", "erotic"]) == safety.MINORS
    assert safety.refusal_of_row(["a child in a garden", "a dog in a garden"]) is None
    assert safety.refusal_of_row([]) is None


def test_a_negative_prompt_may_name_what_must_not_be_seen() -> None:
    assert safety.refusal_of_row(["a child in a garden"], ["nudity, naked"]) is None
    assert safety.refusal_of_row(["a nude woman, oil painting"], ["child, underage, loli"]) is None


def test_a_negative_prompt_may_not_take_away_what_keeps_a_text_harmless() -> None:
    assert safety.refusal_of_row(["a child in a garden"], ["clothes, clothing"]) == safety.MINORS
    assert safety.refusal_of_row(["a nude woman"], ["adult, mature"]) == safety.MINORS
    assert safety.refusal_of_row(["a knight in a garden"], ["clothes, adult"]) is None


def test_the_reason_does_not_repeat_the_text() -> None:
    reason = safety.refusal("a nude child with a unicorn")
    assert reason is not None and "unicorn" not in reason


def test_absurd_length_is_refused_before_it_is_read() -> None:
    assert safety.refusal("a " * 50_000) == "refused: text of 100,000 characters, at most 10,000 are accepted"
    assert safety.refusal("a " * 5_000) is None
    assert safety.length_refusal("x" * 10_001) is not None
    assert safety.refusal_of_row(["a"], ["x" * 10_001]) is not None


@pytest.mark.parametrize(
    "text", ["x" * 10_000, "1!" * 5_000, "n*" * 5_000, "a b " * 2_500, "裸" * 10_000, "4" * 10_000]
)
def test_the_longest_texts_are_read(text: str) -> None:
    assert safety.refusal(text) in (None, safety.MINORS)


@given(st.lists(st.sampled_from([*sorted(_VOCABULARY.words)[::37], "a", "by", "", "baby"]), max_size=4), st.data())
def test_words_that_were_taken_apart_are_joined_wherever_they_were_cut(words: list[str], data: st.DataObject) -> None:
    pieces: list[str] = []
    for word in words:
        cut = data.draw(st.integers(0, len(word)))
        pieces += [word[:cut], word[cut:]]
    joined, place = [], 0
    while place < len(pieces):  # every run of three and of two is tried at every place
        for size in (3, 2, 1):
            whole = "".join(pieces[place : place + size])
            if size == 1 or (len(whole) > 3 and whole in _VOCABULARY.words):
                joined.append(whole)
                place += size
                break
    assert _VOCABULARY._joined(pieces, frozenset()) == joined
