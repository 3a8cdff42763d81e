"""What is made of an answer: the completion, or what to do about it, in one line without the key."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.errors import DatagenError, EndpointError, RequestRejected
from datagen.llm.endpoint import Endpoint
from datagen.llm.providers import RetryableError, ServerRefusal, UnusableAnswer
from datagen.llm.wire.answers import Answers

KEY = "sk-secret-0123456789"
ANSWERS = Answers(Endpoint("https://api.example/v1?api-version=2", "m", KEY), " (through the proxy that P names)")
GOOD = {"id": "x", "choices": [{"index": 0, "message": {"content": "caf\u00e9"}, "finish_reason": "stop"}]}


def read(status: int, body: Any, kind: str = "application/json", **headers: str) -> dict[str, Any]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ANSWERS.read(status, {"Content-Type": kind, **headers}, raw)


def error(message: str, **parts: Any) -> dict[str, Any]:
    return {"error": {"message": message, **parts}}


def test_a_completion_is_returned_as_it_came() -> None:
    assert read(200, GOOD) == GOOD
    assert read(200, b"\xef\xbb\xbf" + json.dumps(GOOD).encode()) == GOOD
    latin = json.dumps(GOOD, ensure_ascii=False).encode("latin-1")
    assert read(200, latin, "application/json; charset=iso-8859-1") == GOOD
    with pytest.raises(UnusableAnswer, match="not UTF-8"):
        read(200, latin)


@pytest.mark.parametrize("charset", ["iso-8859-1", "undefined", "utf-7", "punycode", "idna", "hex", "None", '"utf8"'])
def test_json_is_utf_8_whatever_its_header_says(charset: str) -> None:
    sent = json.dumps(GOOD, ensure_ascii=False).encode()
    assert read(200, sent, f"application/json; charset={charset}") == GOOD


def test_a_cost_in_a_header_is_part_of_the_usage() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    assert read(200, {**GOOD, "usage": usage}, **{"x-litellm-response-cost": "0.0125"})["usage"] == {
        **usage, "cost": 0.0125,
    }  # fmt: skip
    assert read(200, {**GOOD, "usage": usage}, **{"x-litellm-response-cost": "None"})["usage"] == usage
    told = {**usage, "cost": 0.5}
    assert read(200, {**GOOD, "usage": told}, **{"x-litellm-response-cost": "0.0125"})["usage"] == told


def test_a_stream_of_events_adds_up() -> None:
    parts = [{"role": "assistant", "content": "a d"}, {"content": "og"}, {"content": None}]
    events = [{"id": "x", "choices": [{"index": 0, "delta": part, "finish_reason": None}]} for part in parts]
    events += [{"choices": [{"index": 1, "delta": {"content": "another"}, "finish_reason": "stop"}]}]
    events += [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]
    events += [{"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}]
    text = "".join(f": ping\n\ndata: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    answer = read(200, text.removeprefix(": ping\n\n").encode(), "text/event-stream")
    assert answer["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": "a dog"}, "finish_reason": "stop"}
    ]
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 2}
    assert read(200, text.encode(), "text/event-stream") == answer  # comments between the events
    assert read(201, text.replace("data:", "event: message\ndata:").encode()) == answer
    for broken in (b"data: {half\n\n", b": ping\n\n", b""):
        with pytest.raises(UnusableAnswer):
            read(200, broken, "text/event-stream")
    with pytest.raises(UnusableAnswer, match="overloaded"):
        read(200, b'data: {"error": {"message": "overloaded"}}\n\n', "text/event-stream")


def events(*parts: Any) -> bytes:
    return "".join(f"data: {json.dumps(part, ensure_ascii=False)}\n\n" for part in parts).encode()


@pytest.mark.parametrize(
    ("deltas", "said"),
    [
        ([{"content": "a\u2028d\x85og\u2029"}], "a\u2028d\x85og\u2029"),  # ends of lines to Python, none to a stream
        ([{"content": [{"type": "text", "text": "a "}, "d"]}, {"content": [{"text": "og"}, None, 5]}], "a dog"),
        ([{"tool_calls": [{"function": {"name": "json", "arguments": '{"a"'}}]},
          {"tool_calls": [{"function": {"arguments": ": 1}"}}, 3]}], '{"a": 1}'),
        ([3, "dog", None, {"content": 3}], ""),
    ],
)  # fmt: skip
def test_all_that_a_stream_says_is_read(deltas: list[Any], said: str) -> None:
    stream = events({"id": "x"}, *({"choices": [{"index": 0, "delta": delta}]} for delta in deltas))
    assert read(200, stream, "text/event-stream")["choices"][0]["message"]["content"] == said


@pytest.mark.parametrize("choices", [1, True, {"a": 1}, "text", 0.5, [None], [[]]])
def test_a_stream_with_odd_choices_says_nothing(choices: Any) -> None:
    answer = read(200, events({"id": "x", "choices": choices}), "text/event-stream")
    assert answer["choices"][0]["message"]["content"] == ""


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (429, error("x", code="insufficient_quota"), EndpointError, "no credit"),
        (429, error("The balance is used up.", type="insufficient_quota", code=None), EndpointError, "no credit"),
        (400, error("Budget has been exceeded!", type="budget_exceeded", code="400"), EndpointError, "no credit"),
        (402, error("Insufficient credits", code=402), EndpointError, "no credit"),
        (429, error("slow down"), RetryableError, "HTTP 429: slow down"),
        (503, error("Loading model", type="unavailable_error"), RetryableError, "Loading model"),
        (529, error("overloaded"), RetryableError, "HTTP 529"),
        (500, b"upstream connect error", RetryableError, "upstream connect error"),
        (401, error("Incorrect API key provided: " + KEY), ServerRefusal, "refuses the key"),
        (403, error("Country not supported"), ServerRefusal, "refuses access"),
        (403, b"<html>no access</html>", ServerRefusal, "through the proxy that P names"),
        (407, b"<html>who are you</html>", EndpointError, "proxy wants a name and a password"),
        (404, b"404 page not found", ServerRefusal, "404 page not found"),
        (308, b"", ServerRefusal, "a redirect"),
        (204, b"", ServerRefusal, "HTTP 204"),
        (400, [error("API key not valid.", status="INVALID_ARGUMENT")], ServerRefusal, "API key not valid"),
        (400, [error("Invalid JSON payload.", status="INVALID_ARGUMENT")], RequestRejected, "Invalid JSON payload"),
        (422, {"detail": [{"msg": "Field required"}]}, RequestRejected, "Field required"),
        (400, {"object": "error", "message": "maximum context length is 2048", "code": 400}, RequestRejected, "2048"),
        (400, b"bad", RequestRejected, "bad"),
    ],
)
def test_what_a_refusal_means(status: int, body: Any, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind) as caught:
        read(status, body)
    message = str(caught.value)
    assert type(caught.value) is kind and said in message
    assert "\n" not in message and KEY not in message and "api-version" not in message


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, error("The input was flagged", metadata={"reasons": ["sexual"]})),
        (400, error("The response was filtered due to the prompt triggering the content management policy.",
                    code="content_filter")),
        (400, error("Your request was rejected by our safety system.", code=None)),
        (400, error("x", code="content_policy_violation")),
    ],
)  # fmt: skip
def test_what_a_filter_refuses_is_one_text_s_affair(status: int, body: Any) -> None:
    with pytest.raises(RequestRejected) as caught:
        read(status, body)
    assert (caught.value.code, caught.value.sent) == ("content_filter", True)


def test_a_model_s_text_that_its_server_rejects_is_a_reply() -> None:
    failed = error("Failed to generate JSON.", code="json_validate_failed", failed_generation='{"text": "a dog"')
    assert read(400, failed)["choices"][0]["message"]["content"] == '{"text": "a dog"'
    with pytest.raises(RequestRejected):
        read(400, error("Failed to generate JSON.", failed_generation=""))


@pytest.mark.parametrize(
    ("words", "loading"),
    [("Loading model", True), ("Model stub/stub is currently loading", True), ("no healthy upstream", False)],
)
def test_a_server_that_is_loading_is_known(words: str, loading: bool) -> None:
    with pytest.raises(RetryableError) as caught:
        read(503, error(words))
    assert caught.value.loading is loading


@given(st.sampled_from([200, 204, 301, 400, 401, 403, 404, 422, 429, 500, 503]), st.binary(max_size=300))
def test_any_bytes_are_an_answer(status: int, content: bytes) -> None:
    try:
        answer = ANSWERS.read(status, {"Content-Type": "text/event-stream; charset=nonsense"}, content)
    except (DatagenError, RetryableError, UnusableAnswer) as error:
        assert "\n" not in str(error)
    else:
        assert answer["choices"]
