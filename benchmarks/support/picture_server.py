"""A server that draws, by OpenAI's `/images/generations` on loopback, with the faults and the manners that it is told.

A picture is a flat colour of its text, and of its seed if it heeds seeds. Every call is logged in a line, so that what
was sold can be counted whoever is killed. As a program it takes a log, a file for its URL, and settings in JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import collections
import contextlib
import dataclasses
import hashlib
import io
import json
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from aiohttp import web
from PIL import Image


@dataclasses.dataclass
class Manners:
    """Shares of calls that go wrong, and what holds for all."""

    busy: float = 0.0
    error: float = 0.0
    drop: float = 0.0
    delay: float = 0.0
    takes: tuple[str, ...] = (
        "size", "seed", "negative_prompt", "num_inference_steps", "guidance_scale", "response_format", "output_format",
    )  # fmt: skip
    ignores: bool = False  # what it does not take, instead of rejecting it
    seeds: bool = True  # one seed, one picture
    side: int = 0  # of its pictures, whatever was asked; 0: as asked
    sizes: tuple[str, ...] = ()  # that it accepts; () for all
    refuses: str = ""  # texts with this in them
    form: str = "PNG"
    count: int = 1
    link: str = ""  # "" for base64; else what stands in `url`, with {base} and {name}
    usage: dict[str, int] | None = None
    key: str = ""


class Stub:
    """One server; `sold` counts the pictures that were sent whole, by text and seed."""

    def __init__(self, manners: Manners, log: Path | None = None) -> None:
        self.manners, self.log = manners, log
        self.url = ""
        self.asked: list[dict[str, Any]] = []
        self.fetched: list[tuple[str, str]] = []  # path and Authorization of links that were followed
        self.counts: collections.Counter[str] = collections.Counter()
        self.answer: Callable[[dict[str, Any]], web.StreamResponse | None] = lambda body: None
        self._rng = random.Random(0)
        self._pictures: dict[str, bytes] = {}

    def app(self) -> web.Application:
        """The server for aiohttp."""
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/v1/images/generations", self._generate)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/pictures/{name}", self._show)
        return app

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        how, dice = self.manners, self._rng.random()
        if how.key and request.headers.get("Authorization") != f"Bearer {how.key}":
            return _refusal(401, "Incorrect API key provided", "invalid_api_key")
        if dice < how.busy:
            self._note("busy", body)
            return _refusal(429, "Rate limit reached", "rate_limit_exceeded", {"Retry-After": "0.1"})
        if dice < how.busy + how.error:
            self._note("error", body)
            return _refusal(500, "The server had an error", "server_error")
        if (special := self.answer(body)) is not None:
            return special
        if (refusal := self._rejection(body)) is not None:
            return refusal
        await asyncio.sleep(how.delay)
        answer = json.dumps(self._answer(body)).encode()
        if dice < how.busy + how.error + how.drop:
            self._note("drop", body)
            response = web.StreamResponse(headers={"Content-Length": str(len(answer))})
            await response.prepare(request)
            await response.write(answer[: len(answer) // 2])
            assert request.transport is not None
            request.transport.close()
            return response
        self._note("sold", body)
        return web.Response(body=answer, content_type="application/json")

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "flat"}]})

    def _rejection(self, body: dict[str, Any]) -> web.Response | None:
        how = self.manners
        given = body.keys() - {"model", "prompt", "n"}
        if not how.ignores and (unknown := sorted(given - set(how.takes))):
            return _refusal(400, f"Unknown parameter: '{unknown[0]}'.", "unknown_parameter")
        if how.sizes and body.get("size") not in how.sizes:
            return _refusal(400, f"Invalid value: '{body.get('size')}'. Supported values are: {how.sizes}.", "size")
        if how.refuses and how.refuses in body["prompt"]:
            return _refusal(400, "Your request was rejected by the safety system.", "content_policy_violation")
        return None

    def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        how = self.manners
        wide, high = map(int, body["size"].split("x")) if "x" in body.get("size", "") else (64, 64)
        seed = body.get("seed") if how.seeds else self._rng.random()
        entries = []
        for nth in range(how.count):
            colour = hashlib.sha256(f"{body['prompt']} {seed} {nth}".encode()).digest()
            picture = Image.new("RGB", (how.side or wide, how.side or high), (200, colour[0], colour[1]))
            picture.putpixel((0, 0), (0, 0, 0))
            file = io.BytesIO()
            picture.save(file, how.form)
            name = hashlib.sha256(file.getvalue()).hexdigest()
            self._pictures[name] = file.getvalue()
            link = how.link.format(base=self.url.removesuffix("/v1"), name=name)
            entries.append({"url": link} if link else {"b64_json": base64.b64encode(file.getvalue()).decode()})
        return {"created": 1, "data": entries} | ({"usage": how.usage} if how.usage else {})

    async def _show(self, request: web.Request) -> web.Response:
        self.fetched.append((request.path, request.headers.get("Authorization", "")))
        data = self._pictures.get(request.match_info["name"])
        return web.Response(body=data, content_type="image/png") if data else web.Response(status=404)

    def _note(self, fate: str, body: dict[str, Any]) -> None:
        self.counts[fate] += 1
        if self.log is not None:
            with self.log.open("a") as file:
                file.write(json.dumps({"fate": fate, "call": [body["prompt"], body.get("seed")]}) + "\n")


def _refusal(status: int, message: str, code: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"error": {"message": message, "code": code}}, status=status, headers=headers)


@contextlib.contextmanager
def serving(log: Path | None = None, **manners: Any) -> Iterator[Stub]:
    """A stub in a thread, on a free port."""
    stub = Stub(Manners(**manners), log)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = web.AppRunner(stub.app())

    async def start() -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()

    asyncio.run_coroutine_threadsafe(start(), loop).result()
    stub.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield stub
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A child of picture_faults.", allow_abbrev=False)
    parser.add_argument("log", type=Path)
    parser.add_argument("told", type=Path, help="file to write the address to")
    parser.add_argument("faults", type=json.loads)
    given = parser.parse_args()
    with serving(given.log, **given.faults) as running:
        given.told.write_text(running.url)
        threading.Event().wait()
