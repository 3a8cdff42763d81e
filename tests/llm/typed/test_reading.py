"""Replies in the forms that models give them: which of several objects is meant, what breaks off, what matters not."""

from __future__ import annotations

import json
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from datagen.llm.messages import Message, Request
from datagen.llm.typed.looseness import INDEPENDENT
from datagen.llm.typed.reading import Parsed, read


class Row(BaseModel):
    model_config = ConfigDict(extra="forbid")

    prompt: str = Field(min_length=3, max_length=60)
    chosen: str = Field(min_length=3, max_length=60)
    chosen_negative: str = Field(max_length=40)


class Scenes(BaseModel):
    model_config = ConfigDict(extra="forbid")

    scenes: Annotated[
        list[Annotated[str, Field(max_length=20)]], Field(min_length=1, max_length=4, json_schema_extra=INDEPENDENT)
    ]


class Answers(BaseModel):
    """A list whose entries stand for something by their places."""

    answers: list[Annotated[str, Field(max_length=3)]] = Field(max_length=2)


FINAL = {"prompt": 'a dog, "Rex", on a hill\'s top', "chosen": "a dog, sitting", "chosen_negative": ""}
DRAFT = {"prompt": "a dog, poor draft", "chosen": "a dog, poor draft", "chosen_negative": "poor"}
TEXT, DRAFTED = json.dumps(FINAL), json.dumps(DRAFT)
ROW = Request((Message("user", "?"),), Row)


def of(content: Any, reply: type[BaseModel] = Row, finish: Any = "stop", **message: Any) -> Parsed:
    choice = {"message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
    return read({"choices": [choice]}, Request((Message("user", "?"),), reply))


@pytest.mark.parametrize(
    "content",
    [
        f"[THINK]A draft: {DRAFTED} Better now.[/THINK]{TEXT}",
        f"[think]\n{DRAFTED}\n[/think]\n```json\n{TEXT}\n```",
        f"<THINK>{DRAFTED}</THINK>{TEXT}",
        f"<Thinking>\n{DRAFTED}\n</Thinking>\n\n{TEXT}",
        f"<|begin_of_thought|>{DRAFTED}<|end_of_thought|>{TEXT}",
        f"◁think▷{DRAFTED}◁/think▷{TEXT}",
        f"<seed:think>{DRAFTED}</seed:think>{TEXT}",
        f"<reasoning>{DRAFTED}</reasoning><answer>{TEXT}</answer>",
        f"{DRAFTED} is a start.</think>{TEXT}",
        f"<|channel|>analysis<|message|>A draft: {DRAFTED}<|end|><|start|>assistant<|channel|>final<|message|>{TEXT}",
        f"<|channel|>analysis<|message|>{DRAFTED}<|end|><|channel|>final <|constrain|>json<|message|>{TEXT}<|return|>",
        f"analysisWe draft {DRAFTED} first.assistantfinal{TEXT}",
        f"A first draft:\n{DRAFTED}\n\nAnd the final version:\n{TEXT}",
        f"```json\n{DRAFTED}\n```\nOn reflection:\n```json\n{TEXT}\n```\nLet me know if you need {{anything}} else.",
        f"Draft: {DRAFTED}, final: {TEXT[:-1]},}}",  # the last one is meant, also if it must be repaired
        f"<think>\nThe user wants a description, so I give it.\n{TEXT}",  # never closed, and the answer ends the reply
        f"[1] {DRAFTED}\n[2] {TEXT}",
        f"Sure [a dog]: {TEXT}",
    ],
)
def test_of_several_objects_the_last_is_meant(content: str) -> None:
    outcome = of(content)
    assert outcome.value == Row(**FINAL), outcome.error


@pytest.mark.parametrize(
    "content",
    [
        f"<think>Perhaps {TEXT}? Or rather",
        f"[THINK]{TEXT} but no, better",
        f"<|channel|>analysis<|message|>{TEXT} so I",
        f"A draft: {DRAFTED}\nFinal: " + '{"prompt": "a dog", "chosen": 3, "chosen_negative": ""}',
        f"A draft: {DRAFTED}\nFinal: " + '{"prompt": "a dog", "chosen": "a dog si',
    ],
)
def test_a_draft_is_no_answer(content: str) -> None:
    outcome = of(content)
    assert outcome.value is None and str(outcome.error).startswith(("unreadable: ", "cut off: "))


@pytest.mark.parametrize("lead", ["", "Here it is:\n", "```json\n", "<think>hm</think>"])
def test_a_reply_that_ends_inside_a_text_is_cut_off_wherever_it_ends(lead: str) -> None:
    whole = json.dumps(FINAL | {"chosen_negative": "blurred, dark"})
    for end in range(2, len(whole)):
        outcome = of(lead + whole[:end])
        if outcome.value is not None:  # nothing but the last bracket is missing
            assert end == len(whole) - 1 and outcome.value == Row(**FINAL | {"chosen_negative": "blurred, dark"})
        else:
            assert str(outcome.error).startswith(("cut off: ", "unreadable: "))
    assert str(of(lead + whole[: whole.index("sitting") + 3]).error).startswith("cut off: ")


def test_what_lacks_its_last_brackets_alone_is_read_as_it_stands() -> None:
    text = "\f tab\t \"quoted\" \u00e9, 'and' \\ so"
    for content in (json.dumps({"scenes": [text[:20]]})[:-1], json.dumps({"scenes": [text[:20]]})[:-2]):
        assert of(content, Scenes).value == Scenes(scenes=[text[:20]])
    whole = json.dumps({**FINAL, "chosen": text})
    for content in (whole[:-1], f"```json\n{whole[:-1]}\n```", json.dumps({"response": FINAL})[:-2]):
        assert isinstance(of(content).value, Row)


@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=4), st.data())
def test_no_half_text_is_ever_taken(scenes: list[str], data: st.DataObject) -> None:
    whole = json.dumps({"scenes": scenes}, ensure_ascii=data.draw(st.booleans()))
    outcome = of(whole[: data.draw(st.integers(0, len(whole) - 1))], Scenes)
    if isinstance(outcome.value, Scenes):
        sound = [scene.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for scene in scenes]
        assert outcome.value.scenes == sound[: len(outcome.value.scenes)]


@pytest.mark.parametrize("finish", ["length", "MAX_TOKENS", "model_length"])
def test_a_server_s_word_for_a_cut_is_known(finish: str) -> None:
    assert str(of('{"prompt": "a dog"', finish=finish).error).startswith("cut off: ")


@pytest.mark.parametrize("finish", ["content_filter", "SAFETY", "RECITATION", "PROHIBITED_CONTENT"])
def test_a_server_s_word_for_its_filter_is_known(finish: str) -> None:
    assert str(of(TEXT, finish=finish).error).startswith("refused: ")


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({**FINAL, "chosen_negative": None}),
        json.dumps({**FINAL, "chosen_negative": []}),
        json.dumps({**FINAL, "notes": "kept short", "confidence": 0.9}),
        json.dumps({**FINAL, "chosen": [FINAL["chosen"]]}),
        json.dumps({**FINAL, "prompt": {"text": FINAL["prompt"]}}),
        json.dumps({"response": FINAL}),
        json.dumps({"result": {"output": FINAL}}),
        json.dumps({"response": {**FINAL, "notes": "x"}, "status": "ok"}),
        json.dumps([FINAL]),
        json.dumps({name.title(): text for name, text in FINAL.items()}),
        json.dumps({name.replace("_", " ").upper(): text for name, text in FINAL.items()}),
        json.dumps({"Prompt": FINAL["prompt"], "chosen": FINAL["chosen"], "chosen-negative": ""}),
        json.dumps(json.dumps(FINAL)),
        repr(FINAL),
        TEXT.replace("}", ",}"),
        TEXT.replace("{", "{ // the model's answer\n", 1),
    ],
)
def test_what_can_be_meant_in_one_way_alone_is_read(content: str) -> None:
    outcome = of(content)
    assert outcome.value == Row(**FINAL), outcome.error


def test_an_object_in_the_place_of_its_text_is_the_answer() -> None:
    assert of(FINAL).value == Row(**FINAL)
    assert of({"response": FINAL}).value == Row(**FINAL)
    assert (of({"mood": "fine"}).error or "").startswith("unreadable: ")
    assert of({"type": "text", "text": TEXT}).value == Row(**FINAL)


def test_the_arguments_of_a_tool_call_are_the_answer() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "json", "arguments": TEXT}}
    assert of(None, tool_calls=[call], finish="tool_calls").value == Row(**FINAL)
    assert of("", function_call={"name": "json", "arguments": FINAL}).value == Row(**FINAL)
    assert read({"choices": [{"text": TEXT, "finish_reason": "stop"}]}, ROW).value == Row(**FINAL)
    assert of([TEXT]).value == Row(**FINAL)


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"draft": DRAFT, "final": FINAL}),  # which of them?
        json.dumps([DRAFT, FINAL]),
        json.dumps({**FINAL, "Prompt": "another dog"}),
        json.dumps({"Prompt": "a dog", "PROMPT": "a cat", "chosen": "a dog", "chosen_negative": ""}),
        json.dumps({**FINAL, "chosen": None}),  # a text that must say something
        json.dumps({**FINAL, "chosen": ["a dog", "sitting"]}),
        json.dumps({"prompt": "a dog", "chosen": "a dog, sitting"}),  # a field that is missing may have been cut off
    ],
)
def test_what_may_mean_two_things_is_unreadable(content: str) -> None:
    outcome = of(content)
    assert outcome.value is None and str(outcome.error).startswith("unreadable: ")


@pytest.mark.parametrize(
    ("scenes", "kept", "left_out"),
    [
        (["a dog", "x" * 21, "a cat"], ["a dog", "a cat"], 1),
        (["a dog", 7, None, "a cat"], ["a dog", "a cat"], 2),
        (["a", "b", "c", "d", "e", "f"], ["a", "b", "c", "d"], 2),
        (["x" * 21, "a", "b", "c", "d", "e"], ["a", "b", "c", "d"], 2),
    ],
)
def test_unusable_entries_of_independent_ones_are_left_out_and_counted(
    scenes: list[Any], kept: list[str], left_out: int
) -> None:
    for content in (json.dumps({"scenes": scenes}), json.dumps(scenes), json.dumps({"data": {"scenes": scenes}})):
        outcome = of(content, Scenes)
        assert (outcome.value, outcome.left_out) == (Scenes(scenes=kept), left_out), outcome.error


@pytest.mark.parametrize(
    "scenes", [{"1": "a dog", "2": "a cat"}, [{"scene": "a dog"}, {"scene": "a cat"}], [["a dog"], ["a cat"]]]
)
def test_a_list_in_another_form_is_read(scenes: Any) -> None:
    assert of(json.dumps({"scenes": scenes}), Scenes).value == Scenes(scenes=["a dog", "a cat"])


def test_where_no_entry_is_usable_there_is_no_reply() -> None:
    assert of(json.dumps({"scenes": ["x" * 21, "y" * 21]}), Scenes).value is None


def test_entries_that_stand_for_their_places_are_never_left_out() -> None:
    for answers in (["yes", "perhaps"], ["yes", "no", "yes"]):
        assert of(json.dumps({"answers": answers}), Answers).value is None


def test_a_thought_is_no_free_text() -> None:
    request = Request((Message("user", "?"),))
    for content, value in (("[THINK]hm[/THINK]A dog.", "A dog."), ("<THOUGHT>A dog, I think", None)):
        assert read({"choices": [{"message": {"content": content}}]}, request).value == value
