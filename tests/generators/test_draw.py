"""What shows nothing is drawn with other seeds, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from PIL import Image

from datagen import generators
from datagen.errors import MachineryError
from datagen.generators.protocol import ContentError, Means, NoPicture, Request
from datagen.records import next_seed


def request(seed: int, text: str = "a chef") -> Request:
    return Request(text, "", seed, 1, 1.0, 8, 8)


class Lamp:
    """Draws nothing by the seeds that are dark, and refuses a text."""

    name, revision = "lamp", "1"

    def __init__(self, dark: set[int]) -> None:
        self.dark = dark
        self.calls: list[list[int]] = []

    def means(self, request: Request) -> Means:
        return Means()

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Any]]:
        self.calls.append([request.seed for request in requests])
        for place in reversed(range(len(requests))):
            if requests[place].text == "refused":
                yield place, ContentError("refused: so it is")
            elif requests[place].seed in self.dark:
                yield place, NoPicture("all black")
            else:
                yield place, Image.new("RGB", (8, 8), (requests[place].seed % 256, 0, 0))


def test_other_seeds_are_tried_together_and_follow_from_the_first() -> None:
    second, third = next_seed(2), next_seed(next_seed(2))
    assert len({2, second, third}) == 3 and all(0 <= seed < 2**31 for seed in (second, third))
    lamp = Lamp({2, 3, second})
    asked = [request(1), request(2), request(3), request(4, "refused")]
    made = {place: (drawn, result) for place, drawn, result in generators.draw(lamp, asked)}
    assert lamp.calls == [[1, 2, 3, 4], [second, next_seed(3)], [third]]
    assert [made[place][0].seed for place in range(4)] == [1, third, next_seed(3), 4]
    assert [isinstance(made[place][1], ContentError) for place in range(4)] == [False, False, False, True]


def test_three_seeds_that_show_nothing_are_an_error_of_the_first() -> None:
    lamp = Lamp({5, next_seed(5), next_seed(next_seed(5))})
    ((place, drawn, result),) = generators.draw(lamp, [request(5)])
    assert (place, drawn) == (0, request(5)) and len(lamp.calls) == generators.SEEDS
    assert str(result) == "all black; nor did 2 other seeds give a picture"
    assert not isinstance(result, NoPicture)


def test_nothing_asked_is_nothing_drawn() -> None:
    assert list(generators.draw(Lamp(set()), [])) == []


@pytest.mark.parametrize(("dark", "fails"), [(set(), False), ({0}, False), (None, True)])
def test_one_unlucky_seed_does_not_condemn_a_model(
    dark: set[int] | None, fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datagen.recipe import Profile

    lamp = Lamp({0, next_seed(0), next_seed(next_seed(0))} if dark is None else dark)
    monkeypatch.setattr(generators, "load", lambda choice: lamp)
    profile = Profile(
        model="lamp:", taxonomy="t", grammar="g", steps=1, guidance=1, width=8, height=8, judges=("clip",)
    )
    if fails:
        with pytest.raises(MachineryError, match="'lamp:' draws no picture: all black; nor did 2 other seeds"):
            generators.rehearse(profile)
    else:
        generators.rehearse(profile)
