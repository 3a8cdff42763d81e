"""Money: the price table, the ledger through kill -9 and read-only disks, and a budget that is never exceeded."""

from __future__ import annotations

import asyncio
import datetime
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from datagen.errors import BudgetSpent, RunError, UserError
from datagen.llm.accounts.money import Budget, Call, Ledger, Price, Prices, Reservation, Spent, totals
from datagen.llm.messages import Message, Request, Usage
from datagen.llm.providers import is_here

PRICE = Price(input=1, output=10, image_tokens=1000)
PRICES = Prices({"m": PRICE}, {})
REQUEST = Request((Message("user", "x" * 500),), stage="prompts", max_tokens=1000)
MOST = PRICE.most(REQUEST)
USAGE = Usage(200, 100, PRICE.cost(200, 100))


class Scene(BaseModel):
    text: str


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.sqlite")


# --- prices


def test_every_published_price_has_its_source_and_date() -> None:
    published = Prices.load().published
    assert {"gpt-4o-mini", "gpt-4.1-mini", "gpt-5-mini"} <= published.keys()
    for name, price in published.items():
        assert price.source and price.date and price.date > datetime.date(2026, 1, 1), name
        if price.picture is None:
            assert 0 < price.input < price.output and price.batch == 0.5, name
        else:
            assert price.input <= price.output and price.drawn("", "") > 0, name


@pytest.mark.parametrize(
    ("quality", "size", "dollars"),
    [
        ("low", "1024x1024", 0.01), ("low", "1024x1536", 0.02), ("high", "1024x1024", 0.20),
        ("low", "", 0.02), ("low", "auto", 0.02), ("", "1024x1024", 0.20), ("auto", "1024x1536", 0.02),
        ("", "", 0.20), ("ultra", "1024x1024", 0.20), ("low", "64x64", 0.20),
    ],
)  # fmt: skip
def test_a_picture_is_taken_at_the_dearest_that_what_is_asked_may_be(quality: str, size: str, dollars: float) -> None:
    table = {"low 1024x1024": 0.01, "low 1024x1536": 0.02, "high 1024x1024": 0.20}
    assert Price(picture=table).drawn(quality, size) == dollars
    assert Price(picture=0.04).drawn(quality, size) == 0.04 and PRICE.drawn(quality, size) == 0


@pytest.mark.parametrize("given", ["", "input = 1", "output = 1", "picture = -1", "picture = {}", 'picture = "low"'])
def test_a_model_without_a_whole_price_is_refused(given: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(f'[models."m"]\n{given}\n')
    with pytest.raises(UserError, match=r'\[models\."m"\]'):
        Prices.load(tmp_path / "mine.toml")


def test_dated_snapshots_have_the_price_of_their_model() -> None:
    prices = Prices.load()
    assert prices.of("gpt-4.1-2025-04-14") == prices.of("gpt-4.1") is not None
    assert prices.of("gpt-4o-2024-05-13") != prices.of("gpt-4o")
    assert prices.of("gpt-4.1-20250414") is prices.of("some-model") is None


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8000/v1", "http://localhost/v1", "http://[::1]:1/v1", "local:/m.gguf", "http://127.9.9.9"],
)
def test_servers_on_this_machine_cost_nothing(url: str) -> None:
    price = Prices.load(base_url=url).of("whatever")
    assert is_here(url) and price is not None and price.most(REQUEST) == 0


@pytest.mark.parametrize(
    "url", ["https://api.openai.com/v1", "http://10.0.0.1/v1", "http://localhost.example.com", ""]
)
def test_other_servers_have_no_price_for_unknown_models(url: str) -> None:
    assert not is_here(url) and Prices.load(base_url=url).of("whatever") is None


def test_the_users_table_goes_before_all_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[models."gpt-4.1"]\ninput = 7\noutput = 9.5\n')
    monkeypatch.setenv("DATAGEN_PRICES", str(path))
    for url in ("https://api.openai.com/v1", "http://127.0.0.1/v1"):
        assert Prices.load(base_url=url).of("gpt-4.1") == Price(input=7, output=9.5)
    assert Prices.load().of("gpt-4.1-mini") is not None
    (other := tmp_path / "other.toml").write_text('[models."gpt-4.1"]\ninput = 8\noutput = 8\n')
    assert Prices.load(other).of("gpt-4.1") == Price(input=8, output=8)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("models = 3", "needs .models"),
        ("[model.x]\ninput = 1", "needs .models"),
        ('[models."x"]\ninput = 1', "output: Field required"),
        ('[models."x"]\ninput = -1\noutput = 1', "greater than or equal to 0"),
        ('[models."x"]\ninput = nan\noutput = 1', "finite"),
        ('[models."x"]\ninput = 1\noutput = 1\nper = "token"', "per: Extra"),
        ("[models", "cannot be read"),
    ],
)
def test_a_price_table_that_is_none_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        Prices.load(path)
    assert str(path) in str(caught.value) and "[models." in str(caught.value) and "\n" not in str(caught.value)


def test_a_price_table_that_is_missing_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="missing.toml cannot be read"):
        Prices.load(tmp_path / "missing.toml")


@given(st.text(max_size=200), st.integers(0, 3), st.booleans())
@settings(deadline=None, max_examples=50)
def test_a_request_never_counts_more_tokens_than_were_reserved(text: str, images: int, typed: bool) -> None:
    request = Request((Message("user", text, (b"i",) * images),), Scene if typed else None, max_tokens=77)
    tokens = len(text.encode("utf-8", "surrogatepass")) + 1000 * images  # a token a byte: no tokenizer does worse
    assert PRICE.most(request) >= PRICE.cost(tokens + 100, 77)
    assert PRICE.most(request, batch=True) == pytest.approx(PRICE.most(request) * PRICE.batch)


def test_usage_is_read_and_priced() -> None:
    block = {"prompt_tokens": 1000, "completion_tokens": 100}
    assert PRICES.usage("m", {"usage": block}) == Usage(1000, 100, pytest.approx(0.002))
    assert PRICES.usage("unknown", {"usage": block}) == Usage(1000, 100, 0)
    half = Prices({"m": Price(input=1, output=10, batch=0.5)}, {})
    assert half.usage("m", {"usage": block}, batch=True) == Usage(1000, 100, pytest.approx(0.001))


@pytest.mark.parametrize(
    "usage", [None, "many", {}, {"prompt_tokens": -1}, {"prompt_tokens": "9"}, {"prompt_tokens": True}]
)
def test_usage_that_is_none_is_not_guessed(usage: object) -> None:
    assert PRICES.usage("m", {"usage": usage}) is None


# --- the ledger


def test_the_ledger_adds_up_by_stage(ledger: Ledger) -> None:
    ledger.record([Call("prompts", "k1", "m", Usage(10, 5, 0.5)), Call("prompts", "k2", "m", Usage(1, 1, 0.25))])
    ledger.record([Call("principles", "k3", "m", Usage(3, 4, 1.0))])
    ledger.record([])
    ledger.count_cached("prompts", 3)
    ledger.count_cached("prompts")
    spent = totals(ledger.path)
    assert spent == {
        "principles": Spent(1, 0, 0, 3, 4, 1.0),
        "prompts": Spent(2, 4, 0, 11, 6, 0.75),
    }
    assert ledger.committed() == pytest.approx(1.75)
    ledger.close()
    assert totals(ledger.path) == spent


def test_no_ledger_is_nothing_spent(tmp_path: Path) -> None:
    assert totals(tmp_path / "ledger.sqlite") == {}
    assert not list(tmp_path.iterdir())


def test_it_can_be_read_while_it_is_written_and_leaves_no_files(ledger: Ledger, tmp_path: Path) -> None:
    ledger.record([Call("prompts", "k", "m", USAGE)])
    assert totals(ledger.path)["prompts"].calls == 1
    ledger.close()
    assert totals(ledger.path)["prompts"].calls == 1
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.sqlite"]


READER = """
import os, sys
from pathlib import Path
from datagen.llm.accounts.money import totals
if os.getuid() == 0:
    os.setuid(65534)
print(totals(Path(sys.argv[1]))["prompts"].calls)
try:
    (Path(sys.argv[1]).parent / "new").touch()
except PermissionError:
    print("read-only")
"""


@pytest.mark.parametrize("closed", [True, False])
def test_it_can_be_read_in_a_directory_that_cannot_be_written(closed: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger.sqlite")
        ledger.record([Call("prompts", "k", "m", USAGE)])
        if closed:
            ledger.close()
        os.chmod(folder, 0o555)
        done = subprocess.run([sys.executable, "-c", READER, str(ledger.path)], capture_output=True, text=True)
        os.chmod(folder, 0o755)
    assert done.stdout == "1\nread-only\n", done.stderr


def test_a_damaged_ledger_is_not_begun_anew(ledger: Ledger) -> None:
    ledger.record([Call("prompts", "k", "m", USAGE)])
    ledger.close()
    ledger.path.write_bytes(b"junk" * 5000)
    for use in (Ledger, totals):
        with pytest.raises(RunError, match="ledger.sqlite is damaged .*: what was spent cannot be known"):
            use(ledger.path)
    assert ledger.path.read_bytes() == b"junk" * 5000


WORKER = """
import asyncio, sys
from pathlib import Path
from datagen.llm.messages import Message, Request, Usage
from datagen.llm.accounts.money import Budget, Ledger, Price, Prices
budget = Budget(Ledger(Path(sys.argv[1])), Prices({"m": Price(input=1, output=10)}, {}), "m", float(sys.argv[2]))
request = Request((Message("user", "x" * 500),), stage="prompts", max_tokens=1000)
while True:
    reservation = asyncio.run(budget.reserve("prompts", budget.price.most(request), "key"))
    print("reserved", flush=True)
    budget.settle(reservation, Usage(200, 100, 0.0012))
    print("settled", flush=True)
"""


def test_kill_9_forgets_neither_what_was_spent_nor_what_may_have_been(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    sent = 0
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(path), "1000"], stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert process.stdout is not None
        for count, line in enumerate(process.stdout):
            sent += line == "reserved\n"
            if count >= 20 and line == "reserved\n":
                process.send_signal(signal.SIGKILL)
                break
        sent += process.communicate()[0].count("reserved")
    spent = totals(path)["prompts"]
    assert spent.calls + spent.unsure >= sent
    assert spent.unsure <= 2
    assert Ledger(path).committed() == pytest.approx(spent.cost + spent.at_most)


def test_several_processes_share_one_limit(tmp_path: Path) -> None:
    path, limit = tmp_path / "ledger.sqlite", 0.1
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, str(path), str(limit)], stdout=-1, stderr=-1) for _ in "abc"
    ]
    for worker in workers:
        assert b"BudgetSpent" in worker.communicate(timeout=120)[1]
    assert limit - MOST < Ledger(path).committed() <= limit


# --- the budget


def test_a_model_without_a_price_has_no_budget(ledger: Ledger) -> None:
    with pytest.raises(UserError, match=r"--max-cost needs the price of 'nobodys-model'.*DATAGEN_PRICES.*\[models"):
        Budget(ledger, PRICES, "nobodys-model", 1.0)


def test_what_is_left_of_a_reservation_is_free_again(ledger: Ledger) -> None:
    budget = Budget(ledger, PRICES, "m", 1.0)
    reservation = asyncio.run(budget.reserve("prompts", MOST, "key"))
    assert ledger.committed() == pytest.approx(MOST)
    assert totals(ledger.path)["prompts"] == Spent(unsure=1, at_most=pytest.approx(MOST))
    budget.settle(reservation, USAGE)
    assert ledger.committed() == pytest.approx(USAGE.cost)
    assert totals(ledger.path)["prompts"] == Spent(1, 0, 0, 200, 100, pytest.approx(USAGE.cost))
    budget.settle(reservation, USAGE)  # twice is once
    assert ledger.committed() == pytest.approx(USAGE.cost)


def test_a_call_that_was_not_billed_costs_nothing_and_one_of_unknown_fate_all(ledger: Ledger) -> None:
    budget = Budget(ledger, PRICES, "m", 1.0)
    budget.settle(asyncio.run(budget.reserve("prompts", MOST)), None)
    assert totals(ledger.path) == {} and ledger.committed() == pytest.approx(0)
    budget.settle(asyncio.run(budget.reserve("prompts", MOST)), Usage(cost=MOST), unsure=True)
    assert totals(ledger.path)["prompts"] == Spent(unsure=1, at_most=pytest.approx(MOST))
    assert ledger.committed() == pytest.approx(MOST)


def test_what_earlier_runs_spent_counts(ledger: Ledger) -> None:
    ledger.record([Call("prompts", "k", "m", Usage(1, 1, 0.99))])
    with pytest.raises(BudgetSpent, match="--max-cost 1 leaves no room: 0.9900 dollars are spent.* up to 0.01.*kept"):
        asyncio.run(Budget(ledger, PRICES, "m", 1.0).reserve("prompts", MOST))


def test_it_waits_for_those_in_flight_before_it_gives_up(ledger: Ledger) -> None:
    budget = Budget(ledger, PRICES, "m", 1.5 * MOST)
    first = asyncio.run(budget.reserve("prompts", MOST))
    got = list[Reservation]()
    waiting = threading.Thread(target=lambda: got.append(asyncio.run(budget.reserve("prompts", MOST))))
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive() and not got
    budget.settle(first, USAGE)
    waiting.join(10)
    assert len(got) == 1
    budget.settle(got[0], Usage(cost=MOST), unsure=True)
    with pytest.raises(BudgetSpent):
        asyncio.run(budget.reserve("prompts", MOST))


def test_all_who_wait_give_up_when_nothing_is_left(ledger: Ledger) -> None:
    budget = Budget(ledger, PRICES, "m", 1.5 * MOST)

    async def main() -> list[object]:
        first = await budget.reserve("prompts", MOST)
        others = [asyncio.create_task(budget.reserve("prompts", MOST)) for _ in range(20)]
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in others)
        budget.settle(first, Usage(cost=MOST), unsure=True)
        return await asyncio.wait_for(asyncio.gather(*others, return_exceptions=True), 10)

    assert {type(result) for result in asyncio.run(main())} == {BudgetSpent}


def test_a_waiting_task_that_is_cancelled_does_not_hold_up_the_others(ledger: Ledger) -> None:
    budget = Budget(ledger, PRICES, "m", 1.5 * MOST)

    async def main() -> None:
        first = await budget.reserve("prompts", MOST)
        others = [asyncio.create_task(budget.reserve("prompts", MOST)) for _ in range(3)]
        await asyncio.sleep(0.05)
        others[0].cancel()  # before it is woken
        budget.settle(first, USAGE)
        others[1].cancel()  # after it was woken, before it could go on
        last = await asyncio.wait_for(others[2], 10)
        budget.settle(last, USAGE)

    asyncio.run(main())


@pytest.mark.parametrize("seed", range(3))
def test_200_tasks_at_once_never_pass_the_limit(tmp_path: Path, seed: int) -> None:
    ledger, limit, rng = Ledger(tmp_path / "ledger.sqlite"), 40 * MOST, random.Random(seed)
    budget = Budget(ledger, PRICES, "m", limit)
    most, bill = 0.0, 0.0

    async def call(number: int) -> None:
        nonlocal most, bill
        request = Request(
            (Message("user", "x" * rng.randrange(3000)),), stage="prompts", max_tokens=rng.randrange(1, 3000)
        )
        reservation = await budget.reserve("prompts", budget.price.most(request), str(number))
        most = max(most, ledger.committed())
        await asyncio.sleep(rng.random() * 0.003)
        usage = Usage(100, 50, reservation.cost * rng.random())
        if rng.random() < 0.05:
            budget.settle(reservation, Usage(cost=reservation.cost), unsure=True)
            bill += reservation.cost
        else:
            budget.settle(reservation, usage)
            bill += usage.cost

    async def main() -> list[BaseException | None]:
        calls = [call(number) for number in range(400)]
        return await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 100)

    ended = asyncio.run(main())
    assert {type(error) for error in ended} == {type(None), BudgetSpent}
    assert most <= limit and bill <= limit
    assert ledger.committed() == pytest.approx(bill)
    spent = totals(ledger.path)["prompts"]
    assert spent.calls + spent.unsure == ended.count(None)
    assert ledger._database.read("SELECT count(*) FROM reserved") == [(0,)]


def test_200_threads_at_once_never_pass_the_limit(tmp_path: Path) -> None:
    ledger, limit = Ledger(tmp_path / "ledger.sqlite"), 30 * MOST
    budget = Budget(ledger, PRICES, "m", limit)
    done, most = list[str](), list[float]()

    def call() -> None:
        try:
            reservation = asyncio.run(budget.reserve("prompts", MOST))
        except BudgetSpent:
            done.append("spent")
            return
        most.append(ledger.committed())
        budget.settle(reservation, Usage(200, 100, 0.9 * reservation.cost))
        done.append("paid")

    threads = [threading.Thread(target=call) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(done) == 200 and max(most) <= limit
    assert ledger.committed() == pytest.approx(done.count("paid") * 0.9 * MOST)
    assert done.count("paid") == 33


def test_what_it_says_holds_no_key(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    budget = Budget(ledger, PRICES, "m", 1.0)
    budget.settle(asyncio.run(budget.reserve("prompts", MOST, "k")), USAGE)
    ledger.close()
    assert b"sk-secret" not in ledger.path.read_bytes()
    assert sqlite3.connect(ledger.path).execute("SELECT count(*) FROM calls").fetchone() == (1,)
    assert os.environ["OPENAI_API_KEY"] == "sk-secret"
