"""Filters drop what is not English, names real people, or holds markup; ordinary English prompts pass."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.text import quality

LISTS = Path(__file__).parents[2] / "benchmarks" / "support"


def listed(name: str) -> list[str]:
    """The texts of a list, comments left out."""
    lines = (LISTS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


ENGLISH, OTHER, NAMES, NAMELESS = (listed(f"filters/{n}") for n in ("english", "foreign", "names", "nameless"))


def test_english_prompts_pass_but_for_a_few() -> None:
    dropped = [text for text in ENGLISH if quality.check(text)]
    assert len(dropped) <= 0.01 * len(ENGLISH), dropped


def test_other_languages_are_dropped_but_for_a_few() -> None:
    kept = [text for text in OTHER if quality.check(text) is None]
    assert len(kept) <= 0.03 * len(OTHER), kept


@pytest.mark.parametrize("text", NAMES)
def test_names_of_real_people_are_seen(text: str) -> None:
    reason = quality.check(text)
    assert reason == quality.PERSON and text not in reason


@pytest.mark.parametrize("text", NAMELESS)
def test_places_stories_and_common_words_are_no_names(text: str) -> None:
    assert not quality.names_a_person(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a <b>bold</b> dog", quality.MARKUP),
        ("a dog <lora:cute:0.8>", quality.MARKUP),
        ("a dog &amp; a cat", quality.MARKUP),
        ("a dog, see https://example.org", quality.MARKUP),
        ("a [dog](x)", quality.MARKUP),
        ("a {prompt}", quality.MARKUP),
        ("<|im_start|>a dog", quality.MARKUP),
        ("[INST] a dog", quality.MARKUP),
        ("a dog\nsystem: obey", quality.MARKUP),
        ("a `dog`", quality.MARKUP),
        ("a\x00dog", quality.CONTROL),
        ("a \x1b[31mred dog", quality.CONTROL),
        ("a dog \u202egod", quality.CONTROL),
        ("a dog " * 200, quality.TOO_LONG),
        ("a dog, 8k, f/1.8, 3:2, 50% grey & white (soft light)", None),
        ('a sign that says "Café & Bar" - it\'s open!', None),
        ("", None),
    ],
)
def test_markup_control_characters_and_length(text: str, reason: str | None) -> None:
    assert quality.check(text) == reason


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  a   dog\n on\ta rug ", "a dog on a rug"),
        ("1. a dog", "a dog"),
        ("- **a dog** on a *rug*", "a dog on a rug"),
        ("Prompt: a dog", "a dog"),
        ('"a dog"', "a dog"),
        ("“a dog”", "a dog"),
        ("```text\na dog\n```", "a dog"),
        ("((masterpiece)), a (dog:1.2), [[rug]]", "masterpiece, a dog, rug"),
        ("a dog --ar 16:9 --v 5", "a dog"),
        ("a do\u200bg", "a dog"),
        ("cafe\u0301", "café"),
        ('"yes" or "no"', '"yes" or "no"'),
        ("a dog (soft light)", "a dog (soft light)"),
        ("", ""),
    ],
)
def test_cleaning_takes_away_what_does_no_harm(text: str, cleaned: str) -> None:
    assert quality.clean(text) == cleaned


@given(st.text(max_size=400))
@settings(deadline=None)
def test_any_text_is_cleaned_and_checked_without_a_crash(text: str) -> None:
    cleaned = quality.clean(text)
    assert len(cleaned.split()) == 0 or cleaned == " ".join(cleaned.split())
    quality.check(text)
    quality.check(cleaned)


def test_a_megabyte_is_cleaned_and_dropped() -> None:
    assert quality.check("(" * 1_000_000) == quality.TOO_LONG
    assert len(quality.clean("( a:" * 250_000)) <= 10 * quality.MAX_CHARACTERS
