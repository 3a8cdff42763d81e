"""Asking by batches: one batch is paid whatever kills us and wherever, and what failed in it is asked again."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from batch_stub import INPUT_TOKENS, KEY, OUTPUT_TOKENS, BatchStub
from pydantic import BaseModel

from datagen.errors import BudgetSpent, EndpointError, RunError, ServerError
from datagen.llm.accounts import money
from datagen.llm.accounts.cache import Cache, key
from datagen.llm.accounts.money import Budget, Ledger, Price, Prices
from datagen.llm.batch import ask as batch
from datagen.llm.batch import journal as batch_journal
from datagen.llm.batch import server as batch_server
from datagen.llm.batch.journal import Journal
from datagen.llm.batch.server import BatchServer
from datagen.llm.endpoint import Endpoint
from datagen.llm.messages import Message, Reply, Request

PRICE = Price(input=1, output=10, batch=0.5)
A_CALL = PRICE.cost(INPUT_TOKENS, OUTPUT_TOKENS) / 2
PRICES_FILE = '[models."stub-model"]\ninput = 1\noutput = 10\nbatch = 0.5\n'


class Scene(BaseModel):
    text: str


def requests(count: int, stage: str = "prompts") -> list[Request]:
    return [Request((Message("user", f"scene {n}"),), Scene, stage, max_tokens=100) for n in range(count)]


@pytest.fixture(scope="module")
def process() -> Iterator[BatchStub]:
    with BatchStub() as server:
        yield server


@pytest.fixture
def stub(process: BatchStub) -> BatchStub:
    process.reset()
    return process


class Room:
    """A run directory, and the one way to ask from it."""

    def __init__(self, folder: Path, stub: BatchStub) -> None:
        self.folder, self.batches = folder, folder / "batches"
        self.endpoint = Endpoint(stub.base_url, "stub-model", KEY)
        self.said: list[str] = []

    def ask(
        self, asked: list[Request], max_cost: float | None = None, endpoint: Endpoint | None = None
    ) -> list[Reply]:
        cache, ledger = Cache(self.folder / "replies.sqlite"), Ledger(self.folder / "ledger.sqlite")
        budget = None if max_cost is None else Budget(ledger, Prices.load(), "stub-model", max_cost)
        try:
            return batch.ask(endpoint or self.endpoint, cache, ledger, budget, asked, self.batches, self.said.append)
        finally:
            cache.close()
            ledger.close()

    def spent(self) -> dict[str, Any]:
        ledger = Ledger(self.folder / "ledger.sqlite")
        try:
            return {"total": ledger.committed(), **money.totals(ledger.path)}
        finally:
            ledger.close()


@pytest.fixture
def room(tmp_path: Path, stub: BatchStub, monkeypatch: pytest.MonkeyPatch) -> Room:
    (tmp_path / "prices.toml").write_text(PRICES_FILE)
    monkeypatch.setenv("DATAGEN_PRICES", str(tmp_path / "prices.toml"))
    monkeypatch.setattr(batch_server, "FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(batch_server, "LONGEST_WAIT_S", 0.02)
    return Room(tmp_path, stub)


def texts(replies: list[Reply]) -> list[str]:
    return [reply.value.text if isinstance(reply.value, Scene) else str(reply.error) for reply in replies]


EXPECTED = [f"re: scene {n}" for n in range(5)]


def test_a_batch_is_handed_in_waited_for_and_paid_at_half_price(room: Room, stub: BatchStub) -> None:
    stub.change(polls=3)
    replies = room.ask(requests(5))
    assert texts(replies) == EXPECTED
    assert not any(reply.cached for reply in replies)
    assert sum(reply.usage.cost for reply in replies) == pytest.approx(5 * A_CALL)
    assert room.spent()["total"] == pytest.approx(5 * A_CALL)
    assert room.spent()["prompts"].calls == 5
    assert stub.stats()["batches"] == 1 and list(room.batches.iterdir()) == []
    assert any("in_progress, 0 of 5 done" in line for line in room.said)


def test_what_is_in_the_cache_is_not_asked_again(room: Room, stub: BatchStub) -> None:
    room.ask(requests(3))
    replies = room.ask(requests(5))
    assert texts(replies) == EXPECTED
    assert [reply.cached for reply in replies] == [True] * 3 + [False] * 2
    assert all(count == 1 for count in stub.stats()["paid"].values())
    assert all(reply.cached for reply in room.ask(requests(5)))
    assert stub.stats()["batches"] == 2
    assert room.spent()["prompts"].cached == 3 + 5


def test_requests_that_are_alike_are_asked_once(room: Room, stub: BatchStub) -> None:
    replies = room.ask(requests(1) * 3)
    assert texts(replies) == ["re: scene 0"] * 3
    assert [reply.cached for reply in replies] == [False, True, True]
    assert list(stub.stats()["paid"].values()) == [1]


def test_nothing_asked_is_nothing_sent(room: Room, stub: BatchStub) -> None:
    assert room.ask([]) == [] and stub.stats()["hits"] == {}


def test_stages_are_billed_apart(room: Room) -> None:
    room.ask([*requests(2, "principles"), *[r for r in requests(5) if "scene 4" in r.messages[0].text]])
    spent = room.spent()
    assert (spent["principles"].calls, spent["prompts"].calls) == (2, 1)


def test_batches_keep_to_the_limits_of_a_batch(room: Room, stub: BatchStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_journal, "MOST_REQUESTS", 2)
    assert texts(room.ask(requests(5))) == EXPECTED
    assert stub.stats()["batches"] == 3
    sizes = [len(text) for _, text in (batch_journal.line(f"{n:064x}", {"n": 1}) for n in range(9))]
    monkeypatch.setattr(batch_journal, "MOST_REQUESTS", 100)
    monkeypatch.setattr(batch_journal, "MOST_BYTES", 3 * sizes[0] + 1)
    parts = list(batch_journal.parts(batch_journal.line(f"{n:064x}", {"n": 1}) for n in range(8)))
    assert [len(part) for part in parts] == [3, 3, 2]


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dying_after(work: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        work(*args, **kwargs)
        kill()

    return wrapped


def die(point: str, patch: pytest.MonkeyPatch) -> None:
    """Have this process killed at a point between upload and merging."""
    save = Journal.save

    def saving(self: Journal, note: batch_journal.Note) -> batch_journal.Note:
        state = "batch id" if note.batch_id else "intent" if note.submitting else "file id" if note.file_id else "note"
        if point == f"before {state}":
            kill()
        save(self, note)
        if point == f"after {state}":
            kill()
        return note

    patch.setattr(Journal, "save", saving)
    download = BatchServer.download

    def half(*args: Any) -> Iterator[dict[str, Any]]:
        yield next(download(*args))
        kill()

    def unlinking(path: Path, missing_ok: bool = False) -> None:
        os.unlink(path)
        if path.parent.name == "batches":
            kill()

    match point:
        case "reserved":
            patch.setattr(Ledger, "reserve", dying_after(Ledger.reserve))
        case "polled":
            patch.setattr(BatchServer, "wait", dying_after(BatchServer.wait))
        case "half downloaded":
            patch.setattr(BatchServer, "download", half)
        case "cached":
            patch.setattr(Cache, "put_many", dying_after(Cache.put_many))
        case "settled":
            patch.setattr(Ledger, "settle", dying_after(Ledger.settle))
        case "half removed":
            patch.setattr(Path, "unlink", unlinking)


POINTS = [
    *(f"{when} {what}" for what in ("note", "file id", "intent", "batch id") for when in ("before", "after")),
    *("reserved", "polled", "half downloaded", "cached", "settled", "half removed"),
]


def run_and_die(room: Room, point: str) -> None:
    child = os.fork()
    if child == 0:
        try:
            with pytest.MonkeyPatch.context() as patch:
                die(point, patch)
                room.ask(requests(5), max_cost=1.0)
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL, point


@pytest.mark.parametrize("point", POINTS)
def test_kill_9_anywhere_pays_one_batch(room: Room, stub: BatchStub, point: str) -> None:
    run_and_die(room, point)
    replies = room.ask(requests(5), max_cost=1.0)
    assert texts(replies) == EXPECTED
    stats = stub.stats()
    assert stats["batches"] == 1
    assert list(stats["paid"].values()) == [1] * 5
    assert room.spent()["total"] == pytest.approx(5 * A_CALL)
    assert (room.spent()["prompts"].calls, room.spent()["prompts"].unsure) == (5, 0)
    assert list(room.batches.iterdir()) == []


def test_kill_9_at_one_point_after_the_other_pays_one_batch(room: Room, stub: BatchStub) -> None:
    order = ("after note", "before file id", "after file id", "after intent", "before batch id", "after batch id")
    for point in (*order, "polled", "half downloaded", "cached", "settled"):
        run_and_die(room, point)
    assert texts(room.ask(requests(5), max_cost=1.0)) == EXPECTED
    assert stub.stats()["batches"] == 1 and list(stub.stats()["paid"].values()) == [1] * 5
    assert room.spent()["total"] == pytest.approx(5 * A_CALL)


def test_a_batch_on_its_way_is_finished_even_if_it_is_not_wanted_any_more(room: Room, stub: BatchStub) -> None:
    run_and_die(room, "after batch id")
    assert room.ask([]) == []
    assert room.spent()["prompts"].calls == 5
    assert all(reply.cached for reply in room.ask(requests(5)))


def test_a_submission_whose_answer_was_lost_is_found(room: Room, stub: BatchStub) -> None:
    room.ask(requests(2, "principles"))
    stub.change(lose_create=1)
    assert texts(room.ask(requests(5)))[2:] == EXPECTED[2:]
    assert stub.stats()["batches"] == 2
    assert any("looking whether the batch arrived" in line for line in room.said)


def test_a_list_that_lags_behind_is_looked_at_again(room: Room, stub: BatchStub) -> None:
    stub.change(lose_create=1, hidden_lists=1)
    assert texts(room.ask(requests(5))) == EXPECTED
    assert stub.stats()["batches"] == 1


def test_a_server_that_fails_for_a_while_is_waited_for(room: Room, stub: BatchStub) -> None:
    stub.change(fail=4)
    assert texts(room.ask(requests(5))) == EXPECTED
    assert stub.stats()["batches"] == 1


def test_lines_that_failed_are_asked_again(room: Room, stub: BatchStub) -> None:
    stub.change(lines_failing=2)
    assert texts(room.ask(requests(5))) == EXPECTED
    assert stub.stats()["batches"] == 2
    assert list(stub.stats()["paid"].values()) == [1] * 5


def test_lines_that_expired_are_asked_again(room: Room, stub: BatchStub) -> None:
    stub.change(expire_after=3)
    assert texts(room.ask(requests(5))) == EXPECTED
    assert stub.stats()["batches"] == 2
    assert room.spent()["total"] == pytest.approx(5 * A_CALL)


def test_a_batch_that_failed_as_a_whole_is_handed_in_again(room: Room, stub: BatchStub) -> None:
    stub.change(status="failed")
    assert texts(room.ask(requests(5), max_cost=1.0)) == EXPECTED
    assert stub.stats()["batches"] == 2 and room.spent()["total"] == pytest.approx(5 * A_CALL)


def test_a_line_that_always_fails_is_an_error_of_its_own_and_everything_else_is_kept(
    room: Room, stub: BatchStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = BatchServer.submit

    def submitting(self: BatchServer, note: batch_journal.Note, journal: Journal) -> batch_journal.Note:
        stub.change(lines_failing=1)  # the first of what is left
        return submit(self, note, journal)

    with monkeypatch.context() as patch:
        patch.setattr(BatchServer, "submit", submitting)
        replies = room.ask(requests(5))
    assert replies[0].error == "unreadable: it came back unanswered from 3 batches (No.)"
    assert texts(replies)[1:] == EXPECTED[1:] and len(stub.stats()["paid"]) == 4
    assert texts(room.ask(requests(5))) == EXPECTED


def test_a_server_that_answers_no_line_ends_it(room: Room, stub: BatchStub) -> None:
    stub.change(lines_failing=10**6)
    with pytest.raises(ServerError, match="5 requests came back unanswered from 3 batches .No.*: what came is kept"):
        room.ask(requests(5))
    assert stub.stats()["batches"] == 3
    stub.change(lines_failing=0)
    assert texts(room.ask(requests(5))) == EXPECTED


def test_a_line_that_is_rejected_is_an_error_of_content(room: Room, stub: BatchStub) -> None:
    stub.change(lines_rejected=1)
    replies = room.ask(requests(5))
    assert texts(replies)[1:] == EXPECTED[1:]
    assert replies[0].value is None and str(replies[0].error).startswith("refused: the server rejects it")
    assert stub.stats()["batches"] == 1


def test_unreadable_replies_get_one_correction_round(room: Room, stub: BatchStub) -> None:
    stub.change(content="Well, let me think about that.")
    replies = room.ask(requests(2))
    assert all(reply.error is None for reply in replies)
    assert stub.stats()["batches"] == 2
    assert sum(reply.usage.cost for reply in replies) == pytest.approx(4 * A_CALL)
    assert all(reply.cached for reply in room.ask(requests(2)))


def test_replies_that_were_cut_off_get_one_correction_round(room: Room, stub: BatchStub) -> None:
    stub.change(content='{"text": "once upon a', finish="length")
    replies = room.ask(requests(2))
    assert texts(replies) == ["re: That reply cannot be used (cut off: the "] * 2
    assert stub.stats()["batches"] == 2
    assert sum(reply.usage.cost for reply in replies) == pytest.approx(4 * A_CALL)
    assert (room.spent()["prompts"].calls, room.spent()["total"]) == (4, pytest.approx(4 * A_CALL))
    assert all(reply.cached for reply in room.ask(requests(2)))


def test_a_second_reply_that_is_cut_off_too_is_an_error_and_not_corrected_again(room: Room, stub: BatchStub) -> None:
    stub.change(content='{"text": "once upon a', finish="length", corrects=False)
    replies = room.ask(requests(2))
    assert texts(replies) == ["cut off: the reply did not end within 100 tokens (llm.max_tokens)"] * 2
    assert stub.stats()["batches"] == 2 and room.spent()["prompts"].calls == 4


def test_a_budget_is_kept_and_spent_in_several_batches(room: Room, stub: BatchStub) -> None:
    most = PRICE.most(requests(1)[0], batch=True)
    assert A_CALL < most
    replies = room.ask(requests(5), max_cost=2.1 * most + 3 * A_CALL)
    assert texts(replies) == EXPECTED
    assert stub.stats()["batches"] > 1
    with pytest.raises(BudgetSpent, match="--max-cost .* leaves no room"):
        room.ask(requests(50), max_cost=8 * A_CALL)
    assert room.spent()["total"] <= 8 * A_CALL
    assert list(room.batches.iterdir()) == []


def test_a_server_without_batches_is_one_line(room: Room, stub: BatchStub) -> None:
    stub.change(no_batches=True)
    with pytest.raises(EndpointError, match="no Batch API.*run without --batch"):
        room.ask(requests(1), max_cost=1.0)
    assert list(room.batches.iterdir()) == [] and room.spent()["total"] == 0
    with pytest.raises(EndpointError, match="local model has no Batch API"):
        room.ask(requests(1), endpoint=Endpoint("local:/m.gguf", "m"))


def test_a_wrong_key_is_one_line_without_the_key(room: Room, stub: BatchStub) -> None:
    with pytest.raises(EndpointError, match="refuses the key .HTTP 401.; check OPENAI_API_KEY") as caught:
        room.ask(requests(1), endpoint=Endpoint(stub.base_url, "stub-model", "sk-secret"))
    assert "sk-secret" not in str(caught.value) and "sk-secret" not in "".join(room.said)
    assert all(b"sk-secret" not in path.read_bytes() for path in room.batches.iterdir())
    assert texts(room.ask(requests(5))) == EXPECTED


def test_a_server_that_is_down_is_one_line(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_server, "START_S", 0.05)
    with pytest.raises(ServerError, match="did not answer"):
        room.ask(requests(1), endpoint=Endpoint("http://127.0.0.1:9/v1", "stub-model", KEY))


def test_a_batch_at_another_server_is_not_forgotten(room: Room, stub: BatchStub) -> None:
    run_and_die(room, "after batch id")
    with pytest.raises(EndpointError, match="batch of stub-model at .*name that server and model again, or delete"):
        room.ask(requests(5), endpoint=Endpoint(stub.base_url, "other-model", KEY))
    assert texts(room.ask(requests(5))) == EXPECTED


def test_a_note_that_cannot_be_read_is_one_line(room: Room) -> None:
    room.batches.mkdir()
    (room.batches / "x.json").write_text("{")
    with pytest.raises(RunError, match="x.json cannot be read .*delete it to give its batch up"):
        room.ask(requests(1))


@pytest.mark.parametrize("fault", ["string_errors", "odd_lines"])
def test_a_line_s_error_of_any_shape_is_data(room: Room, stub: BatchStub, fault: str) -> None:
    stub.change(**{fault: 2})
    assert texts(room.ask(requests(5))) == EXPECTED
    assert stub.stats()["batches"] == 2 and all(count == 1 for count in stub.stats()["paid"].values())


def test_a_download_that_breaks_off_is_made_again(room: Room, stub: BatchStub) -> None:
    stub.change(cut=2)
    assert texts(room.ask(requests(5))) == EXPECTED
    assert stub.stats()["batches"] == 1 and room.spent()["total"] == pytest.approx(5 * A_CALL)


def test_what_came_of_a_download_that_never_ends_is_kept(
    room: Room, stub: BatchStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.change(cut=10**6)
    with monkeypatch.context() as patch, pytest.raises(ServerError, match="broke off"):
        patch.setattr(batch_server, "PATIENCE_S", 0.0)
        room.ask(requests(5))
    cache = Cache(room.folder / "replies.sqlite")
    assert sum(cache.get(key(request, "stub-model")) is not None for request in requests(5)) == 2
    cache.close()
    assert room.spent()["prompts"].unsure == 5  # the batch is still noted, and its money put aside
    stub.change(cut=0)
    assert texts(room.ask(requests(5))) == EXPECTED
    assert stub.stats()["batches"] == 1 and room.spent()["total"] == pytest.approx(5 * A_CALL)


def test_a_batch_that_finds_no_room_is_halved_and_queued(room: Room, stub: BatchStub) -> None:
    stub.change(room=2)
    assert texts(room.ask(requests(5))) == EXPECTED
    assert any("no room for 5 requests" in line for line in room.said)
    assert stub.stats()["batches"] == 1 + 3 and all(count == 1 for count in stub.stats()["paid"].values())
    assert room.spent()["total"] == pytest.approx(5 * A_CALL)


def test_a_server_that_has_room_for_no_request_is_waited_for(
    room: Room, stub: BatchStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_server, "PATIENCE_S", 0.1)
    stub.change(room=-1)
    with pytest.raises(ServerError, match="takes no batch .Enqueued token limit"):
        room.ask(requests(1))
    stub.change(room=0)
    assert texts(room.ask(requests(1))) == EXPECTED[:1]


def test_an_answer_without_choices_is_paid_and_asked_once_more(room: Room, stub: BatchStub) -> None:
    stub.change(no_choices=2)
    assert texts(room.ask(requests(5))) == EXPECTED
    assert room.spent()["prompts"].calls == 7 and room.spent()["total"] == pytest.approx(7 * A_CALL)
    stub.change(no_choices=10**6)
    (reply,) = room.ask(requests(6)[5:])
    assert reply.error == "unreadable: an answer without choices, which is no chat completion"
    assert room.spent()["prompts"].calls == 9


def test_an_answer_that_does_not_say_what_it_used_is_booked_at_its_most(room: Room, stub: BatchStub) -> None:
    stub.change(no_usage=1)
    room.ask(requests(5))
    spent = room.spent()["prompts"]
    assert (spent.calls, spent.unsure) == (4, 1) and spent.at_most > A_CALL


def test_a_batch_holds_as_many_requests_as_the_user_says(room: Room, stub: BatchStub) -> None:
    endpoint = dataclasses.replace(room.endpoint, batch_requests=2, parameters={"top_p": 0.5})
    assert texts(room.ask(requests(5), endpoint=endpoint)) == EXPECTED
    assert stub.stats()["batches"] == 3
    assert not any(reply.cached for reply in room.ask(requests(5)))  # with other parameters it is another question


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_a_batch_server_on_this_machine_is_asked_without_a_proxy(
    room: Room, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert texts(room.ask(requests(2))) == EXPECTED[:2]
