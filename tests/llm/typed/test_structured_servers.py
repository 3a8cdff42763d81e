"""Servers as they are: each stub speaks OpenAI's protocol with the differences that its original is known for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from datagen.errors import EndpointError, RequestRejected
from datagen.llm.accounts.prices import Prices
from datagen.llm.endpoint import Endpoint
from datagen.llm.messages import Message, Request, Usage
from datagen.llm.providers import Transport
from datagen.llm.providers.http import HttpTransport
from datagen.llm.typed import structured
from datagen.llm.typed.reading import Parsed, read
from datagen.llm.typed.structured import Dialect

PNG = b"\x89PNG\r\n\x1a\n...."


class Animal(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=2, max_length=40)
    legs: int = Field(default=4, ge=0, le=100)


ASKED = Request((Message("system", "Be brief."), Message("user", "An animal?", (PNG,))), Animal)
DOG = Animal(name="dog", legs=4)
ANSWERS = {"Animal": {"name": "dog", "legs": 4}, "Paint": {"pigment": "vermilion", "coats": 2}}
# OpenAI, "Structured Outputs": what strict mode takes of a schema, bounds left out, which fine-tuned models refuse.
STRICT = {
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "anyOf",
    "enum",
    "$ref",
    "$defs",
    "description",
}


class Refusal(Exception):
    """An HTTP status with a message."""


def form(asked: dict[str, Any]) -> str:
    return str(asked.get("response_format", {}).get("type", "text"))


def words(asked: dict[str, Any]) -> str:
    """All that the model is told."""
    return json.dumps(asked["messages"])


def by_schema(asked: dict[str, Any]) -> str:
    """What constrained decoding gives."""
    return json.dumps(ANSWERS[asked["response_format"]["json_schema"]["name"]])


def by_words(asked: dict[str, Any]) -> str:
    """What a willing model gives that can only read."""
    for name, value in ANSWERS.items():
        if all(key in words(asked) for key in value):
            return json.dumps(ANSWERS[name])
    return "Hello! How can I help you today?"


def check_strict(part: dict[str, Any]) -> None:
    if unknown := set(part) - STRICT:
        raise Refusal(400, f"Invalid schema for response_format: {sorted(unknown)} is not permitted.")
    if "$ref" in part and len(part) > 1:
        raise Refusal(400, "Invalid schema for response_format: $ref cannot have keywords beside it.")
    if part.get("type") == "object":
        if part.get("additionalProperties") is not False or part.get("required") != list(part["properties"]):
            raise Refusal(400, "Invalid schema for response_format: 'required' must include every key in properties.")
    for inner in (*part.get("properties", {}).values(), *part.get("$defs", {}).values(), *part.get("anyOf", ())):
        check_strict(inner)


def openai(asked: dict[str, Any]) -> dict[str, Any]:
    """Refuses every schema that is not strict, and json_object without the word JSON."""
    for message in asked["messages"]:
        for part in message["content"] if isinstance(message["content"], list) else []:
            if part["type"] == "image_url" and not part["image_url"]["url"].startswith("data:image/png;base64,"):
                raise Refusal(400, "Invalid image.")
    if form(asked) == "json_object" and "JSON" not in words(asked):
        raise Refusal(400, "'messages' must contain the word 'json' in some form, to use 'response_format'.")
    if form(asked) != "json_schema":
        return {"content": by_words(asked), "refusal": None}
    check_strict(asked["response_format"]["json_schema"]["schema"])
    return {"content": by_schema(asked), "refusal": None}


def openai_reasoning(asked: dict[str, Any]) -> dict[str, Any]:
    """Wants the new name of the length and no temperature, and thinks before it speaks."""
    if "max_tokens" in asked:
        raise Refusal(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
    if asked.get("temperature", 1) != 1:
        raise Refusal(400, "Unsupported value: 'temperature' does not support 0 with this model.")
    if asked["max_completion_tokens"] < 600:
        return {"content": "", "refusal": None, "finish_reason": "length"}
    return openai(asked)


def vllm(asked: dict[str, Any]) -> dict[str, Any]:
    """Enforces json_schema, ignores what it does not know, and names the reasoning even where there is none."""
    text = by_schema(asked) if form(asked) == "json_schema" else by_words(asked)
    return {"content": text, "reasoning_content": None, "tool_calls": []}


def vllm_with_parser(asked: dict[str, Any]) -> dict[str, Any]:
    """A reasoning parser before a model with thinking switched off: the whole answer is taken for reasoning."""
    return {"content": None, "reasoning_content": vllm(asked)["content"]}


def llama_cpp(asked: dict[str, Any]) -> dict[str, Any]:
    """Enforces the nested form, and refuses a type it does not know."""
    if form(asked) == "json_schema":
        return {"content": by_schema(asked)}
    return {"content": by_words(asked) if form(asked) == "text" else json.dumps(json.loads(by_words(asked)))}


def llama_cpp_thinking(asked: dict[str, Any]) -> dict[str, Any]:
    """Takes json_schema with HTTP 200 and enforces nothing, as with some templates that think."""
    return {"content": f"<think>The user wants {{something}}.</think>\n{by_words(asked)}"}


def llama_cpp_old(asked: dict[str, Any]) -> dict[str, Any]:
    """Says with HTTP 400 that it knows json_object only (newer ones of that kind; the older ones said 500)."""
    if form(asked) == "json_schema":
        raise Refusal(400, 'response_format type must be one of "text" or "json_object", but got: json_schema')
    return {"content": by_words(asked)}


def llama_cpp_python(asked: dict[str, Any]) -> dict[str, Any]:
    """Validates the body and knows json_object only; prose comes before and after."""
    if form(asked) == "json_schema":
        raise Refusal(422, "body -> response_format -> type: unexpected value; permitted: 'text', 'json_object'")
    return {"content": f" {by_words(asked)}\n\n"}


def ollama(asked: dict[str, Any]) -> dict[str, Any]:
    """Enforces json_schema; its completions lack much that OpenAI's have."""
    return {"content": by_schema(asked) if form(asked) == "json_schema" else by_words(asked)}


def ollama_old(asked: dict[str, Any]) -> dict[str, Any]:
    """Knows json_object only and ignores the rest without a word."""
    text = by_words(asked)
    if form(asked) == "json_object":
        return {"content": text}
    return {"content": f"Sure, here you are:\n```json\n{text}\n```"}


def lm_studio(asked: dict[str, Any]) -> dict[str, Any]:
    """Enforces json_schema, and refuses json_object, with a bare string for an error."""
    if form(asked) == "json_object":
        raise Refusal(400, "'response_format.type' must be 'json_schema' or 'text'", "bare")
    return {"content": by_schema(asked) if form(asked) == "json_schema" else by_words(asked)}


def text_alone(asked: dict[str, Any]) -> dict[str, Any]:
    """Refuses response_format as such; its model puts prose and a fence around everything, and a comma too many."""
    if "response_format" in asked:
        raise Refusal(400, "unknown field response_format")
    text = by_words(asked)
    return {"content": f"Certainly.\n```json\n{text[:-1]},}}\n```\nI hope that helps!" if text[0] == "{" else text}


def parts(asked: dict[str, Any]) -> dict[str, Any]:
    """A gateway that gives content in parts and ignores response_format."""
    return {"content": [{"type": "text", "text": text} for text in (by_words(asked)[:9], by_words(asked)[9:])]}


Server = Callable[[dict[str, Any]], dict[str, Any]]
SERVERS: list[tuple[Server, str, Dialect]] = [
    (openai, "gpt-4.1-mini", Dialect.SCHEMA),
    (openai_reasoning, "gpt-5-mini", Dialect.SCHEMA),
    (vllm, "Qwen/Qwen3-8B", Dialect.SCHEMA),
    (vllm_with_parser, "Qwen/Qwen3-8B", Dialect.SCHEMA),
    (llama_cpp, "smollm2.gguf", Dialect.SCHEMA),
    (llama_cpp_thinking, "qwen3.gguf", Dialect.TEXT),
    (llama_cpp_old, "llama.gguf", Dialect.OBJECT),
    (llama_cpp_python, "llama.gguf", Dialect.OBJECT),
    (ollama, "gpt-oss:20b", Dialect.SCHEMA),
    (ollama_old, "llama3", Dialect.OBJECT),
    (lm_studio, "local-model", Dialect.SCHEMA),
    (text_alone, "m", Dialect.TEXT),
    (parts, "m", Dialect.OBJECT),
]


def talk(server: Server, model: str, what: Callable[[Transport], Awaitable[Any]]) -> tuple[Any, list[dict[str, Any]]]:
    """What comes of a talk with a server, and the bodies that it got."""
    got: list[dict[str, Any]] = []

    async def answer(request: web.Request) -> web.Response:
        got.append(asked := await request.json())
        try:
            message = server(asked)
        except Refusal as refusal:
            status, text, *bare = refusal.args
            error = text if bare else {"message": text, "type": "invalid_request_error"}
            return web.json_response({"error": error}, status=status)
        finish = message.pop("finish_reason", "stop")
        choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
        usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
        return web.json_response({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage})

    async def run() -> Any:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        transport = HttpTransport(Endpoint(f"http://127.0.0.1:{runner.addresses[0][1]}/v1", model))
        try:
            return await what(transport)
        finally:
            await transport.close()
            await runner.cleanup()

    return asyncio.run(run()), got


async def ask(transport: Transport, model: str, request: Request) -> tuple[Dialect, Parsed, Usage | None]:
    async def send(body: dict[str, Any]) -> dict[str, Any]:
        return await transport.send(json.dumps(body).encode())

    dialect = await structured.probe(send, model)
    completion = await send(structured.body(request, model, dialect))
    return dialect, read(completion, request), Prices({}, {}).usage(model, completion)


@pytest.mark.parametrize(("server", "model", "dialect"), SERVERS, ids=lambda value: getattr(value, "__name__", None))
def test_every_server_is_found_out_and_gives_typed_replies(server: Server, model: str, dialect: Dialect) -> None:
    (found, outcome, usage), got = talk(server, model, lambda transport: ask(transport, model, ASKED))
    assert found is dialect
    assert (outcome.value, outcome.error) == (DOG, None)
    assert usage == Usage(7, 3)
    assert len(got) <= 4


# What a reasoning parser takes for thoughts is no answer in free text.
@pytest.mark.parametrize(
    ("server", "model", "dialect"),
    [row for row in SERVERS if row[0] is not vllm_with_parser],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_free_text_is_had_from_every_server(server: Server, model: str, dialect: Dialect) -> None:
    request = Request((Message("user", "Hello."),))
    (_, outcome, _), _ = talk(server, model, lambda transport: ask(transport, model, request))
    assert outcome.error is None and isinstance(outcome.value, str) and "Hello" in outcome.value


def test_a_correction_is_a_conversation_that_every_server_takes() -> None:
    for server, model, dialect in SERVERS:
        again = structured.correction(
            ASKED, '{"name": ""}', "unreadable: name: String should have at least 2 characters"
        )
        sent = structured.body(again, model, dialect)
        (_, outcome, _), _ = talk(server, model, lambda t, again=again, model=model: ask(t, model, again))  # type: ignore[misc]
        assert outcome.value == DOG, server.__name__
        assert [message["role"] for message in sent["messages"]] == ["system", "user", "assistant", "user"]


def test_a_server_that_refuses_everything_says_why_once() -> None:
    def closed(asked: dict[str, Any]) -> dict[str, Any]:
        raise Refusal(400, "The model is too busy dreaming.")

    with pytest.raises(RequestRejected, match="too busy dreaming"):
        talk(closed, "m", lambda transport: ask(transport, "m", ASKED))


def test_a_wrong_key_is_not_taken_for_a_dialect() -> None:
    asked = []

    def locked(body: dict[str, Any]) -> dict[str, Any]:
        asked.append(body)
        raise Refusal(401, "Incorrect API key provided.")

    with pytest.raises(EndpointError, match="refuses the key"):
        talk(locked, "m", lambda transport: ask(transport, "m", ASKED))
    assert len(asked) == 1
