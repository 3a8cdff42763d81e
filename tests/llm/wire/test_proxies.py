"""Which proxy a call takes: through real sockets, to a proxy of ours that says what it saw."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.support.crooked_server import serving
from datagen.errors import EndpointError
from datagen.llm.accounts.cache import Cache
from datagen.llm.accounts.money import Ledger
from datagen.llm.client import Client
from datagen.llm.endpoint import Endpoint
from datagen.llm.messages import Message, Request
from datagen.llm.providers import http
from datagen.llm.wire import proxies

NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        for spelling in (name, name.upper()):
            monkeypatch.delenv(spelling, raising=False)


@contextlib.contextmanager
def proxy(status: int = 0) -> Iterator[tuple[str, list[str]]]:
    """A proxy that answers every request itself, with a status or a completion; and the lines that it saw."""
    seen: list[str] = []
    message = {"choices": [{"message": {"content": "by proxy"}, "finish_reason": "stop"}]}
    body = b"<html>no access</html>" if status else json.dumps(message).encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                seen.append(head.decode("latin-1"))
                length = next((int(v) for n, _, v in _headers(head) if n == "content-length"), 0)
                await reader.readexactly(length)
                line = f"HTTP/1.1 {status or 200} X\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(line.encode() + body)
                await writer.drain()
        writer.close()

    loop, ready, ports = asyncio.new_event_loop(), threading.Event(), list[int]()
    stop = asyncio.Event()

    async def run() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        ports.append(server.sockets[0].getsockname()[1])
        ready.set()
        await stop.wait()
        server.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    ready.wait()
    try:
        yield f"http://127.0.0.1:{ports[0]}", seen
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def _headers(head: bytes) -> list[tuple[str, str, str]]:
    return [line.lower().partition(": ") for line in head.decode("latin-1").split("\r\n")[1:]]


def ask(url: str, folder: Path) -> str:
    """What a client gets for one question."""
    cache, ledger = Cache(folder / "replies.sqlite"), Ledger(folder / "ledger.sqlite")
    with Client(Endpoint(url, "stub-model", "key", timeout=5.0, patience=0.1), cache, ledger) as client:
        (reply,) = client.ask([Request((Message("user", "hello"),))])
    return str(reply.value or reply.error)


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_what_is_on_this_machine_is_never_asked_through_a_proxy(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxy() as (address, seen), serving() as (url, server):
        for value in (address, "http://127.0.0.1:9", "nonsense", "socks5://127.0.0.1:9"):
            monkeypatch.setenv(name, value)
            assert ask(url, tmp_path) != "by proxy"
            assert "answers" in http.PROVIDER.status(Endpoint(url, "stub-model"))
    assert seen == [] and server.asked == 1


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_another_server_is_asked_through_the_proxy(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy() as (address, seen):
        monkeypatch.setenv(name, address)
        assert ask("http://llm.example/v1", tmp_path) == "by proxy"
        assert f"(through the proxy that {name} names)" in http.PROVIDER.status(Endpoint("http://llm.example/v1", "m"))
    assert seen[0].startswith("POST http://llm.example/v1/chat/completions")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("127.0.0.1:9", "names the proxy"),
        ("localhost:9", "names the proxy"),
        ("socks5://me:secret@127.0.0.1:9", "no SOCKS"),
        ("socks5h://127.0.0.1:9", "no SOCKS"),
        ("ftp://proxy.example", "only http"),
        ("http://", "only http"),
        ("http://host:port", "only http"),
    ],
)
@pytest.mark.parametrize("name", ["http_proxy", "ALL_PROXY"])
def test_a_proxy_that_cannot_be_used_is_named_by_its_variable(
    name: str, value: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(EndpointError) as caught:
        ask("http://llm.example/v1", tmp_path)
    message = str(caught.value)
    assert name in message and said in message and "NO_PROXY" in message and "secret" not in message
    assert name in http.PROVIDER.status(Endpoint("http://llm.example/v1", "m"))
    monkeypatch.setenv("no_proxy", "llm.example")
    assert proxies.of("http://llm.example/v1") is None


@pytest.mark.parametrize("status", [407, 403])
def test_a_proxy_that_refuses_is_named(status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy(status) as (address, _):
        for scheme in ("http", "https"):
            monkeypatch.setenv(f"{scheme}_proxy", address.replace("//", "//me:secret@"))
            with pytest.raises(EndpointError) as caught:
                ask(f"{scheme}://llm.example/v1", tmp_path)
            message = str(caught.value)
            assert f"{scheme}_proxy" in message and "secret" not in message and f"HTTP {status}" in message


def test_a_proxy_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pytest.raises(EndpointError, match="HTTPS_PROXY"):
        ask("https://llm.example/v1", tmp_path)


@pytest.mark.parametrize(
    "url",
    ["http://localhost:1/v1", "http://127.8.9.1/v1", "http://[::1]:8000/v1", "http://0.0.0.0:8000/v1",
     "https://llm.localhost/v1", "http://LOCALHOST./v1"],
)  # fmt: skip
def test_the_names_of_this_machine_are_known(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert proxies.is_loopback(url) and proxies.of(url) is None
    assert proxies.of("http://192.168.0.2/v1") is not None
