import dataclasses
import hashlib
import io
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from PIL import Image

from datagen import generators, records
from datagen.errors import MachineryError
from datagen.generators import kept
from datagen.generators.protocol import ContentError, Means, ModelChoice, NoPicture, Request
from datagen.images import encode
from datagen.images.kinds import suffix_of
from datagen.records import Principle, Prompt
from datagen.stages import Context, Shard, images


class Painter:
    """Paints one colour a seed; fails where a text says so."""

    name, revision = "painter", "r1"

    choice = ("", "", "")

    def __init__(self) -> None:
        self.asked: list[Request] = []

    def means(self, request: Request) -> Means:
        return Means("Fake", '{"a": 1}', "lora", "float32", request.width // 8, "brush 1")

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Image.Image | ContentError]]:
        self.asked += requests
        for place, request in reversed(list(enumerate(requests))):  # whatever the order, each by its place
            if "dark" in request.text and len(self.asked) <= len(requests):
                yield place, NoPicture("all black")
            elif "broken" in request.text:
                yield place, ContentError("NaN in the decoded image")
            else:
                colour = (request.seed % 256, request.seed // 256 % 256, 0)
                yield place, Image.new("RGB", (request.width, request.height), colour)


@pytest.fixture
def painter(monkeypatch: pytest.MonkeyPatch) -> Painter:
    it = Painter()
    monkeypatch.setattr(generators, "load", lambda choice: it)
    return it


@pytest.mark.parametrize(("pairing", "steered"), [("contrast", {"chosen"}), ("rank", {"candidate"})])
def test_what_is_to_keep_the_principle_is_steered_by_it(
    pairing: str,
    steered: set[str],
    painter: Painter,
    make_context: Callable[..., Context],
    make_prompt: Callable[..., Prompt],
    principle: Principle,
) -> None:
    shard = Shard({Principle: [principle], Prompt: [make_prompt()]})
    rows = images.run(make_context(pairing=pairing, candidates=2), shard).rows
    by_seed = {(request.seed, request.text): request.principle for request in painter.asked}
    said = {row.side: by_seed[row.seed, row.text] for row in rows}
    assert said == {side: principle.statement if side in steered else "" for side in said}


@pytest.mark.parametrize("pairing", ["contrast", "pool"])
@pytest.mark.parametrize("same_seed", [True, False])
def test_a_side_has_its_own_wording_and_negative_and_noise_as_the_recipe_says(
    pairing: str,
    same_seed: bool,
    painter: Painter,
    make_context: Callable[..., Context],
    make_prompt: Callable[..., Prompt],
) -> None:
    context = make_context(pairing, candidates=2, same_seed=same_seed, seed=5)
    rows = images.run(context, Shard({Prompt: [make_prompt(), make_prompt(prompt_id="p1")]})).rows
    assert [(row.prompt_id, row.side, row.index) for row in rows] == [
        (prompt, side, index) for prompt in ("p0", "p1") for side in ("chosen", "rejected") for index in (0, 1)
    ]
    draws = [0, 1, 0, 1] if same_seed else [0, 2, 1, 3]
    assert [row.seed for row in rows[:4]] == [records.seed_for(5, "p0", draw) for draw in draws]
    assert {(row.side, row.text, row.negative) for row in rows} == {
        ("chosen", "a chef, pixel art", "blur"),
        ("rejected", "a chef, plain style", "pixels"),
    }


def test_a_pool_has_as_many_images_of_either_wording_as_the_recipe_says(
    painter: Painter, make_context: Callable[..., Context], make_prompt: Callable[..., Prompt]
) -> None:
    rows = images.run(make_context("pool", candidates=1, violating=3), Shard({Prompt: [make_prompt()]})).rows
    assert [(row.side, row.index) for row in rows] == [("chosen", 0), *(("rejected", k) for k in range(3))]
    assert len({row.seed for row in rows}) == 3  # the first of either side shares its noise


def test_candidates_of_rank_come_from_the_context_prompt_alone(
    painter: Painter, make_context: Callable[..., Context], make_prompt: Callable[..., Prompt]
) -> None:
    rows = images.run(make_context("rank", candidates=3, same_seed=False), Shard({Prompt: [make_prompt()]})).rows
    assert [(row.side, row.index, row.text, row.negative) for row in rows] == [
        ("candidate", k, "a chef", "") for k in range(3)
    ]
    assert [row.seed for row in rows] == [records.seed_for(0, "p0", k) for k in range(3)]


def test_a_row_says_what_is_needed_to_make_it_again(
    painter: Painter, make_context: Callable[..., Context], make_prompt: Callable[..., Prompt]
) -> None:
    rows = images.run(make_context(), Shard({Prompt: [make_prompt()]})).rows
    for row in rows:
        assert (row.generator, row.generator_revision, row.scheduler) == ("painter", "r1", "Fake")
        assert (row.scheduler_config, row.adapter, row.dtype) == ('{"a": 1}', "lora", "float32")
        assert (row.batch_size, row.software) == (8, f"brush 1; {encode.software('webp')}")
        again = Request(row.text, row.negative, row.seed, row.steps, row.guidance, row.width, row.height)
        assert again in painter.asked
        assert row.image is not None
        assert row.image_id == hashlib.sha256(row.image).hexdigest()[:16]
        (repainted,) = generators.in_order(painter, [again])
        with Image.open(io.BytesIO(row.image)) as stored:
            assert isinstance(repainted, Image.Image)
            assert stored.tobytes() == repainted.tobytes()


@pytest.mark.parametrize(
    ("kind", "head", "suffix"),
    [("webp", b"RIFF", ".webp"), ("png", b"\x89PNG", ".png"), ("jpeg", b"\xff\xd8\xff", ".jpg")],
)
@pytest.mark.parametrize("metadata", [False, True])
def test_files_are_of_the_recipe_s_kind_and_say_what_they_show_if_it_wants(
    kind: str,
    head: bytes,
    suffix: str,
    metadata: bool,
    painter: Painter,
    make_context: Callable[..., Context],
    make_prompt: Callable[..., Prompt],
) -> None:
    context = make_context()
    how = context.recipe.images.model_copy(update={"format": kind, "metadata": metadata})
    context = dataclasses.replace(context, recipe=context.recipe.model_copy(update={"images": how}))
    first, _ = images.run(context, Shard({Prompt: [make_prompt()]})).rows
    assert first.image is not None and first.image.startswith(head)
    assert first.image_id == hashlib.sha256(first.image).hexdigest()[:16]
    assert suffix_of(first.image) == suffix
    assert first.software == f"brush 1; {encode.software(kind)}"
    told = kept.parameters(first)
    assert told == (
        "a chef, pixel art\nNegative prompt: blur\n"
        f"Steps: 2, Sampler: Fake, CFG scale: 4, Seed: {first.seed}, Size: 64x64, Model: painter, Model hash: r1, "
        "Adapter: lora"
    )
    words = told.encode("latin-1" if kind == "png" else "utf-16-be")
    assert (words in first.image) == metadata


def test_files_are_made_beside_the_drawing_and_few_pictures_wait_for_it(
    monkeypatch: pytest.MonkeyPatch, make_context: Callable[..., Context], make_prompt: Callable[..., Prompt]
) -> None:
    encoded, drawn, most = threading.Event(), list[int](), list[int]()
    make = kept.file_of

    def file_of(*given: Any, **how: Any) -> bytes:
        encoded.set()
        drawn.pop()
        return make(*given, **how)

    class Slow(Painter):
        def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Image.Image | ContentError]]:
            for place, picture in super().generate(requests):
                drawn.append(place)
                most.append(len(drawn))
                yield place, picture
                if place == images.WAITING:  # it draws on only if files are made meanwhile
                    assert encoded.wait(10)

    monkeypatch.setattr(kept, "file_of", file_of)
    monkeypatch.setattr(generators, "load", lambda choice: Slow())
    rows = images.run(make_context(candidates=60), Shard({Prompt: [make_prompt()]})).rows
    assert [(row.side, row.index) for row in rows] == [(s, k) for s in ("chosen", "rejected") for k in range(60)]
    assert max(most) <= images.WAITING + 1


def test_a_generator_that_returns_an_error_costs_its_own_row_only(
    painter: Painter, make_context: Callable[..., Context], make_prompt: Callable[..., Prompt]
) -> None:
    prompts = [make_prompt(), make_prompt(prompt_id="p1", chosen_prompt="broken"), make_prompt(prompt_id="p2")]
    rows = images.run(make_context(), Shard({Prompt: prompts})).rows
    failed = [row for row in rows if row.error is not None]
    assert [(row.prompt_id, row.side, row.error, row.image) for row in failed] == [
        ("p1", "chosen", "NaN in the decoded image", None)
    ]
    assert failed[0].text == "broken"
    assert len(rows) == 6 and len({row.image_id for row in failed}) == 1


def test_a_picture_that_shows_nothing_is_drawn_with_another_seed_which_stands_in_its_row(
    painter: Painter, make_context: Callable[..., Context], make_prompt: Callable[..., Prompt]
) -> None:
    prompts = [make_prompt(prompt_id="p1", chosen_prompt="dark"), make_prompt()]
    rows = images.run(make_context(), Shard({Prompt: prompts})).rows
    assert [row.error for row in rows] == [None] * 4
    seed = records.seed_for(0, "p1", 0)
    assert [row.seed for row in rows[:2]] == [records.next_seed(seed), seed]
    assert [images.RESEEDED in images.remarks(row) for row in rows] == [True, False, False, False]
    assert [request.seed for request in painter.asked[4:]] == [records.next_seed(seed)]


def test_a_refused_prompt_is_not_generated_and_its_text_is_not_kept(
    painter: Painter, make_context: Callable[..., Context], make_prompt: Callable[..., Prompt]
) -> None:
    prompts = [make_prompt(prompt_id="p1", rejected_prompt="a nude child"), make_prompt()]
    rows = images.run(make_context(), Shard({Prompt: prompts})).rows
    assert {request.text for request in painter.asked} == {"a chef, pixel art", "a chef, plain style"}
    assert len(painter.asked) == 2
    for row in rows[:2]:
        assert (row.text, row.negative, row.image) == ("", "", None)
        assert row.error == "refused: sexual content involving minors"
    assert len({row.image_id for row in rows[:2]}) == 2
    assert [row.error for row in rows[2:]] == [None, None]


def test_a_prompt_of_100_000_characters_is_an_error_of_its_rows(
    painter: Painter, make_context: Callable[..., Context], make_prompt: Callable[..., Prompt]
) -> None:
    rows = images.run(make_context(), Shard({Prompt: [make_prompt(prompt="x " * 50_000)]})).rows
    assert painter.asked == []
    assert all("100,000 characters" in (row.error or "") for row in rows)


def test_a_prompt_that_failed_keeps_its_rows_with_the_reason(
    painter: Painter, make_context: Callable[..., Context], make_prompt: Callable[..., Prompt]
) -> None:
    rows = images.run(make_context(), Shard({Prompt: [make_prompt(error="unreadable reply")]})).rows
    assert [row.error for row in rows] == ["the prompt failed: unreadable reply"] * 2
    assert painter.asked == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"unread": 3}, [images.CUT]),
        ({"negative_unread": 1}, [images.NEGATIVE_CUT]),
        ({"negative_unread": 1, "guidance": 1.0}, [images.NEGATIVE_IDLE]),
        ({"negative_unread": 1, "guidance": 0.0, "unread": 1}, [images.CUT, images.NEGATIVE_IDLE]),
        ({"notes": "one; two"}, ["one", "two"]),
        ({"error": "an all black image"}, ["an all black image"]),
    ],
)
def test_what_is_to_be_known_of_a_row(changes: dict[str, Any], said: list[str]) -> None:
    row = records.Image("i", "p", "chosen", 0, "t", "n", 0, "g", "r", "S", 20, 7.0, 8, 8, b"png")
    assert images.remarks(dataclasses.replace(row, **changes)) == said
    assert images.STAGE.remarks is images.remarks


def test_a_test_picture_is_drawn_by_each_model_as_its_images_are_to_be(
    monkeypatch: pytest.MonkeyPatch, make_context: Callable[..., Context]
) -> None:
    drawn: list[tuple[str, str, str, Request]] = []

    class Drawer(Painter):
        def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Image.Image | ContentError]]:
            drawn.append((*self.choice, *requests))
            if self.choice[0] == "b":
                yield 0, ContentError("all black")
            else:
                yield from super().generate(requests)

    def load(choice: ModelChoice) -> Painter:
        it = Drawer()
        it.choice = (choice.model, choice.revision, choice.vae)
        return it

    monkeypatch.setattr(generators, "load", load)
    context = make_context("rank", candidates=2)
    profile = context.profile.model_copy(
        update={"model": "a", "revision": "r", "vae": "v", "other_models": ("b",), "width": 96}
    )
    with pytest.raises(MachineryError, match="the model 'b' draws no picture: all black"):
        images.check(dataclasses.replace(context, profile=profile))
    assert [entry[:3] for entry in drawn] == [("a", "r", "v"), ("b", "", "")]
    asked = Request("a chair", "", 0, 2, 4.0, 96, 64, principle="cracks considered inappropriate")
    assert all(entry[3] == asked for entry in drawn)


def test_no_prompts_no_rows(painter: Painter, make_context: Callable[..., Context]) -> None:
    assert images.run(make_context(), Shard()).rows == []


def test_rows_of_a_prompt_do_not_depend_on_the_other_prompts_of_the_shard(
    painter: Painter, make_context: Callable[..., Context], make_prompt: Callable[..., Prompt]
) -> None:
    both = [make_prompt(prompt_id="p1", chosen_prompt="broken"), make_prompt()]
    together = images.run(make_context(), Shard({Prompt: both})).rows
    assert together[2:] == images.run(make_context(), Shard({Prompt: both[1:]})).rows


def test_candidates_come_from_several_generators_in_turn(
    monkeypatch: pytest.MonkeyPatch, make_context: Callable[..., Context], make_prompt: Callable[..., Prompt]
) -> None:
    loaded: list[tuple[str, str]] = []

    def load(choice: ModelChoice) -> Painter:
        loaded.append((choice.model, choice.revision))
        it = Painter()
        it.name = choice.model  # type: ignore[misc]
        return it

    monkeypatch.setattr(generators, "load", load)
    context = make_context("rank", candidates=4)
    profile = context.profile.model_copy(update={"model": "a", "revision": "r", "other_models": ("b", "c")})
    rows = images.run(dataclasses.replace(context, profile=profile), Shard({Prompt: [make_prompt()]})).rows
    assert loaded == [("a", "r"), ("b", ""), ("c", "")]
    assert [(row.index, row.generator) for row in rows] == [(0, "a"), (1, "b"), (2, "c"), (3, "a")]
    assert [row.seed for row in rows] == [records.seed_for(0, "p0", index) for index in range(4)]
