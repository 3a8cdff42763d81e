"""Progress as plain lines, and the words for rate and time left."""

from __future__ import annotations

import pytest

from datagen import progress


def test_without_a_terminal_the_first_and_the_last_step_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.Display() as display:
        display.say("resuming [3]")
        for done in range(3, 9):
            display.show("images", done, 8)
    first, start, end = capsys.readouterr().err.splitlines()
    assert (first, start) == ("resuming [3]", "images: 3/8")
    assert end.startswith("images: 8/8 ")


@pytest.mark.parametrize(
    ("made", "left", "seconds", "words"),
    [
        (0, 5, 3.0, ""),
        (10, 50, 5.0, "2.0/s, 0:25 left"),
        (2, 100, 60.0, "30.0 s each, 50:00 left"),
        (2, 1000, 60.0, "30.0 s each, 8:20:00 left"),
        (3, 0, 90.0, "30.0 s each, 1:30"),
    ],
)
def test_pace_in_words(made: int, left: int, seconds: float, words: str) -> None:
    assert progress.pace(made, left, seconds) == words
