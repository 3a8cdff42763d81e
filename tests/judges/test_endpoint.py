"""Judges that ask a server, over HTTP: what they make of probabilities, of texts, and of servers that misbehave."""

from __future__ import annotations

import io
import math
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from vlm_stub import Answers, Stub, serving, text_of

from datagen import judges
from datagen.commands.judge import judge_path
from datagen.errors import ModelError
from datagen.judges import asking, panel
from datagen.judges.panel import Duel, Question
from datagen.labels import reliability
from datagen.llm import LEDGER, LlmOptions
from datagen.llm.accounts.money import totals
from datagen.recipe import JudgeChoice

Serve = Callable[..., AbstractContextManager[Stub]]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Serve]:
    """Serve a model that answers by a function, as the environment's server."""
    monkeypatch.setenv("DATAGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DATAGEN_LLM_MODEL", "stub")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    @contextmanager
    def start(answers: Answers, **how: Any) -> Iterator[Stub]:
        with serving(Stub(answers, **how)) as stub:
            monkeypatch.setenv("DATAGEN_LLM_BASE_URL", stub.url)
            yield stub

    yield start
    judges._load_once.cache_clear()


def red(share: float, side: int = 8, seed: int = 0) -> bytes:
    """A picture of so much red, a little different for each seed."""
    picture = Image.new("RGB", (side, side), (round(255 * share), seed % 256, seed // 256))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def ask(name: str, tmp_path: Path, *questions: Question, **options: Any) -> list[panel.Answer]:
    judge = judges.load(name, {"format": "png", **options})
    with panel.connected([judge], LlmOptions(tmp_path)):
        return panel.ask([judge], list(questions))


def by_red(text: str, reds: list[float]) -> list[dict[str, float]]:
    p = reds[0]
    return [
        {"Yes": 0.6 * p, " yes": 0.3 * p, "YES.": 0.1 * p, "No": 0.7 * (1 - p), "▁no": 0.3 * (1 - p), "Maybe": 0.0}
    ]


def test_yes_is_the_sum_of_its_variants_and_images_come_before_the_question(serve: Serve, tmp_path: Path) -> None:
    with serve(by_red) as stub:
        questions = [Question(red(share), ("a chef",), questions=("Is it red?",)) for share in (0.2, 0.8)]
        answers = ask("endpoint_yesno", tmp_path, *questions)
    assert [answer.scores["endpoint_yesno"][0, 0] for answer in answers] == pytest.approx([0.2, 0.8])
    assert [answer.replies["endpoint_yesno"][0] for answer in answers] == pytest.approx([0.2, 0.8])
    body = stub.asked[0]
    assert [part["type"] for part in body["messages"][0]["content"]] == ["image_url", "text"]
    assert (body["temperature"], body["max_tokens"], body["logprobs"], body["top_logprobs"]) == (0, 1, True, 20)
    assert 'Does this image show "a chef"? Answer with Yes or No.' in {
        body["messages"][0]["content"][1]["text"] for body in stub.asked
    }
    assert totals(tmp_path / LEDGER)["judge"].calls == 4


def test_a_rating_is_the_expected_one(serve: Serve, tmp_path: Path) -> None:
    def rates(text: str, reds: list[float]) -> list[dict[str, float]]:
        return [{"3": 0.5, "4": 0.25, "9": 0.1, "The": 0.05}, {"1": 1.0}]

    with serve(rates):
        (answer,) = ask("endpoint_rating", tmp_path, Question(red(0.5), ("a chef",)))
    assert answer.scores["endpoint_rating"][0, 0] == pytest.approx((3 * 0.5 + 4 * 0.25) / 0.75)


def test_a_side_that_is_not_listed_is_bounded_by_what_is_and_that_is_said(serve: Serve, tmp_path: Path) -> None:
    def sure(text: str, reds: list[float]) -> list[dict[str, float]]:
        return [{"Yes": 0.99, "Indeed": 0.008, "Of": 0.001}]

    with serve(sure):
        judge = judges.load("endpoint_yesno", {})
        with panel.connected([judge], LlmOptions(tmp_path)):
            (answer,) = panel.ask([judge], [Question(red(0.5), ("a chef",))])
        assert answer.scores["endpoint_yesno"][0, 0] == pytest.approx(0.99 / 0.991)
        assert panel.notes(judge) == asking.BOUNDED


@pytest.mark.parametrize("how", [{"logprobs": False}, {"refuses": "logprobs is not supported by this model"}])
def test_a_server_without_log_probabilities_is_read_by_its_words_and_that_is_said(
    how: dict[str, Any], serve: Serve, tmp_path: Path
) -> None:
    def says(text: str, reds: list[float]) -> list[dict[str, float]]:
        return text_of("Yes, it does." if reds[0] > 0.5 else "no" if reds[0] > 0.2 else "I cannot tell.")

    with serve(says, **how):
        judge = judges.load("endpoint_yesno", {})
        with panel.connected([judge], LlmOptions(tmp_path)):
            answers = panel.ask([judge], [Question(red(share), ("a chef",)) for share in (0.9, 0.4, 0.1)])
        assert panel.notes(judge) == asking.UNSHADED
    assert [answer.scores["endpoint_yesno"][0, 0] for answer in answers[:2]] == [1.0, 0.0]
    assert np.isnan(answers[2].scores["endpoint_yesno"][0, 0])
    assert (answers[2].error_of("endpoint_yesno") or "").startswith("unreadable: none of yes, no: 'I cannot tell.'")


def test_a_server_that_gives_fewer_log_probabilities_is_asked_for_fewer(serve: Serve, tmp_path: Path) -> None:
    with serve(by_red) as stub:
        reply = stub.reply

        def capped(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
            if body.get("top_logprobs", 0) > 5:
                return 400, {"error": {"message": "top_logprobs must be less than or equal to 5", "type": "x"}}
            return reply(body)

        stub.reply = capped  # type: ignore[method-assign]
        (answer,) = ask("endpoint_yesno", tmp_path, Question(red(0.8), ("a chef",)))
    assert answer.scores["endpoint_yesno"][0, 0] == pytest.approx(0.8, abs=0.01)


def test_two_images_are_compared_in_both_orders(serve: Serve, tmp_path: Path) -> None:
    def likes_first(text: str, reds: list[float]) -> list[dict[str, float]]:
        p = 0.9 if reds[0] > reds[1] else 0.4
        return [{"A": p, "B": 1 - p}]

    with serve(likes_first):
        judge = judges.load("endpoint_pairwise", {})
        with panel.connected([judge], LlmOptions(tmp_path)):
            ((one, other),) = (
                duel["endpoint_pairwise"] for duel in panel.compare([judge], [Duel(red(0.9), red(0.1), "red")])
            )
    assert (one.p, other.p) == (pytest.approx(0.9), pytest.approx(0.4))


def test_the_accuracy_and_the_liking_for_a_place_of_a_model_are_recovered_and_both_orders_take_it_out(
    serve: Serve, tmp_path: Path
) -> None:
    random_, count = random.Random(1), 500
    shares = [(random_.random(), random_.random()) for _ in range(count)]

    def noisy(text: str, reds: list[float]) -> list[dict[str, float]]:
        own = random.Random(f"{text} {reds}")
        if own.random() < 0.3:
            return [{"A": 1.0}]
        return [{"A" if (reds[0] > reds[1]) == (own.random() < 0.7) else "B": 1.0}]

    with serve(noisy):
        judge = judges.load("endpoint_pairwise", {"format": "png", "side": 32})
        duels = [Duel(red(a, seed=2 * k), red(b, seed=2 * k + 1), f"{k}") for k, (a, b) in enumerate(shares)]
        with panel.connected([judge], LlmOptions(tmp_path)):
            said = [duel["endpoint_pairwise"] for duel in panel.compare([judge], duels)]
    ahead, behind = np.array([one.p for one, _ in said]), np.array([other.p for _, other in said])
    truth = np.array([float(a > b) for a, b in shares])
    found = reliability.of_orders(ahead, behind, truth, np.arange(count))
    assert found.unbiased == pytest.approx(0.7, abs=0.06)
    assert found.first is not None and 2 * found.first.value - 1 == pytest.approx(0.3, abs=0.06)


def test_a_checklist_is_made_once_a_text_and_its_answers_are_averaged(serve: Serve, tmp_path: Path) -> None:
    def model(text: str, reds: list[float]) -> list[dict[str, float]]:
        if not reds:
            return text_of('{"questions": ["Is it red?", "Is it green?"]}')
        p = reds[0] if "red" in text else 0.0
        return [{"Yes": p, "No": 1 - p}]

    with serve(model) as stub:
        questions = [Question(red(share), ("a red chef",)) for share in (0.2, 0.6)]
        answers = ask("endpoint_checklist", tmp_path, *questions)
    assert [answer.scores["endpoint_checklist"][0, 0] for answer in answers] == pytest.approx([0.1, 0.3], abs=0.01)
    lists = [body for body in stub.asked if "take the text apart" in str(body["messages"]).lower()]
    assert len(lists) == 1


def test_presets_read_what_their_models_write(serve: Serve, tmp_path: Path) -> None:
    def scores(text: str, reds: list[float]) -> list[dict[str, float]]:
        return text_of("Alignment Score (1-5): 4.5\nCoherence Score (1-5): 3\nStyle Score (1-5): 1.50001")

    with serve(scores):
        (answer,) = ask("unified_reward", tmp_path, Question(red(0.5), ("a chef",)))
    assert answer.scores["unified_reward"][0].tolist() == pytest.approx([3.00000333, 4.5, 3, 1.50001])

    def out_of_range(text: str, reds: list[float]) -> list[dict[str, float]]:
        return text_of("Alignment Score (1-5): 45\nCoherence Score (1-5): 3\nStyle Score (1-5): 2")

    with serve(out_of_range):
        (answer,) = ask("unified_reward", tmp_path, Question(red(0.6), ("a chef",)))
    assert (answer.error_of("unified_reward") or "").startswith("unreadable: not three scores")

    def guard(text: str, reds: list[float]) -> list[dict[str, float]]:
        return [
            {'{"': 0.98, "Safe": 0.001}, {"rating": 1.0}, {'":': 1.0}, {' "': 1.0},
            {"Uns": reds[0], "Safe": 1 - reds[0]}, {"afe": 1.0}, {'"}': 1.0},
        ]  # fmt: skip

    with serve(guard):
        (answer,) = ask("llavaguard", tmp_path, Question(red(0.8), ("a chef", "another")))
    assert answer.scores["llavaguard"].tolist() == [[pytest.approx(0.8, abs=0.01)]]


def test_what_was_answered_is_never_asked_again_and_another_detail_is_another_question(
    serve: Serve, tmp_path: Path
) -> None:
    with serve(by_red) as stub:
        for options in ({}, {}, {"detail": "low"}):
            judges._load_once.cache_clear()
            ask("endpoint_yesno", tmp_path, Question(red(0.5), ("a chef",)), **options)
    assert len(stub.asked) == 2
    assert stub.asked[1]["messages"][0]["content"][0]["image_url"]["detail"] == "low"


def test_large_images_are_made_smaller_and_small_ones_stay(serve: Serve, tmp_path: Path) -> None:
    assert Image.open(io.BytesIO(asking._encoded(Image.new("RGB", (300, 100)), 150, "png")), formats=["PNG"]).size == (
        150, 50,
    )  # fmt: skip
    kept = asking._encoded(Image.new("RGB", (300, 100)), 300, "jpeg")
    assert Image.open(io.BytesIO(kept), formats=["JPEG"]).size == (300, 100)


@pytest.mark.parametrize(
    ("text", "says"),
    [(None, "cannot be read"), ("no variables", "lacks $question"), ("$question $other", "uses $other")],
)
def test_a_template_of_ones_own_is_checked_before_anything_is_asked(
    text: str | None, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.md"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ModelError, match="^[^\n]*$") as caught:
        judges.load("endpoint_yesno", {"template": str(path)})
    assert says in str(caught.value)


def test_probabilities_that_underflow_and_answers_that_are_odd_are_no_errors() -> None:
    server = asking.Server(asking.ServerOptions())
    from datagen.llm.messages import Reply

    def choice(*places: dict[str, float], text: str = "") -> float | judges.Failed:
        return server.choice(Reply(text, text, "m", logprobs=places), {"yes": 1.0, "no": 0.0})

    assert choice({"Yes": -9999.0, "No": -9999.0}) == 0.5
    assert choice({"\n": -0.01, "Yes": -5.0}, {"No": math.log(0.9), "Yes": math.log(0.1)}) == pytest.approx(0.1)
    assert isinstance(choice({"Hm": 0.0}, text="Hm"), judges.Failed)
    assert choice(text="**Yes**") == 1.0
    assert isinstance(server.choice(Reply(None, "", "m", error="refused: no"), {"yes": 1.0}), judges.Failed)


def test_images_that_exist_are_judged_by_a_server_and_what_failed_is_its_judges_error(
    serve: Serve, tmp_path: Path
) -> None:
    (tmp_path / "d").mkdir()
    for number, share in enumerate((0.1, 0.8)):
        (tmp_path / "d" / f"{number}.png").write_bytes(red(share))
        (tmp_path / "d" / f"{number}.txt").write_text("a chef")
    choices = [JudgeChoice(name="endpoint_yesno"), JudgeChoice(name="clip")]

    def picky(text: str, reds: list[float]) -> list[dict[str, float]]:
        return [{"Yes": reds[0], "No": 1 - reds[0]}] if reds[0] > 0.5 else [{"Hm": 1.0}]

    said: list[str] = []
    with serve(picky):
        summary = judge_path(tmp_path / "d", choices, tmp_path / "s.parquet", say=said.append)
    rows = pq.read_table(tmp_path / "s.parquet").to_pylist()
    assert [(row["judge"], row["value"] is None, row["error"] is None) for row in rows] == [
        ("endpoint_yesno", True, False), ("clip", False, True), ("endpoint_yesno", False, True), ("clip", False, True),
    ]  # fmt: skip
    assert (summary.images, summary.scored, summary.errors) == (2, 3, 0)
    assert summary.reasons == {"the judge endpoint_yesno: unreadable": 1}
    assert totals(tmp_path / "s.parquet.account" / LEDGER)["judge"].calls == 2
    with pytest.raises(ModelError, match="endpoint_pairwise compares two images and scores none by itself"):
        judge_path(tmp_path / "d", [JudgeChoice(name="endpoint_pairwise")], tmp_path / "t.parquet")
