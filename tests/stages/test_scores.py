import dataclasses
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from datagen import judges
from datagen.errors import ModelError
from datagen.judges import panel as judge_panel
from datagen.judges.panel import inputs
from datagen.labels import axes
from datagen.recipe import JudgeChoice
from datagen.records import Embedding, Image, Principle, Prompt
from datagen.stages import Context, Shard, embeddings, scores

AXES = axes.TEXTS


class Ruler:
    """Scores a picture by its red and a text by its length; abstains on texts that it does not know."""

    version, scale, facts = "7", 1.0, judges.Facts(code_license="MIT")

    def __init__(self, name: str, unknown: str = "-") -> None:
        self.name = name
        self.unknown = unknown
        self.calls: list[int] = []

    def score(self, images: Sequence[Pillow.Image], prompts: Sequence[str]) -> Any:
        self.calls.append(len({id(image) for image in images}))
        reds = [image.getpixel((0, 0))[0] for image in images]
        return np.array(
            [math.nan if self.unknown in t else red + len(t) / 100 for red, t in zip(reds, prompts, strict=True)]
        )


@pytest.fixture
def panel(monkeypatch: pytest.MonkeyPatch) -> dict[str, Ruler]:
    panel = {"world": Ruler("world", unknown="plain"), "clip": Ruler("clip")}
    monkeypatch.setattr(judges, "load", lambda name, options: panel[name])
    return panel


def image(red: int = 0, prompt_id: str = "p0", **changes: Any) -> Image:
    buffer = io.BytesIO()
    Pillow.new("RGB", (8, 8), (red, 0, 0)).save(buffer, "PNG")
    values: dict[str, Any] = {
        "image_id": f"i{red}", "prompt_id": prompt_id, "side": "chosen", "index": 0, "text": "t", "negative": "",
        "seed": 0, "generator": "g", "generator_revision": "", "scheduler": "s", "steps": 1, "guidance": 1.0,
        "width": 8, "height": 8, "image": buffer.getvalue(), "error": None,
    }  # fmt: skip
    return Image(**(values | changes))


def test_each_judge_sees_each_image_against_the_three_texts_of_its_own_prompt(
    panel: dict[str, Ruler], make_context: Callable[..., Context], make_prompt: Callable[..., Prompt]
) -> None:
    prompts = [
        make_prompt(prompt="1", chosen_prompt="22", rejected_prompt="333"),
        make_prompt(prompt_id="p1", prompt="4444", chosen_prompt="55555", rejected_prompt="plain!", cluster="d"),
    ]
    rows = scores.run(make_context(), Shard({Prompt: prompts, Image: [image(10), image(20, "p1")]})).rows
    others = {row.image_id: row.value for row in rows if row.axis == "others"}
    assert others == pytest.approx({"i10": 10.04, "i20": 20.01})  # the other's context prompt
    assert all(row.value is None for row in rows if row.axis in ("keeps", "breaks", "statement"))  # no principle
    rows = [row for row in rows if row.axis in ("match", "aligned", "violating")]
    assert [(row.image_id, row.prompt_id, row.judge, row.axis) for row in rows] == [
        (i, p, judge, axis)
        for i, p in (("i10", "p0"), ("i20", "p1"))
        for judge in ("world", "clip")
        for axis in AXES[:3]
    ]
    values = [row.value for row in rows]
    assert values == pytest.approx(
        [10.01, 10.02, 10.03, 10.01, 10.02, 10.03, 20.04, 20.05, None, 20.04, 20.05, 20.06], nan_ok=True
    )
    assert {row.error for row in rows} == {None}
    assert {row.judge_version for row in rows} == {"7"}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"image": None, "error": "refused: x"}, "no image: refused: x"),
        ({"image": b""}, "the image is empty (0 bytes)"),
        ({"image": b"\x89PNG\r\n\x1a\ncut"}, "the image cannot be decoded"),
        ({"image": image().image[:45]}, "the image cannot be decoded"),  # type: ignore[index]
    ],
)
def test_an_image_that_cannot_be_read_keeps_its_rows_and_harms_nobody_else(
    changes: dict[str, Any],
    error: str,
    panel: dict[str, Ruler],
    make_context: Callable[..., Context],
    make_prompt: Callable[..., Prompt],
) -> None:
    shard = Shard({Prompt: [make_prompt()], Image: [image(1), image(2, **changes), image(3)]})
    rows = scores.run(make_context(), shard).rows
    alone = scores.run(make_context(), Shard({Prompt: shard.rows(Prompt), Image: [image(1), image(3)]})).rows
    bad = [row for row in rows if row.image_id == "i2"]
    assert len(bad) == 2 * len(AXES)
    assert all((row.error or "").startswith(error) and row.value is None for row in bad)
    assert [row for row in rows if row.image_id != "i2"] == alone


def test_images_are_decoded_once_and_each_judge_is_asked_once_a_chunk(
    panel: dict[str, Ruler],
    make_context: Callable[..., Context],
    make_prompt: Callable[..., Prompt],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoded: list[bytes | Path] = []
    decode = inputs.decode
    monkeypatch.setattr(inputs, "decode", lambda source, _: (decoded.append(source), decode(source))[1])
    shard = Shard({Prompt: [make_prompt()], Image: [image(k) for k in range(judge_panel.CHUNK + 5)]})
    rows = scores.run(make_context(), shard).rows
    assert len(rows) == 2 * len(AXES) * (judge_panel.CHUNK + 5)
    assert len(decoded) == judge_panel.CHUNK + 5
    assert panel["world"].calls == panel["clip"].calls == [judge_panel.CHUNK, 5]


def test_a_shard_of_nothing_but_failed_images_and_an_empty_one(
    make_context: Callable[..., Context], make_prompt: Callable[..., Prompt]
) -> None:
    failed = [image(k, image=None, error="x") for k in range(2)]
    rows = scores.run(make_context(), Shard({Prompt: [make_prompt()], Image: failed})).rows
    assert {(row.value, row.error) for row in rows} == {(None, "no image: x")}
    assert scores.run(make_context(), Shard()).rows == []


def test_an_unknown_judge_is_told_before_anything_is_read(make_context: Callable[..., Context]) -> None:
    from datagen.errors import ModelError

    context = make_context()
    profile: Any = SimpleNamespace(judges=(JudgeChoice(name="clop"),), tiers=())
    with pytest.raises(ModelError, match="did you mean 'clip'"):
        scores.run(Context(context.recipe, profile), Shard({Image: [image()]}))


def test_judges_look_at_a_test_picture_before_anything_is_paid_for(
    panel: dict[str, Ruler], make_context: Callable[..., Context]
) -> None:
    scores.check(make_context())
    assert [judge.calls for judge in panel.values()] == [[1], [1]]
    panel["clip"].score = lambda images, prompts: np.array([math.inf])
    with pytest.raises(ModelError, match="the judge clip gave"):
        scores.check(make_context())


def test_every_image_of_a_prompt_is_judged_by_the_principle_itself_whatever_its_writer_wrote(
    panel: dict[str, Ruler],
    make_context: Callable[..., Context],
    make_prompt: Callable[..., Prompt],
    principle: Principle,
) -> None:
    shard = Shard({Principle: [principle], Prompt: [make_prompt(chosen_prompt="x")], Image: [image(10)]})
    found = {row.axis: row.value for row in scores.run(make_context(), shard).rows if row.judge == "clip"}
    assert found["keeps"] == pytest.approx(10 + len("a chef, pixel art") / 100)
    assert found["breaks"] == pytest.approx(10 + len("a chef") / 100)
    assert found["statement"] == pytest.approx(10 + len("pixel art preferred") / 100)
    assert found["aligned"] == pytest.approx(10.01)


class Seer:
    """Answers and compares; says whom it was shown in which place."""

    name, version, scale, facts = "clip", "1", 1.0, judges.Facts(code_license="MIT")

    def __init__(self) -> None:
        self.asked: list[str] = []

    def answer(self, images: Sequence[Pillow.Image], questions: Sequence[str]) -> Any:
        self.asked += questions
        return np.full(len(images), 0.9)

    def compare(self, first: Sequence[Pillow.Image], second: Sequence[Pillow.Image], prompts: Sequence[str]) -> Any:
        return np.array([image.getpixel((0, 0))[0] / 100 for image in first])  # type: ignore[index]


def test_questions_and_comparisons_are_rows_of_their_own_both_orders_of_two_sides_that_share_an_index(
    panel: dict[str, Any],
    make_context: Callable[..., Context],
    make_prompt: Callable[..., Prompt],
    principle: Principle,
) -> None:
    panel["clip"] = seer = Seer()
    images = [image(10), image(20, side="rejected"), image(30, index=1)]
    shard = Shard({Principle: [principle], Prompt: [make_prompt()], Image: images})
    rows = [row for row in scores.run(make_context(), shard).rows if row.judge == "clip"]
    assert [(row.image_id, row.axis, row.value) for row in rows if not row.opponent] == [
        (f"i{red}", "question", 0.9) for red in (10, 20, 30)
    ]
    assert set(seer.asked) == {'Does this image keep to the principle "pixel art preferred"?'}
    assert [(row.image_id, row.opponent, row.axis, row.value) for row in rows if row.opponent] == [
        ("i10", "i20", "beats", 0.1),
        ("i20", "i10", "beats", 0.2),
    ]
    control = Shard({Principle: [principle], Prompt: [make_prompt(role="control")], Image: images[:1]})
    (row,) = [row for row in scores.run(make_context(), control).rows if row.judge == "clip"]
    assert row.value is None  # a preference that is not to be applied here


def test_each_candidate_of_a_prompt_meets_the_next_and_the_last_the_first(
    panel: dict[str, Any], make_context: Callable[..., Context], make_prompt: Callable[..., Prompt]
) -> None:
    panel["clip"] = Seer()
    images = [image(red, side="candidate", index=red) for red in (10, 20, 30)]
    rows = scores.run(make_context("rank", candidates=3), Shard({Prompt: [make_prompt()], Image: images})).rows
    met = [(row.image_id, row.opponent) for row in rows if row.opponent]
    assert met == [(a, b) for x, y in (("i10", "i20"), ("i20", "i30"), ("i30", "i10")) for a, b in ((x, y), (y, x))]


def test_what_a_backbone_makes_of_an_image_is_kept_and_the_scores_are_the_same_without_the_image(
    make_context: Callable[..., Context], make_prompt: Callable[..., Prompt]
) -> None:
    context = make_context()
    clip = context.profile.model_copy(update={"judges": (JudgeChoice(name="clip"),)})
    context = Context(context.recipe, clip)
    images = [image(10), image(20, image=b"cut")]
    tables: dict[type, list[Any]] = {Prompt: [make_prompt()], Image: images}
    kept = embeddings.run(context, Shard(tables)).rows
    assert [(row.image_id, len(row.vector) > 0, row.error is None) for row in kept] == [
        ("i10", True, True), ("i20", False, False),
    ]  # fmt: skip
    assert kept[0].backbone.startswith("embedded@")
    seen = scores.run(context, Shard(tables)).rows
    unseen = [dataclasses.replace(images[0], image=b"no picture at all"), images[1]]
    again = scores.run(context, Shard({**tables, Image: unseen, Embedding: kept})).rows
    own = [(row.axis, row.value) for row in seen if row.image_id == "i10"]
    assert [(row.axis, row.value) for row in again if row.image_id == "i10"] == own
    none = context.profile.model_copy(update={"judges": (JudgeChoice(name="world"),)})
    assert embeddings.run(Context(context.recipe, none), Shard(tables)).rows == []


class Sure:
    """Says the same log-odds for the wording of each image's side, by its red; counts the images it was shown."""

    version, scale, facts = "1", 1.0, judges.Facts(code_license="MIT")

    def __init__(self, name: str, odds: dict[int, float]) -> None:
        self.name, self.odds, self.seen = name, odds, list[int]()

    def score(self, images: Sequence[Pillow.Image], prompts: Sequence[str]) -> Any:
        reds = [image.getpixel((0, 0))[0] for image in images]
        self.seen += dict.fromkeys(reds)
        return np.array([self.odds[red] * text.endswith("pixel art") for red, text in zip(reds, prompts, strict=True)])


def test_a_dearer_tier_sees_only_what_cheaper_ones_left_open_and_what_it_was_spared_is_counted(
    panel: dict[str, Any],
    make_context: Callable[..., Context],
    make_prompt: Callable[..., Prompt],
    principle: Principle,
) -> None:
    panel["clip"] = cheap = Sure("clip", {10: 5.0, 11: 0.0, 20: 1.0, 21: 0.0, 30: 0.0, 31: 5.0})
    panel["world"] = dear = Sure("world", dict.fromkeys((10, 11, 20, 21, 30, 31), 0.0))
    context = make_context()
    profile = context.profile.model_copy(update={"tiers": (("clip",), ("world",))})
    prompts = [make_prompt(prompt_id=f"p{k}", prompt=f"a chef {k}", cluster=f"c{k}") for k in (1, 2, 3)]
    images = [image(10 * k + side, f"p{k}", side=("chosen", "rejected")[side]) for k in (1, 2, 3) for side in (0, 1)]
    shard = Shard({Principle: [principle], Prompt: prompts, Image: images})
    rows = scores.run(Context(context.recipe, profile), shard).rows
    assert len(cheap.seen) == 6
    assert dear.seen == [20, 21]  # of log-odds 5 and -5 nobody need be asked again
    spared = [row for row in rows if row.axis == "settled"]
    assert [(row.image_id, row.judge, row.value) for row in spared] == [
        (f"i{red}", "world", None) for red in (10, 11, 30, 31)
    ]
    assert {remark for row in rows for remark in scores.remarks(row)} == {"world was not asked: settled before"}
    at_once = scores.run(context, shard).rows
    assert {(row.image_id, row.judge, row.axis): row.value for row in rows if row.axis != "settled"}.items() <= {
        (row.image_id, row.judge, row.axis): row.value for row in at_once
    }.items()


@pytest.mark.parametrize(
    ("pairing", "sides", "asked"),
    [
        ("contrast", ("chosen", "rejected"), {20, 21}),  # of each index a pair, and only the second is open
        ("rank", ("candidate", "candidate"), {10, 11, 20, 21}),  # which two are the pair may yet change
    ],
)
def test_of_several_pairs_of_a_prompt_a_dearer_tier_sees_those_that_are_open(
    panel: dict[str, Any],
    make_context: Callable[..., Context],
    make_prompt: Callable[..., Prompt],
    principle: Principle,
    pairing: str,
    sides: tuple[str, str],
    asked: set[int],
) -> None:
    odds = {10: 9.0, 11: 0.0, 20: 1.0, 21: 0.5} if pairing != "rank" else {10: 0.5, 11: 0.2, 20: 0.1, 21: 0.0}
    panel["clip"], panel["world"] = Sure("clip", odds), Sure("world", dict.fromkeys(odds, 0.0))
    context = make_context()
    profile = context.profile.model_copy(update={"tiers": (("clip",), ("world",))})
    recipe = context.recipe.model_copy(update={"pairing": pairing})
    images = [
        dataclasses.replace(image(10 * k + side, "p1", side=sides[side]), index=k + 2 * side * (pairing == "rank"))
        for k in (1, 2)
        for side in (0, 1)
    ]
    shard = Shard({Principle: [principle], Prompt: [make_prompt(prompt_id="p1")], Image: images})
    rows = scores.run(Context(recipe, profile), shard).rows
    assert set(panel["world"].seen) == asked
    spared = {row.image_id for row in rows if row.axis == "settled"}
    assert spared == {f"i{red}" for red in odds} - {f"i{red}" for red in asked}
