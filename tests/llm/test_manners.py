"""What a server says in a 400 is learnt: once, for all calls, and said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import BaseModel

from benchmarks.llm.llm_bill import hurried
from benchmarks.support.stub_server import Server, error, in_a_thread
from datagen.errors import EndpointError
from datagen.llm.accounts.cache import Cache
from datagen.llm.accounts.money import Ledger
from datagen.llm.client import Client
from datagen.llm.endpoint import Endpoint
from datagen.llm.messages import Message, Reply, Request
from datagen.llm.providers import mock


class Written(BaseModel):
    prompt: str


class Other(BaseModel):
    title: str


Refuses = Callable[[dict[str, Any]], web.Response | None]


class Fussy(Server):
    """Answers bodies that it does not refuse, and keeps them all."""

    def __init__(self, refuses: Refuses) -> None:
        super().__init__(None)
        self.refuses, self.bodies, self.refused = refuses, list[dict[str, Any]](), 0
        self.requests: list[web.Request] = []

    def app(self) -> web.Application:
        app = super().app()
        app.router.add_post("/v1/chat/completions", self.complete)
        app.router.add_post("/openai/deployments/d/chat/completions", self.complete)
        return app

    async def complete(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.requests.append(request)
        if (refusal := self.refuses(body)) is not None:
            self.refused += 1
            return refusal
        self.bodies.append(body)
        return web.json_response(mock.completion(body, mock.answer(body)))


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[Callable[..., tuple[list[Reply], list[str]]]]:
    cache, ledger = Cache(tmp_path / "replies.sqlite"), Ledger(tmp_path / "ledger.sqlite")

    def ask(url: str, requests: list[Request], **settings: Any) -> tuple[list[Reply], list[str]]:
        said: list[str] = []
        with Client(Endpoint(url, "m", **settings), cache, ledger, say=said.append) as client:
            return client.ask(requests), said

    yield ask
    cache.close()
    ledger.close()


def rows(count: int = 6, reply: type[BaseModel] = Written, **parts: Any) -> list[Request]:
    return [Request((Message("user", f"row {number}"),), reply, "prompts", **parts) for number in range(count)]


def unsupported(name: str, words: str, **parts: Any) -> Refuses:
    return lambda body: error(400, words, "unsupported_parameter", **parts) if name in body else None


CASES = {
    "OpenAI's reasoning models": (
        unsupported("max_tokens", "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
                    "'max_completion_tokens' instead."),
        "max_completion_tokens is sent instead", lambda body: body["max_completion_tokens"] > 0,
    ),
    "a strict old server": (
        lambda body: None if "max_completion_tokens" in body else web.json_response(
            {"detail": [{"type": "extra_forbidden", "loc": ["body", "max_tokens"], "msg": "Extra"}]}, status=422),
        "max_completion_tokens is sent instead", lambda body: body["max_completion_tokens"] > 0,
    ),
    "a small model": (
        lambda body: error(400, "max_tokens is too large: 2048. This model supports at most 100 completion tokens.",
                           "invalid_value") if body["max_tokens"] > 100 else None,
        "takes at most 100 tokens a reply", lambda body: body["max_tokens"] == 100,
    ),
    "a model with a bound of its own": (
        lambda body: error(400, f"max_tokens: {body['max_tokens']} > 200, which is the maximum allowed number of "
                           "output tokens for model-3-5-20241022", "invalid_request_error")
        if body["max_tokens"] > 200 else None,
        "takes at most 200 tokens a reply", lambda body: body["max_tokens"] == 200,
    ),
    "a bound below the context": (
        lambda body: error(400, "`max_tokens` must be less than or equal to `150`, the maximum value for `max_tokens` "
                           "is less than the `context_window` for this model", "invalid_request_error")
        if body["max_tokens"] > 150 else None,
        "takes at most 150 tokens a reply", lambda body: body["max_tokens"] == 150,
    ),
    "no temperature": (
        lambda body: error(400, "Unsupported value: 'temperature' does not support 0.7 with this model. Only the "
                           "default (1) value is supported.", "unsupported_value")
        if body.get("temperature", 1) != 1 else None,
        "does not take the temperature 0.7", lambda body: body.get("temperature", 1) == 1,
    ),
    "a schema that is too much": (
        lambda body: error(400, "Invalid schema for response_format: it is too complex", "invalid_json_schema")
        if body.get("response_format", {}).get("json_schema", {}).get("name") == "Written" else None,
        "does not take the schema of Written", lambda body: body["response_format"] == {"type": "json_object"}
        or body["response_format"]["json_schema"]["name"] != "Written",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_a_server_objects_to_is_changed_once_and_said(case: str, ask: Callable[..., Any]) -> None:
    refuses, said, holds = CASES[case]
    server = Fussy(refuses)
    with in_a_thread(server) as url:
        replies, heard = ask(url, rows(temperature=0.7), concurrency=1)
        replies += ask(url, rows(2, Other, temperature=0.7), concurrency=1)[0]
    if case != "a schema that is too much":  # the mock writes no object of a type that it is told in words
        assert all(reply.error is None for reply in replies), replies
    assert all(map(holds, server.bodies))
    assert [line for line in heard if said in line] == [next(line for line in heard if said in line)]
    assert server.refused <= 2 * 2  # of each client: in the probe, or at the first row


def test_many_at_once_learn_it_together(ask: Callable[..., Any]) -> None:
    server = Fussy(unsupported("max_tokens", "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'."))
    with in_a_thread(server) as url:
        replies, heard = ask(url, [Request((Message("user", f"row {n}"),), stage="p") for n in range(40)])
    assert all(reply.error is None for reply in replies) and len(heard) == 1


def test_a_server_that_refuses_both_names_is_one_line(ask: Callable[..., Any]) -> None:
    def refuses(body: dict[str, Any]) -> web.Response:
        name = next(name for name in body if name.startswith("max"))
        return error(400, f"Unsupported parameter: '{name}'", "unsupported_parameter")

    with in_a_thread(Fussy(refuses)) as url, pytest.raises(EndpointError, match="Unsupported parameter"):
        ask(url, rows(20))


def test_a_question_that_is_too_long_teaches_nothing(ask: Callable[..., Any]) -> None:
    words = "This model's maximum context length is 4096 tokens. You requested 5000 tokens: reduce max_tokens."

    def refuses(body: dict[str, Any]) -> web.Response | None:
        return error(400, words, "context_length_exceeded") if "row 1" in str(body["messages"]) else None

    server = Fussy(refuses)
    with in_a_thread(server) as url:
        replies, heard = ask(url, rows(4), concurrency=1)
    assert [reply.error is None for reply in replies] == [True, False, True, True] and heard == []
    assert {body["max_tokens"] for body in server.bodies} == {512, 1024}  # of the probe and of the rows


def test_what_the_user_asked_for_is_never_left_out(ask: Callable[..., Any]) -> None:
    server = Fussy(unsupported("reasoning_effort", "Unrecognized request argument supplied: reasoning_effort"))
    with in_a_thread(server) as url:
        with pytest.raises(EndpointError, match="reasoning_effort"):
            ask(url, rows(20), parameters={"reasoning_effort": "low"})
    server = Fussy(lambda body: None)
    with in_a_thread(server) as url:
        extra = {"reasoning_effort": "low", "chat_template_kwargs": {"enable_thinking": False}}
        ask(url, rows(3), parameters=extra)
        replies, _ = ask(url, rows(3), parameters={"reasoning_effort": "high"})
    assert all(body["reasoning_effort"] in ("low", "high") for body in server.bodies)
    assert not any(reply.cached for reply in replies)  # asked otherwise, it is another question


def test_azure_is_asked_as_it_wants(ask: Callable[..., Any]) -> None:
    server = Fussy(lambda body: None)
    with in_a_thread(server) as url:
        base = url.replace("/v1", "/openai/deployments/d?api-version=2024-10-21")
        replies, _ = ask(base, rows(1), api_key="azure-key", headers=(("X-Team", "vision"),))
    assert replies[0].error is None
    for request in server.requests:
        assert request.query_string == "api-version=2024-10-21"
        assert request.headers["api-key"] == "azure-key" and "Authorization" not in request.headers
        assert request.headers["X-Team"] == "vision"


def test_a_server_that_loads_its_model_is_waited_for(ask: Callable[..., Any]) -> None:
    calls = iter(range(100))
    server = Fussy(lambda body: error(503, "Loading model", "unavailable_error") if next(calls) < 8 else None)
    with hurried(0.05), in_a_thread(server) as url:
        replies, heard = ask(url, rows(3), patience=0.01)
    assert all(reply.error is None for reply in replies)
    assert heard == [f"{url} is loading its model: waiting for it"]
