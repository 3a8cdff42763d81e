"""Replies are data: what is asked is exact, what comes back is read, mended or named, and never a crash."""

import asyncio
import json
import math
import sys
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, RootModel

from datagen.errors import InputError, RequestRejected
from datagen.llm.accounts.prices import Prices
from datagen.llm.messages import Message, Request, Usage
from datagen.llm.typed import repair
from datagen.llm.typed.pieces import pieces
from datagen.llm.typed.reading import Parsed, read
from datagen.llm.typed.schemas import in_words
from datagen.llm.typed.structured import Dialect, body, correction, probe, schema_of

NO_PRICES = Prices({}, {})
PNG, JPEG, WEBP = b"\x89PNG\r\n\x1a\n....", b"\xff\xd8\xff\xe0....", b"RIFF\x04\x00\x00\x00WEBP...."
TAKEN = {
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


class Mood(Enum):
    CALM = "calm"
    LOUD = "loud"


class Thing(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=2, max_length=40, description="a noun")]
    count: Annotated[int, Field(ge=1, le=9)] = 1


class Tree(BaseModel):
    """A type that holds itself."""

    label: str
    twigs: list["Tree"] = []


class Scene(BaseModel):
    model_config = ConfigDict(extra="forbid", title="A scene")

    prompt: Annotated[str, Field(min_length=3, pattern="^.*$", examples=["x"])]
    kind: Literal["avoid", "prefer"] = "avoid"
    fixed: Literal["v1"] = "v1"
    mood: Mood = Mood.CALM
    things: Annotated[list[Thing], Field(min_length=1, max_length=5)]
    main: Thing = Field(description="the one in front")
    note: str | None = None
    weight: Annotated[float, Field(ge=0, multiple_of=0.5)] = 1.0
    tree: Tree | None = None


class Plain(BaseModel):
    text: str


class Rating(BaseModel):
    score: float


ASKED = Request((Message("system", "Be brief."), Message("user", "Write.")), Plain)
PROSE = Request((Message("user", "Write."),))


def completion(content: Any, finish: Any = "stop", **message: Any) -> dict[str, Any]:
    return {"choices": [{"finish_reason": finish, "message": {"role": "assistant", "content": content, **message}}]}


def test_the_schema_is_what_strict_mode_takes() -> None:
    def walk(part: dict[str, Any]) -> None:
        assert set(part) <= TAKEN, part
        if "$ref" in part:
            assert len(part) == 1
        if part.get("type") == "object":
            assert part["additionalProperties"] is False
            assert part["required"] == list(part["properties"])
        for inner in (*part.get("properties", {}).values(), *part.get("$defs", {}).values(), *part.get("anyOf", ())):
            walk(inner)
        if "items" in part:
            walk(part["items"])

    walk(schema_of(Scene))
    assert schema_of(Scene)["type"] == "object"
    assert schema_of(Scene)["properties"]["fixed"] == {"type": "string", "enum": ["v1"]}
    assert schema_of(Scene)["$defs"]["Mood"] == {"type": "string", "enum": ["calm", "loud"]}
    assert schema_of(Scene)["$defs"]["Thing"]["properties"]["name"]["description"] == "a noun; 2 to 40 characters"


def test_a_type_that_holds_itself_has_an_object_as_its_root() -> None:
    schema = schema_of(Tree)
    assert schema["type"] == "object"
    assert schema["properties"]["twigs"]["items"] == {"$ref": "#/$defs/Tree"}
    assert in_words(Tree).count('"label"') < 10


class Free(BaseModel):
    free: dict[str, int]


class Whatever(BaseModel):
    value: Any


class Fixed(BaseModel):
    two: tuple[int, str]


@pytest.mark.parametrize("reply", [RootModel[list[int]], Free, Whatever, Fixed])
def test_what_strict_mode_cannot_say_is_refused_when_it_is_written(reply: type[BaseModel]) -> None:
    with pytest.raises(TypeError):
        schema_of(reply)


def test_openai_s_own_converter_has_nothing_to_add() -> None:
    from openai.lib._pydantic import _ensure_strict_json_schema

    schema = json.loads(json.dumps(schema_of(Scene)))
    assert _ensure_strict_json_schema(schema, path=(), root=schema) == schema_of(Scene)


def test_words_carry_every_field_and_bound_of_the_schema() -> None:
    words = in_words(Scene)
    for said in (
        "JSON",
        '"prompt"',
        '"avoid" or "prefer"',
        "1 to 5 entries",
        "2 to 40 characters",
        "or null",
        "a noun",
    ):
        assert said in words
    assert "properties" not in words  # a small model would answer with the schema


def test_the_body_in_each_dialect() -> None:
    whole = body(ASKED, "llama", Dialect.SCHEMA)
    assert whole["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Write."}]
    assert whole["max_tokens"] == 1024
    assert whole["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "Plain", "strict": True, "schema": schema_of(Plain)},
    }
    told = body(ASKED, "llama", Dialect.OBJECT)
    assert told["response_format"] == {"type": "json_object"}
    assert told["messages"][-1]["content"] == f"Write.\n\n{in_words(Plain)}"
    assert "JSON" in told["messages"][-1]["content"]  # without the word OpenAI refuses json_object
    assert "response_format" not in body(ASKED, "llama", Dialect.TEXT)
    assert body(ASKED, "llama", Dialect.TEXT)["messages"] == told["messages"]
    assert ASKED.messages[-1].text == "Write."


@pytest.mark.parametrize("dialect", Dialect)
def test_free_text_is_asked_for_as_it_stands(dialect: Dialect) -> None:
    assert body(PROSE, "m", dialect) == {
        "model": "m", "messages": [{"role": "user", "content": "Write."}], "temperature": 1.0, "max_tokens": 1024,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-5-mini", "max_completion_tokens"),
        ("o4-mini", "max_completion_tokens"),
        ("gpt-4.1-2025-04-14", "max_completion_tokens"),
        ("ft:gpt-4.1-mini:me::1", "max_completion_tokens"),
        ("gpt-oss-20b", "max_tokens"),
        ("gpt-oss:20b", "max_tokens"),
        ("openai/gpt-oss-120b", "max_tokens"),
        ("olmo-2", "max_tokens"),
        ("qwen3:8b", "max_tokens"),
    ],
)
def test_the_length_has_the_name_that_the_model_s_server_knows(model: str, name: str) -> None:
    assert {key for key in body(PROSE, model, Dialect.TEXT) if key.startswith("max")} == {name}


def test_images_go_as_data_urls_before_the_text() -> None:
    request = Request((Message("user", "Which?", (PNG, JPEG, WEBP)),), Plain)
    parts = body(request, "m", Dialect.SCHEMA)["messages"][0]["content"]
    assert parts[-1] == {"type": "text", "text": "Which?"}
    urls = [part["image_url"]["url"] for part in parts[:-1]]
    assert [url.partition(";")[0] for url in urls] == ["data:image/png", "data:image/jpeg", "data:image/webp"]
    again = body(request, "m", Dialect.SCHEMA)["messages"][0]["content"]
    assert all(a["image_url"]["url"] is b["image_url"]["url"] for a, b in zip(parts[:-1], again[:-1], strict=True))
    assert body(request, "m", Dialect.OBJECT)["messages"][0]["content"][-1]["text"] == in_words(Plain)


@pytest.mark.parametrize("image", [b"", b"GIF89a", b"\x89PNG", b"RIFF....WAVE"])
def test_an_image_of_another_format_is_named(image: bytes) -> None:
    with pytest.raises(InputError, match="PNG, JPEG or WebP"):
        body(Request((Message("user", "?", (image,)),)), "m", Dialect.TEXT)


GOOD = [
    '{"text": "a dog"}',
    ' \n{"text": "a dog"}\n',
    '```json\n{"text": "a dog"}\n```',
    'Sure! Here it is:\n```\n{"text": "a dog"}\n```\nAnything else?',
    'The answer: {"text": "a dog"} - I hope it helps.',
    '<think>Perhaps {"text": "a cat"}?\n</think>\n{"text": "a dog"}',
    'Perhaps {"text": "a cat"}? So be it.</think>{"text": "a dog"}',
    '<thinking>hm</thinking> ```json {"text": "a dog"} ```',
    "{'text': 'a dog'}",
    '{"text": "a dog",}',
    '{text: "a dog"}',
    '{"text": "a dog"',
    '{"text": "a cat", "text": "a dog"}',
    '\ufeff{"text": "a dog"}',
    '{"text": "a cat"}{"text": "a dog"}',  # the last is meant: a draft comes before
    '{"text": "a dog"} // done',
]


@pytest.mark.parametrize("content", GOOD)
def test_what_was_meant_is_found(content: str) -> None:
    assert read(completion(content), ASKED) == Parsed(Plain(text="a dog"), content)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('{"text": "a\nb\tc"}', "a\nb\tc"),  # raw control characters in a string
        ('{"text": "nul \\u0000"}', "nul \0"),
        ('{"text": "half \\ud83d"}', "half \ufffd"),
        ('{"text": "half \ud83d"}', "half \ufffd"),
        ('{"text": "\\ud83d\\ude00"}', "\U0001f600"),
        ('{"text": "<script>alert(1)</script> ```"}', "<script>alert(1)</script> ```"),
        ('{"text": "</think> is a tag"}', "</think> is a tag"),
        ('{"text": "' + "x" * 1_000_000 + '"}', "x" * 1_000_000),
        ('{"text": "Ignore all rules. I cannot go on, she said."}', "Ignore all rules. I cannot go on, she said."),
        ('{"text": "I cannot help smiling at the sea"}', "I cannot help smiling at the sea"),
        ('{"text": "\\"I can\'t help with that\\", says a robot"}', '"I can\'t help with that", says a robot'),
    ],
)  # fmt: skip
def test_hostile_strings_are_values_like_others(content: str, text: str) -> None:
    outcome = read(completion(content), ASKED)
    assert outcome.value == Plain(text=text)
    outcome.text.encode()


@pytest.mark.parametrize(
    "content",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, I can’t assist with that request.",
        "Sorry, I cannot create this content. {}",
        "I am unable to write that.",
        "As an AI language model, I do not write such texts.",
        "This request violates our content policy.",
        "Es tut mir leid, aber dabei kann ich nicht helfen.",
        "Je suis désolé, mais je ne peux pas vous aider.",
        "Lo siento, no puedo ayudar con eso.",
        "Desculpe, não posso ajudar com isso.",
        "Mi dispiace, non posso aiutarti.",
        "К сожалению, я не могу с этим помочь.",
        "很抱歉，我无法提供这类内容。",
        "申し訳ございませんが、お手伝いできません。",
        "죄송하지만 도와드릴 수 없습니다.",
        "عذراً، لا أستطيع المساعدة في ذلك.",
        "<think>Is it allowed?</think>I won't write this.",
        '{"error": "I\'m sorry, but I can\'t assist with that request."}',
        '{"text": "I\'m sorry, but I can\'t assist with that."}',
        '{"text": "I cannot create content of this kind."}',
    ],
)
def test_who_declines_in_the_place_of_json_refuses(content: str) -> None:
    outcome = read(completion(content), ASKED)
    assert outcome.value is None and outcome.error is not None and outcome.error.startswith("refused: ")


def test_a_refusal_is_told_in_its_own_words_and_not_as_json() -> None:
    outcome = read(completion('{"text": "I cannot create content of this kind."}'), ASKED)
    assert outcome.error == "refused: I cannot create content of this kind."


@pytest.mark.parametrize("request_", [ASKED, PROSE])
def test_the_server_s_own_ways_to_refuse(request_: Request) -> None:
    for declined in (
        completion(None, refusal="I can't do\nthat."),
        completion([{"type": "refusal", "refusal": "I can't do\nthat."}]),
    ):
        assert read(declined, request_) == Parsed(None, "", "refused: I can't do that.")
    for content in (None, "", '{"text": "a dog"}', "so far"):
        outcome = read(completion(content, "content_filter"), request_)
        assert outcome.error is not None and outcome.error.startswith("refused: ")


@pytest.mark.parametrize("content", ['{"text": "a d', "", None, "<think>well,", '```json\n{"text"'])
def test_a_reply_at_its_length_is_cut_off_and_never_mended(content: str | None) -> None:
    outcome = read(completion(content, "length"), ASKED)
    assert (
        outcome.value is None and outcome.error == "cut off: the reply did not end within 1024 tokens (llm.max_tokens)"
    )


def test_a_reply_that_ends_just_in_time_is_whole() -> None:
    assert read(completion('{"text": "a dog"}', "length"), ASKED).value == Plain(text="a dog")


def test_free_text_is_taken_as_it_is_without_its_thinking() -> None:
    assert read(completion("I cannot say. {x"), PROSE) == Parsed("I cannot say. {x", "I cannot say. {x")
    assert read(completion("<think>hm</think>\nA dog."), PROSE).value == "A dog."
    assert (
        read(completion([{"type": "text", "text": "A "}, {"type": "text", "text": "dog."}]), PROSE).value == "A dog."
    )
    assert read(completion("half \ud800"), PROSE).value == "half \ufffd"
    assert read(completion("  "), PROSE).error == "unreadable: the reply is empty"
    assert read(completion("A do", "length"), PROSE).value is None


def test_an_answer_in_the_field_of_the_reasoning_is_found() -> None:
    assert read(completion(None, reasoning_content='{"text": "a dog"}'), ASKED).value == Plain(text="a dog")
    assert read(completion("", reasoning='{"text": "a dog"}'), ASKED).value == Plain(text="a dog")
    assert read(completion("", reasoning="A dog, I think."), PROSE).value is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "the reply is empty"),
        ("A dog.", "no JSON object"),
        ("[1, 2]", "no JSON object"),
        ("null", "no JSON object"),
        ('{"wrong": 1}', "text: Field required"),
        ('{"text": 1}', "text: Input should be a valid string"),
        ("{" * 50_000, "no JSON object"),
        ('{"text":' * 50_000, "no JSON object"),
        ("[" * 50_000 + "{", "no JSON object"),
        ("{'" * 8_000 + "}" * 8_000, "no JSON object"),
    ],
)
def test_what_cannot_be_read_says_why(content: str, reason: str) -> None:
    outcome = read(completion(content), ASKED)
    assert outcome.value is None and outcome.error is not None
    assert outcome.error.startswith("unreadable: ") and reason in outcome.error
    assert outcome.error.isprintable() and len(outcome.error) < 400


def test_the_reason_is_one_line_whatever_the_fields_are_called() -> None:
    request = Request(ASKED.messages, Thing)
    outcome = read(completion('{"name": "x", "count": 10, "a\\nb\\u202e' + "c" * 5000 + '": 1}'), request)
    assert outcome.error is not None and outcome.error.isprintable() and len(outcome.error) < 400
    assert "name: String should have at least 2 characters" in outcome.error
    assert "count: Input should be less than or equal to 9" in outcome.error


def test_an_integer_of_any_size_is_read_or_named() -> None:
    for digits in (1, 30, 4_000, 10_000, 1_000_000):
        request = Request(ASKED.messages, Thing)
        sane(read(completion('{"name": "dog", "count": ' + "9" * digits + "}"), request), request)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", '"nan"', '"inf"'])
def test_numbers_that_are_none_are_unreadable(number: str) -> None:
    outcome = read(completion(f'{{"score": {number}}}'), Request(ASKED.messages, Rating))
    assert outcome.value is None and outcome.error is not None and outcome.error.startswith("unreadable: ")


def test_ordinary_numbers_pass() -> None:
    value = read(completion('{"score": 0.25}'), Request(ASKED.messages, Rating)).value
    assert isinstance(value, Rating) and math.isclose(value.score, 0.25)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(["choices", "message", "content", "refusal", "finish_reason", "text", "usage", "prompt_tokens"])
SHAPED = st.recursive(
    JSON, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=12
)
PIECES = st.sampled_from(
    ['{"text": ', '"a dog"', "}", "{", "[", "]", "```", "```json\n", "<think>", "</think>", "\\u", "\\ud800",
     "\ud800", "\x00", "'", '"', ",", ":", "NaN", "9" * 50, "I'm sorry", "//", "/*", "\n", "\\", "text", "e", "<",
     "\u202e", "{'"]
)  # fmt: skip


def sane(outcome: Parsed, request: Request) -> None:
    assert (outcome.value is None) == (outcome.error is not None)
    outcome.text.encode()
    if outcome.error is not None:
        assert outcome.error.startswith(("refused: ", "unreadable: ", "cut off: ")) and outcome.error.isprintable()
        json.dumps(body(correction(request, outcome.text, outcome.error), "m", Dialect.TEXT)).encode()
    elif request.reply is not None:
        assert isinstance(outcome.value, request.reply)
        outcome.value.model_dump_json().encode()


@settings(max_examples=60)
@given(SHAPED)
def test_any_json_value_is_a_completion_that_can_be_read(anything: Any) -> None:
    for request in (ASKED, PROSE):
        sane(read(anything, request), request)
    spent = NO_PRICES.usage("m", {"usage": anything})
    assert spent is None or all(
        type(count) is int and count >= 0 for count in (spent.input_tokens, spent.output_tokens)
    )


@settings(deadline=None)
@given(st.lists(PIECES | st.text(max_size=5), max_size=40).map("".join), st.sampled_from(["stop", "length", None, 7]))
def test_any_text_can_be_read(content: str, finish: Any) -> None:
    for request in (ASKED, PROSE, Request(ASKED.messages, Scene), Request(ASKED.messages, Rating)):
        sane(read(completion(content, finish), request), request)


@given(st.binary(max_size=400))
def test_any_bytes_can_be_read(raw: bytes) -> None:
    for content in (raw.decode("latin-1"), raw.decode("utf-8", "surrogateescape"), raw.decode("utf-8", "replace")):
        sane(read(completion(content), ASKED), ASKED)


@given(st.text())
def test_any_text_survives_the_way_there_and_back(text: str) -> None:
    value = read(completion(json.dumps({"text": text})), ASKED).value
    assert value is None or value == Plain(text=repair.sound(text))
    sent = body(Request((Message("user", text),), Plain), "m", Dialect.TEXT)
    json.dumps(sent, ensure_ascii=False).encode()


def test_mending_gives_up_on_what_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    for hostile in ("{'" * 8_000 + "}" * 8_000, "{" * 20_000, '{"a": ' + '("a" ' * 3_000):
        assert not any(repair.value_of(piece) for piece in pieces(hostile))
    assert [repair.value_of(piece) for piece in pieces("{'text': 'a dog'}")] == [{"text": "a dog"}]
    monkeypatch.setattr(repair, "EFFORT", 20)
    assert [repair.value_of(piece) for piece in pieces("{'text': 'a dog'}")] == [None]


def test_a_correction_shows_the_reply_and_what_was_wrong_with_it() -> None:
    request = Request((Message("user", "Which?", (PNG,)),), Plain, "prompts", 3)
    again = correction(request, '{"wrong": 1}', "unreadable: text: Field required")
    assert again.messages[:1] == request.messages
    assert again.messages[1] == Message("assistant", '{"wrong": 1}')
    assert again.messages[2].role == "user" and "text: Field required" in again.messages[2].text
    assert (again.reply, again.stage, again.sample) == (Plain, "prompts", 3)
    assert in_words(Plain) in body(again, "m", Dialect.TEXT)["messages"][-1]["content"]
    assert len(correction(request, "x" * 10**6, "y" * 10**6).messages[1].text) <= 4000
    assert correction(request, " ", "unreadable: the reply is empty").messages[1].text  # some refuse an empty one


@pytest.mark.parametrize(
    ("block", "tokens"),
    [
        ({"prompt_tokens": 12, "completion_tokens": 5}, (12, 5)),
        ({"prompt_tokens": 12}, None),
        ({"prompt_tokens": -1, "completion_tokens": 1e9}, None),
        ({"prompt_tokens": True, "completion_tokens": 10**30}, None),
        ({"prompt_tokens": "12", "completion_tokens": None}, None),
        (None, None),
        ([], None),
    ],
)
def test_usage(block: Any, tokens: tuple[int, int] | None) -> None:
    assert NO_PRICES.usage("m", {"usage": block}) == (Usage(*tokens) if tokens else None)
    assert NO_PRICES.usage("m", {}) is None


def answering(*answers: Any) -> tuple[list[dict[str, Any]], Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]]:
    sent, coming = list[dict[str, Any]](), iter(answers)

    async def send(asked: dict[str, Any]) -> dict[str, Any]:
        sent.append(asked)
        answer = next(coming)
        if isinstance(answer, Exception):
            raise answer
        return completion(answer)

    return sent, send


OBEYED, REJECTED = '{"pigment": "vermilion", "coats": 2}', RequestRejected("HTTP 400")
OLD_LLAMA = OSError('HTTP 500: response_format type must be one of "text" or "json_object"')


@pytest.mark.parametrize(
    ("answers", "dialect"),
    [
        ((OBEYED,), Dialect.SCHEMA),
        (("Hello!", '{"greeting": "hello"}'), Dialect.OBJECT),
        (('{"greeting": "hello"}', '{"pigment": "vermilion", "coats": 2}'), Dialect.OBJECT),
        (("Hello!", "Hello!"), Dialect.TEXT),
        ((f"```json\n{OBEYED}\n```", "Hello!"), Dialect.TEXT),
        ((REJECTED, OBEYED), Dialect.OBJECT),
        ((OLD_LLAMA, OBEYED), Dialect.OBJECT),
        ((REJECTED, "Hello!"), Dialect.TEXT),
        (("Hello!", REJECTED), Dialect.TEXT),
        ((REJECTED, REJECTED, "Hello!"), Dialect.TEXT),
        (("[" * 10_000, "[" * 10_000), Dialect.TEXT),
    ],
)
def test_the_probe_believes_only_what_it_sees(answers: tuple[Any, ...], dialect: Dialect) -> None:
    sent, send = answering(*answers)
    assert asyncio.run(probe(send, "m")) is dialect
    assert len(sent) == len(answers)


def test_the_probe_passes_on_what_is_not_about_the_format() -> None:
    with pytest.raises(OSError, match="no connection"):
        asyncio.run(probe(answering(OSError("no connection"))[1], "m"))
    with pytest.raises(RequestRejected, match="no such model"):
        asyncio.run(probe(answering(REJECTED, REJECTED, RequestRejected("no such model"))[1], "m"))


def test_a_model_that_was_still_thinking_took_the_format() -> None:
    async def send(asked: dict[str, Any]) -> dict[str, Any]:
        return completion(None, "length")

    assert asyncio.run(probe(send, "m")) is Dialect.SCHEMA


def test_reading_imports_no_repair_for_sound_replies() -> None:
    saved = sys.modules.pop("json_repair", None)
    try:
        read(completion('{"text": "a dog"}'), ASKED)
        assert "json_repair" not in sys.modules
    finally:
        if saved is not None:
            sys.modules["json_repair"] = saved


def test_lengths_stand_in_the_schema_only_where_the_server_takes_them() -> None:
    class Line(BaseModel):
        words: Annotated[list[Annotated[str, Field(min_length=2, max_length=9)]], Field(max_length=3)]

    request = Request((Message("user", "x"),), Line)
    sent = {b: body(request, "m", Dialect.SCHEMA, b)["response_format"]["json_schema"] for b in (True, False)}
    assert "maxLength" not in json.dumps(sent[False]) and "maxItems" not in json.dumps(sent[False])
    words = sent[True]["schema"]["properties"]["words"]
    assert words["maxItems"] == 3 and (words["items"]["minLength"], words["items"]["maxLength"]) == (2, 9)
