"""The page's server: only who knows the address, on this machine, from the page itself, is answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from datagen.errors import InputError, RunError
from datagen.review.outcome import Fit, Outcome
from datagen.review.server import Server
from tests.review.test_session import PAIRS, begun

FIT = Fit(0.9, 0.8, 0.1, 0.2)
OUTCOME = Outcome({"chosen": 1}, (0.8, 0.7, 0.9), FIT, FIT, [], [], 0.5, (3, 2))
Test = Callable[[aiohttp.ClientSession, str, Server], Awaitable[None]]


def serve(folder: Path, test: Test, finish: Callable[[], Outcome] = lambda: OUTCOME, port: int = 0) -> None:
    """Have a test ask a server; it ends with the test."""

    async def main() -> None:
        server, ready = Server(begun(folder), "a run", finish), asyncio.Queue[str]()
        running = asyncio.create_task(server.serve(port, ready.put_nowait))
        address = asyncio.create_task(ready.get())
        await asyncio.wait([running, address], return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            address.cancel()
            running.result()
        async with aiohttp.ClientSession() as client:
            await test(client, await address, server)
        running.cancel()

    asyncio.run(main())


async def post(client: aiohttp.ClientSession, address: str, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    kind = {"Content-Type": "application/json"} | headers
    data = body if isinstance(body, str) else json.dumps(body)
    async with client.post(address, data=data, headers=kind) as reply:
        return reply.status, await reply.json()


def test_an_answer_is_on_the_disk_when_it_is_answered(tmp_path: Path) -> None:
    async def test(client: aiohttp.ClientSession, address: str, server: Server) -> None:
        assert address.startswith("http://127.0.0.1:")
        status, state = await post(client, f"{address}answer", {"pair": PAIRS[0].pair_id, "answer": "left"})
        assert status == 200 and state["done"] == 1 and state["pair"]["id"] == PAIRS[1].pair_id
        assert begun(tmp_path).journal.answers == {PAIRS[0].pair_id: "chosen"}
        status, state = await post(client, f"{address}undo", {})
        assert status == 200 and state["done"] == 0 and not begun(tmp_path).journal.answers
        async with client.get(f"{address}picture/{PAIRS[1].pair_id}/left") as reply:
            assert await reply.read() == b"b1"

    serve(tmp_path, test)


def test_nobody_else_is_answered(tmp_path: Path) -> None:
    async def test(client: aiohttp.ClientSession, address: str, server: Server) -> None:
        base, port = server.address, server.address.rpartition(":")[2]
        refused: list[tuple[str, dict[str, str]]] = [
            (f"{base}/", {}),
            (f"{base}/guess/", {}),
            (f"{base}/guess/state", {}),
            (f"{address}state", {"Host": "evil.example"}),
            (f"{address}state", {"Host": f"evil.example:{port}"}),
            (f"{address}state", {"Host": f"127.0.0.1.evil.example:{port}"}),
            (f"{address}state", {"Origin": "http://evil.example"}),
            (f"{address}state", {"Origin": "null"}),
            (f"{address}state", {"Sec-Fetch-Site": "cross-site"}),
        ]
        for url, headers in refused:
            async with client.get(url, headers=headers) as reply:
                assert reply.status == 403 and "error" in await reply.json(), (url, headers)
        link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        for what, status in (("", 200), ("state", 403)):
            async with client.get(f"{address}{what}", headers=link) as reply:
                assert reply.status == status
        right = {"pair": PAIRS[0].pair_id, "answer": "left"}
        assert (await post(client, f"{address}answer", right, Origin="https://127.0.0.1"))[0] == 403
        assert (await post(client, f"{base}/guess/answer", right))[0] == 403
        assert not begun(tmp_path).journal.answers
        for host in (f"localhost:{port}", f"127.0.0.1:{port}"):
            own = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
            async with client.get(f"{address}state", headers=own) as reply:
                assert reply.status == 200

    serve(tmp_path, test)


def test_whatever_is_sent_a_line_says_what_is_wrong_and_nothing_is_kept(tmp_path: Path) -> None:
    async def test(client: aiohttp.ClientSession, address: str, server: Server) -> None:
        bodies: list[Any] = [
            "",
            "{",
            "[]",
            "1",
            {},
            {"pair": ["x"], "answer": {}},
            {"pair": PAIRS[0].pair_id},
            "x" * 20_000,
        ]
        for body in bodies:
            status, told = await post(client, f"{address}answer", body)
            assert 400 <= status < 500 and told["error"] and "\n" not in told["error"], body
        wrong, _ = await post(client, f"{address}answer", "{}", **{"Content-Type": "text/plain"})
        assert wrong == 409
        for what in ("picture/x/left", f"picture/{PAIRS[0].pair_id}/middle", "../", "nothing"):
            async with client.get(f"{address}{what}") as reply:
                assert reply.status in (403, 404)
        assert not begun(tmp_path).journal.answers

    serve(tmp_path, test)


def test_the_page_may_load_nothing_from_elsewhere_and_is_kept_nowhere(tmp_path: Path) -> None:
    async def test(client: aiohttp.ClientSession, address: str, server: Server) -> None:
        async with client.get(address) as reply:
            policy = reply.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none';") and "unsafe" not in policy and "http" not in policy
            assert reply.headers["Cache-Control"] == "no-store"
            assert reply.headers["Referrer-Policy"] == "no-referrer"
            text = await reply.text()
        assert server.token not in text and "http://" not in text and "https://" not in text

    serve(tmp_path, test)


def test_a_finish_that_fails_is_said_and_can_be_tried_again(tmp_path: Path) -> None:
    tries = iter([RunError("the run is in use\nby process 7"), ValueError("odd"), None])

    def finish() -> Outcome:
        if (error := next(tries)) is not None:
            raise error
        return OUTCOME

    async def test(client: aiohttp.ClientSession, address: str, server: Server) -> None:
        assert await post(client, f"{address}finish", {}) == (409, {"error": "the run is in use by process 7"})
        assert await post(client, f"{address}finish", {}) == (500, {"error": "this failed: odd"})
        assert (await post(client, f"{address}answer", {"pair": PAIRS[0].pair_id, "answer": "tie"}))[0] == 200
        status, told = await post(client, f"{address}finish", {})
        assert status == 200 and told["agree"] == [0.8, 0.7, 0.9] and told["lines"]

    serve(tmp_path, test, finish)


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    async def test(client: aiohttp.ClientSession, address: str, server: Server) -> None:
        port = int(server.address.rpartition(":")[2])
        with pytest.raises(InputError, match=f"port {port} of 127.0.0.1 cannot be had .Address already in use.: give"):
            await Server(begun(tmp_path), "a run", lambda: OUTCOME).serve(port, print)

    serve(tmp_path, test)
