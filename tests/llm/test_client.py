"""The client with the real cache and ledger against a loopback server that misbehaves in every way."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from benchmarks.support.stub_server import KEY, MODEL, Stub, calls, saying
from datagen.errors import BudgetSpent, EndpointError, MachineryError, ServerError
from datagen.llm import limits, sender
from datagen.llm.accounts import cache as caching
from datagen.llm.accounts.cache import Cache
from datagen.llm.accounts.money import Budget, Ledger, totals
from datagen.llm.accounts.prices import Prices
from datagen.llm.client import Client
from datagen.llm.endpoint import Endpoint
from datagen.llm.messages import Message, Reply, Request


class Written(BaseModel):
    prompt: str
    words: int


class Desk:
    """A folder with cache, ledger and log, and the servers and clients that use them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "log"
        self.cache, self.ledger = Cache(folder / "replies.sqlite"), Ledger(folder / "ledger.sqlite")
        self.said: list[str] = []

    def server(self, **faults: Any) -> Stub:
        return Stub(self.log, **faults)

    def client(self, server: Stub | str, budget: Budget | None = None, **settings: Any) -> Client:
        url = server if isinstance(server, str) else server.base_url
        settings = {"model": MODEL, "api_key": KEY, "timeout": 10.0, **settings}
        return Client(Endpoint(url, **settings), self.cache, self.ledger, budget, self.said.append)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.cache.close()
    desk.ledger.close()


def rows(count: int, reply: type[BaseModel] | None = None, **parts: Any) -> list[Request]:
    return [Request((Message("user", f"row {number}"),), reply, "prompts", **parts) for number in range(count)]


def right(replies: list[Reply]) -> bool:
    """Whether every row has its own reply."""
    return [reply.value for reply in replies] == [saying(f"row {number}") for number in range(len(replies))]


def test_replies_are_in_order_typed_cached_and_booked(desk: Desk) -> None:
    with desk.server() as server, desk.client(server) as client:
        heard: list[tuple[int, int]] = []
        replies = client.ask(rows(50, Written), progress=lambda *counts: heard.append(counts))
        again = client.ask(rows(50, Written))
    assert [reply.value for reply in replies] == [Written(prompt=saying(f"row {n}"), words=1) for n in range(50)]
    assert heard[-1] == (50, 50) and len(heard) == 50
    assert all(reply.request_id and reply.usage.output_tokens and not reply.cached for reply in replies)
    assert all(reply.cached and reply.usage.output_tokens == 0 for reply in again)
    assert [reply.value for reply in again] == [reply.value for reply in replies]
    spent = totals(desk.ledger.path)["prompts"]
    assert (spent.calls, spent.cached) == (50, 50)
    assert len(calls(desk.log)) == 51  # and one to learn how the server takes schemas


def test_nothing_to_ask_asks_nothing(desk: Desk) -> None:
    with desk.client("http://127.0.0.1:9/v1") as client:
        assert client.ask([]) == []


def test_the_same_request_twice_in_one_go_is_bought_once(desk: Desk) -> None:
    with desk.server(delay=0.05) as server, desk.client(server) as client:
        replies = client.ask([*rows(3), *rows(3)])
    assert len(calls(desk.log)) == 3
    assert [reply.value for reply in replies[:3]] == [reply.value for reply in replies[3:]]


def test_a_reply_is_on_disk_before_it_is_handed_out(desk: Desk) -> None:
    with desk.server() as server, desk.client(server) as client:
        for _, reply in client.stream(rows(40)):
            twin = Cache(desk.folder / "replies.sqlite")  # another process's view
            with_key = caching.key(Request((Message("user", "row 0"),)), MODEL)
            assert reply.value != saying("row 0") or twin.get(with_key) is not None
            twin.close()


def test_transient_failures_are_tried_again_and_lose_nothing(desk: Desk) -> None:
    faults = {"busy": 0.2, "error": 0.05, "drop": 0.05}
    with desk.server(**faults) as server, desk.client(server) as client:
        assert right(client.ask(rows(200)))
        assert server.stats()["busy"] and server.stats()["drop"]
    once = calls(desk.log, ("ok",))
    assert len(once) == len(set(once)) == 200


def test_hanging_calls_are_cut_and_tried_again(desk: Desk) -> None:
    with desk.server(hang=0.2) as server, desk.client(server, timeout=0.5) as client:
        assert right(client.ask(rows(40)))


def test_waiting_for_a_place_is_no_time_out(desk: Desk) -> None:
    # Forty calls of 0.1 s one after the other take longer than the time-out of one (DataDesigner #551).
    with desk.server(delay=0.1) as server, desk.client(server, concurrency=1, timeout=3.5) as client:
        assert right(client.ask(rows(40)))
    assert len(calls(desk.log)) == 40


def test_waiting_for_a_rate_is_no_time_out(desk: Desk) -> None:
    with desk.server() as server, desk.client(server, requests_per_minute=600, timeout=0.9) as client:
        started = time.monotonic()
        assert right(client.ask(rows(30)))
        assert time.monotonic() - started >= 1.9  # ten at once, the other twenty at ten a second


def test_broken_content_gets_one_correction_round_then_an_error(desk: Desk) -> None:
    with desk.server() as server, desk.client(server) as client:
        client.ask(rows(1, Written, sample=1))  # the server is known as one that heeds schemas
        server.change(broken=1.0)
        (reply,) = client.ask(rows(1, Written))
        server.change(broken=0.0)
        (again,) = client.ask(rows(1, Written))
    assert reply.error is not None and reply.error.startswith("unreadable: ")
    assert totals(desk.ledger.path)["prompts"].calls == 3
    assert again.cached and again.error == reply.error  # it was paid for: another try is another sample


def test_a_refusal_is_an_error_without_a_correction_round(desk: Desk) -> None:
    with desk.server(refusal=1.0) as server, desk.client(server) as client:
        (reply,) = client.ask(rows(1))
    assert reply.error is not None and reply.error.startswith("refused: ")
    assert len(calls(desk.log)) == 1


def test_a_server_that_ignores_schemas_is_found_out_and_said_so(desk: Desk) -> None:
    with desk.server(ignores_format=True) as server, desk.client(server) as client:
        (reply,) = client.ask(rows(1, Written))
    assert reply.error is not None
    assert len(desk.said) == 1 and "schema" in desk.said[0]


def test_a_request_that_the_server_rejects_is_a_row_with_an_error(desk: Desk) -> None:
    with desk.server() as server, desk.client(server) as client:
        client.ask(rows(1))
        server.change(rejected=1.0)
        replies = client.ask(rows(20, sample=1))
        server.change(rejected=0.0)
        assert right(client.ask(rows(20, sample=1)))
    assert all("context length" in (reply.error or "") for reply in replies)


def test_a_request_that_always_fails_does_not_hold_up_the_others(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "FIRST_WAIT_S", 0.01)
    with desk.server(error=0.9) as server, desk.client(server) as client:
        replies = client.ask(rows(30))
    failed = [reply for reply in replies if reply.error]
    assert failed and all("HTTP 500" in (reply.error or "") for reply in failed)


@pytest.mark.parametrize(
    ("faults", "settings", "said"),
    [
        ({"secret": True}, {"api_key": "sk-wrong-key"}, "OPENAI_API_KEY"),
        ({"secret": True}, {"model": "gpt-unknown"}, "DATAGEN_LLM_MODEL"),
        ({"html": 1.0}, {}, "web page"),
        ({"rejected": 1.0}, {}, "context length"),
    ],
)
def test_what_no_retry_cures_ends_at_once(
    desk: Desk, faults: dict[str, Any], settings: dict[str, Any], said: str
) -> None:
    with desk.server(**faults) as server, desk.client(server, **settings) as client:
        with pytest.raises(EndpointError) as caught:
            client.ask(rows(100))
        assert server.stats()["busy"] == 0 and server.stats()["most_open"] <= 16
    message = str(caught.value)
    assert said in message and "\n" not in message and "sk-wrong-key" not in message


def test_a_wrong_path_is_named(desk: Desk) -> None:
    with desk.server() as server, desk.client(f"{server.address}/v2") as client:
        with pytest.raises(EndpointError, match="DATAGEN_LLM_BASE_URL"):
            client.ask(rows(3))


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/v1", "http://no-such-host.invalid/v1"])
def test_a_server_that_is_not_there_ends_at_once(desk: Desk, url: str) -> None:
    with desk.client(url) as client, pytest.raises(EndpointError, match="no server answers"):
        client.ask(rows(10))


def test_only_429_ends_with_one_message_and_keeps_everything(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PATIENCE_S", 0.5)
    with desk.server() as server, desk.client(server) as client:
        client.ask(rows(20))
        server.change(busy=1.0)
        with pytest.raises(ServerError, match="HTTP 429"):
            client.ask(rows(200))
        server.change(busy=0.0)
        assert right(client.ask(rows(200)))  # the same client goes on
    assert ServerError.exit_code == 1
    once = calls(desk.log)
    assert len(once) == len(set(once)) == 200


def test_a_server_that_dies_in_between_is_machinery(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PATIENCE_S", 0.5)
    with desk.server() as server, desk.client(server) as client:
        client.ask(rows(5))
        server.process.kill()
        with pytest.raises(ServerError, match="kept"):
            client.ask(rows(50))


def test_no_credit_ends_at_once_although_it_is_a_429(desk: Desk) -> None:
    # The account's end comes as a 429 that no waiting cures.
    with desk.server(busy=1.0, busy_code="insufficient_quota") as server, desk.client(server) as client:
        with pytest.raises(EndpointError, match="no credit"):
            client.ask(rows(10))


def test_large_replies_do_no_harm(desk: Desk) -> None:
    with desk.server(size=1_000_000) as server, desk.client(server) as client:
        replies = client.ask(rows(8, Written))
    assert all(isinstance(reply.value, Written) and len(reply.value.prompt) > 1_000_000 for reply in replies)


def test_a_stream_that_is_left_early_stops_the_calls_and_keeps_what_came(desk: Desk) -> None:
    with desk.server(delay=0.02) as server, desk.client(server, concurrency=4) as client:
        stream = client.stream(rows(500))
        for _ in range(10):
            next(stream)
        stream.close()
        asked = server.stats()["ok"]
        time.sleep(0.3)
        assert server.stats()["ok"] <= asked + 4
        assert right(client.ask(rows(20)))
    paid = calls(desk.log)
    assert len(paid) - len(set(paid)) <= 4


PROGRAM = """
import sys
from pathlib import Path
from datagen.llm.accounts.cache import Cache
from datagen.llm.client import Client
from datagen.llm.endpoint import Endpoint
from datagen.llm.messages import Message, Request
from datagen.llm.accounts.money import Ledger
folder = Path(sys.argv[2])
requests = [Request((Message("user", f"row {number}"),), stage="prompts") for number in range(400)]
with Client(Endpoint(sys.argv[1], "stub-model", "stub-key", concurrency=8), Cache(folder / "replies.sqlite"),
            Ledger(folder / "ledger.sqlite")) as client:
    for _, reply in client.stream(requests):
        print(reply.value, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_ended_goes_on_without_buying_twice(desk: Desk, sign: signal.Signals) -> None:
    with desk.server(delay=0.01) as server:
        command = [sys.executable, "-c", PROGRAM, server.base_url, str(desk.folder)]
        shown = 0
        for _ in range(2):
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            assert child.stdout is not None
            shown += 60
            for _ in range(shown):
                child.stdout.readline()
            os.kill(child.pid, sign)
            child.communicate(timeout=20)
        with desk.client(server) as client:
            replies = client.ask(rows(400))
    assert right(replies) and sum(reply.cached for reply in replies) >= shown
    paid = calls(desk.log)
    assert len(set(paid)) == 400 and len(paid) - 400 <= 2 * 8


def test_a_budget_is_never_exceeded_and_its_end_keeps_everything(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (desk.folder / "prices.toml").write_text(f'[models."{MODEL}"]\ninput = 1.0\noutput = 1000.0\n')
    monkeypatch.setenv("DATAGEN_PRICES", str(desk.folder / "prices.toml"))
    budget = Budget(desk.ledger, Prices.load(), MODEL, 0.2)
    with desk.server(delay=0.02, busy=0.1) as server, desk.client(server, budget, concurrency=200) as client:
        with pytest.raises(BudgetSpent) as caught:
            client.ask(rows(400, max_tokens=16))
    assert isinstance(caught.value, MachineryError) and "max-cost" in str(caught.value)
    assert desk.ledger.committed() <= 0.2
    # Booked at the stub's own count, so all of it was sent, kept and is free the next time.
    paid = len(calls(desk.log))
    assert paid == totals(desk.ledger.path)["prompts"].calls > 5
    with desk.server() as server, desk.client(server) as client:
        assert sum(reply.cached for reply in client.ask(rows(400, max_tokens=16))) == paid


def test_a_disk_that_cannot_be_written_ends_the_run_in_one_line(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(rows: object) -> None:
        raise MachineryError("disk full")

    monkeypatch.setattr(desk.cache, "put_many", full)
    with desk.server() as server, desk.client(server) as client:
        with pytest.raises(MachineryError, match="disk full"):
            client.ask(rows(300))
        assert server.stats()["ok"] < 300


def test_a_slow_disk_holds_the_calls_back(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    write, saved, unsaved = desk.cache.put_many, 0, []
    with desk.server() as server, desk.client(server, concurrency=4) as client:

        def slow(batch: Iterable[tuple[str, dict[str, Any]]]) -> None:
            nonlocal saved
            kept = list(batch)
            deadline = time.monotonic() + 10.0
            while server.stats()["ok"] < min(saved + 4, 40) and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.05)  # long enough for a fifth, if one were sent
            unsaved.append(server.stats()["ok"] - saved)
            write(kept)
            saved += len(kept)

        monkeypatch.setattr(desk.cache, "put_many", slow)
        assert right(client.ask(rows(40)))
    assert saved == 40 and max(unsaved) == 4


def test_no_thread_and_no_key_stay_behind(desk: Desk) -> None:
    with desk.server() as server, desk.client(server) as client:
        client.ask(rows(3, Written))
    assert not [thread for thread in threading.enumerate() if thread.name == "datagen-llm"]
    desk.cache.close()
    desk.ledger.close()
    for path in desk.folder.iterdir():
        assert KEY.encode() not in path.read_bytes()
