"""An OpenAI-compatible server on loopback that answers in one of many crooked ways, and keeps the bill.

Each way (`WAYS`) is a function from a sound completion to what is sent in its place, and to the tokens that its maker
charges for it. `serving` runs one in a thread; its `bill` in dollars is what the client's ledger is held against.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gzip
import json
from collections.abc import Callable, Iterator
from typing import Any

from aiohttp import web

from benchmarks.support.stub_server import Server, in_a_thread
from datagen.llm.providers import mock

MODEL = "stub-model"
INPUT, OUTPUT = 10.0, 40.0  # dollars a million tokens
PRICES = f'[models."{MODEL}"]\ninput = {INPUT}\noutput = {OUTPUT}\n'
THOUGHT, WRITTEN = 600, 20_000  # tokens thought beside the reply; tokens of a reply that keeps to no length


@dataclasses.dataclass(frozen=True)
class Answer:
    """What is sent; `billed` are the tokens in and out that are charged, None for nothing, `cost` the dollars told."""

    body: Any
    billed: tuple[int, int] | None
    status: int = 200
    kind: str = "application/json"
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    cost: float | None = None
    fate: str = ""  # "cut": the connection ends half-way; "hang": nothing is sent at all


Way = Callable[[dict[str, Any]], Answer]
WAYS: dict[str, Way] = {}


def way(make: Way) -> Way:
    """Put a crooked way into the table."""
    WAYS[make.__name__] = make
    return make


def counted(sound: dict[str, Any]) -> tuple[int, int]:
    """The tokens of a sound completion."""
    return sound["usage"]["prompt_tokens"], sound["usage"]["completion_tokens"]


def with_usage(sound: dict[str, Any], billed: tuple[int, int] | None, **usage: Any) -> Answer:
    """A sound completion with another account of what it used."""
    return Answer({**sound, "usage": usage}, billed)


def error(status: int, message: str, billed: tuple[int, int] | None = None, **parts: Any) -> Answer:
    """An error in OpenAI's shape."""
    return Answer({"error": {"message": message, "type": "error", "code": None, **parts}}, billed, status)


@way
def sound(sound: dict[str, Any]) -> Answer:
    return Answer(sound, counted(sound))


@way
def thinking_beside(sound: dict[str, Any]) -> Answer:
    given, said = counted(sound)
    return with_usage(
        sound, (given, said + THOUGHT), prompt_tokens=given, completion_tokens=said,
        total_tokens=given + said + THOUGHT, completion_tokens_details={"reasoning_tokens": THOUGHT},
    )  # fmt: skip


@way
def thinking_in_the_total_alone(sound: dict[str, Any]) -> Answer:
    given, said = counted(sound)
    total = given + said + THOUGHT
    return with_usage(sound, (given, said + THOUGHT), prompt_tokens=given, completion_tokens=said, total_tokens=total)


@way
def thinking_in_the_details_alone(sound: dict[str, Any]) -> Answer:
    given, said = counted(sound)
    details = {"reasoning_tokens": THOUGHT}
    return with_usage(
        sound, (given, said + THOUGHT), prompt_tokens=given, completion_tokens=said, completion_tokens_details=details
    )


@way
def thinking_within(sound: dict[str, Any]) -> Answer:
    given, said = counted(sound)
    return with_usage(
        sound, (given, said + THOUGHT), prompt_tokens=given, completion_tokens=said + THOUGHT,
        total_tokens=given + said + THOUGHT, completion_tokens_details={"reasoning_tokens": THOUGHT},
    )  # fmt: skip


@way
def thinking_without_an_end(sound: dict[str, Any]) -> Answer:
    choice = {"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": ""}}
    return Answer({**sound, "choices": [choice]}, counted(sound))


@way
def cached_within(sound: dict[str, Any]) -> Answer:
    given, said = counted(sound)
    return with_usage(
        sound, (given, said), prompt_tokens=given, completion_tokens=said, total_tokens=given + said,
        prompt_tokens_details={"cached_tokens": given // 2},
    )  # fmt: skip


@way
def cached_beside(sound: dict[str, Any]) -> Answer:
    given, said = counted(sound)
    rest = given - given // 2
    return with_usage(
        sound, (given, said), input_tokens=rest, output_tokens=said, cache_read_input_tokens=given // 2
    )  # fmt: skip


@way
def usage_missing(sound: dict[str, Any]) -> Answer:
    return Answer({name: part for name, part in sound.items() if name != "usage"}, counted(sound))


@way
def usage_null(sound: dict[str, Any]) -> Answer:
    return Answer({**sound, "usage": None}, counted(sound))


@way
def usage_zero(sound: dict[str, Any]) -> Answer:
    return with_usage(sound, counted(sound), prompt_tokens=0, completion_tokens=0, total_tokens=0)


@way
def usage_half(sound: dict[str, Any]) -> Answer:
    return with_usage(sound, counted(sound), prompt_tokens=counted(sound)[0], completion_tokens=None)


@way
def usage_as_floats(sound: dict[str, Any]) -> Answer:
    given, said = counted(sound)
    return with_usage(sound, (given, said), prompt_tokens=float(given), completion_tokens=float(said))


@way
def usage_as_text(sound: dict[str, Any]) -> Answer:
    given, said = counted(sound)
    return with_usage(sound, (given, said), prompt_tokens=str(given), completion_tokens=str(said))


@way
def cost_told(sound: dict[str, Any]) -> Answer:
    return Answer({**sound, "usage": {**sound["usage"], "cost": 0.003}}, counted(sound), cost=0.003)


@way
def no_choices(sound: dict[str, Any]) -> Answer:
    return Answer({name: part for name, part in sound.items() if name != "choices"}, counted(sound))


@way
def no_choices_and_no_usage(sound: dict[str, Any]) -> Answer:
    return Answer({"id": "x", "object": "chat.completion"}, counted(sound))


@way
def empty_choices(sound: dict[str, Any]) -> Answer:
    return Answer({**sound, "choices": []}, counted(sound))


@way
def choice_without_a_message(sound: dict[str, Any]) -> Answer:
    return Answer({**sound, "choices": [{"index": 0, "finish_reason": "stop"}]}, counted(sound))


@way
def empty_reply(sound: dict[str, Any]) -> Answer:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": ""}}
    return Answer({**sound, "choices": [choice]}, counted(sound))


@way
def declines(sound: dict[str, Any]) -> Answer:
    message = {"role": "assistant", "content": None, "refusal": "I can't help with that."}
    return Answer({**sound, "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}, counted(sound))


@way
def error_under_200(sound: dict[str, Any]) -> Answer:
    return Answer({"error": {"message": "the provider returned an error", "code": 502}}, counted(sound))


def events(sound: dict[str, Any], *, usage: bool) -> bytes:
    """A completion as a stream of server-sent events, in two parts."""
    text = sound["choices"][0]["message"]["content"]
    deltas = [{"role": "assistant", "content": text[:9]}, {"content": text[9:]}]
    chunks: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
    ]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    chunks += [{"choices": [], "usage": sound["usage"]}] if usage else []
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"


@way
def events_with_usage(sound: dict[str, Any]) -> Answer:
    return Answer(events(sound, usage=True), counted(sound), kind="text/event-stream")


@way
def events_without_usage(sound: dict[str, Any]) -> Answer:
    return Answer(events(sound, usage=False), counted(sound), kind="text/event-stream")


@way
def latin_1(sound: dict[str, Any]) -> Answer:
    body = json.dumps({**sound, "note": "caf\u00e9"}, ensure_ascii=False)
    return Answer(body.encode("latin-1"), counted(sound))


@way
def not_json(sound: dict[str, Any]) -> Answer:
    return Answer(json.dumps(sound).encode()[:40], counted(sound))


@way
def web_page(sound: dict[str, Any]) -> Answer:
    return Answer(b"<!DOCTYPE html><title>Just a moment</title>", counted(sound), kind="text/html")


@way
def gzip_that_is_none(sound: dict[str, Any]) -> Answer:
    return Answer(json.dumps(sound).encode(), counted(sound), headers={"Content-Encoding": "gzip"})


@way
def gzip_that_breaks_off(sound: dict[str, Any]) -> Answer:
    body = gzip.compress(json.dumps(sound).encode())[:-20]
    return Answer(body, counted(sound), headers={"Content-Encoding": "gzip"})


@way
def cut_on_the_way(sound: dict[str, Any]) -> Answer:
    return Answer(sound, counted(sound), fate="cut")


@way
def no_answer_in_time(sound: dict[str, Any]) -> Answer:
    return Answer(sound, counted(sound), fate="hang")


@way
def gateway_gives_up(sound: dict[str, Any]) -> Answer:
    return error(504, "upstream request timeout", counted(sound))


@way
def filtered_after_reading(sound: dict[str, Any]) -> Answer:
    words = "The response was filtered due to the prompt triggering the content management policy."
    return error(400, words, (counted(sound)[0], 0), code="content_filter")


@way
def written_and_rejected(sound: dict[str, Any]) -> Answer:
    text = sound["choices"][0]["message"]["content"]
    words = "Failed to generate JSON. See 'failed_generation' for more details."
    return error(400, words, counted(sound), code="json_validate_failed", failed_generation=text[:-1])


@way
def error_with_a_bill(sound: dict[str, Any]) -> Answer:
    failed = error(500, "the reply was lost", counted(sound))
    return dataclasses.replace(failed, body={**failed.body, "usage": sound["usage"]})


@way
def error_without_a_bill(sound: dict[str, Any]) -> Answer:
    return error(500, "The server had an error.")


@way
def too_busy(sound: dict[str, Any]) -> Answer:
    return error(429, "Slow down.")


@way
def rejected(sound: dict[str, Any]) -> Answer:
    return error(400, "This model's maximum context length is 128 tokens.", code="context_length_exceeded")


@way
def unknown_model(sound: dict[str, Any]) -> Answer:
    return error(404, "No endpoint can handle the requested parameters.")


@way
def key_revoked(sound: dict[str, Any]) -> Answer:
    return error(401, "Incorrect API key provided.", code="invalid_api_key")


@way
def flagged(sound: dict[str, Any]) -> Answer:
    return error(403, "The input was flagged", metadata={"reasons": ["sexual"]})


@way
def keeps_to_no_length(sound: dict[str, Any]) -> Answer:
    given, _ = counted(sound)
    return with_usage(
        sound, (given, WRITTEN), prompt_tokens=given, completion_tokens=WRITTEN, total_tokens=given + WRITTEN
    )


@dataclasses.dataclass(frozen=True)
class Crookedness:
    """After so many `good` calls every `each`-th one is answered in a `way`."""

    way: str = "sound"
    good: int = 0
    each: int = 1


class CrookedServer(Server):
    """POST /v1/chat/completions; `bill` is what is charged so far, in dollars, for `calls` that were charged."""

    faults: Crookedness

    def __init__(self, faults: Crookedness) -> None:
        super().__init__(faults)
        self.bill, self.asked, self.bodies = 0.0, 0, list[dict[str, Any]]()

    def app(self) -> web.Application:
        app = super().app()
        app.router.add_post("/v1/chat/completions", self.complete)
        return app

    def stats(self) -> dict[str, Any]:
        return {**self.counts, "bill": self.bill, "asked": self.asked}

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """Answer one call, and charge for it."""
        body = await request.json()
        self.bodies.append(body)
        self.asked += 1
        late = self.asked - self.faults.good
        name = self.faults.way if late > 0 and late % self.faults.each == 0 else "sound"
        answer = WAYS[name](mock.completion(body, mock.answer(body, self.asked)))
        self.counts[name] += 1
        if answer.billed is not None:
            given, said = answer.billed
            self.bill += (given * INPUT + said * OUTPUT) / 1e6 if answer.cost is None else answer.cost
        return await self._send(request, answer)

    async def _send(self, request: web.Request, answer: Answer) -> web.StreamResponse:
        raw = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        if answer.fate == "hang":
            await asyncio.sleep(3600)
        if answer.fate == "cut":
            response = web.StreamResponse(headers={"Content-Length": str(len(raw))})
            await response.prepare(request)
            await response.write(raw[: len(raw) // 2])
            assert request.transport is not None
            request.transport.abort()
            return response
        headers = {"Content-Type": answer.kind, **answer.headers}
        return web.Response(body=raw, status=answer.status, headers=headers)


@contextlib.contextmanager
def serving(**faults: Any) -> Iterator[tuple[str, CrookedServer]]:
    """The base URL of a server in a thread of ours, and the server."""
    server = CrookedServer(Crookedness(**faults))
    with in_a_thread(server) as url:
        yield url, server
