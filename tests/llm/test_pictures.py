"""Links of a server that draws, and how it is asked, without a server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen.llm.endpoint import Endpoint
from datagen.llm.pictures import spellings
from datagen.llm.pictures.links import Links, decoded
from datagen.llm.pictures.messages import Drawing
from datagen.llm.providers import UnusableAnswer

DRAWING = Drawing("a box", "blurry", 2**40 + 7, 20, 3.0, 512, 768)


def fetch(server: str, link: str) -> bytes:
    async def run() -> bytes:
        links = Links(Endpoint(server, "m", "key", timeout=2.0))
        try:
            return await links.fetch(link)
        finally:
            await links.close()

    return asyncio.run(run())


@pytest.mark.parametrize("server", ["https://images.example/v1", "http://10.0.0.5:8000/v1"])
@pytest.mark.parametrize(
    "link",
    [
        "http://127.0.0.1:9/x", "http://localhost:9/x", "http://[::1]:9/x", "http://0.0.0.0:9/x", "http://10.0.0.9/x",
        "http://192.168.1.1/x", "http://169.254.169.254/x", "http://[::ffff:127.0.0.1]:9/x", "http://224.0.0.1/x",
        "http://[fd00::1]/x", "ftp://127.0.0.1/x", "file:///etc/hostname", "gopher://127.0.0.1:9/_x", "javascript:1",
        "//127.0.0.1:9/x", "http://:80/x", "http://host:99999/x",
    ],
)  # fmt: skip
def test_no_link_leads_into_this_network(server: str, link: str) -> None:
    with pytest.raises(UnusableAnswer, match="no business|no http"):
        fetch(server, link)


@pytest.mark.parametrize("link", ["http://169.254.169.254/x", "http://192.168.1.1/x", "file:///etc/hostname"])
def test_a_server_on_this_machine_may_link_to_itself_alone(link: str) -> None:
    with pytest.raises(UnusableAnswer, match="no business|no http"):
        fetch("http://127.0.0.1:8000/v1", link)


@pytest.mark.parametrize(
    ("text", "data"),
    [("aGVsbG8=", b"hello"), ("aGVsbG8", b"hello"), ("aGVs\nbG8=\n", b"hello"), ("_-8=", b"\xff\xef"), ("", b"")],
)
def test_base64_is_read_as_servers_write_it(text: str, data: bytes) -> None:
    assert decoded(text) == data


@given(st.text())
def test_what_is_no_base64_is_said(text: str) -> None:
    try:
        assert isinstance(decoded(text), bytes)
    except UnusableAnswer as error:
        assert str(error) == "a picture that is no base64"


@pytest.mark.parametrize(
    ("words", "part", "then"),
    [
        ("Unknown parameter: 'seed'.", "seed", {"seed": None}),
        ("seed must be less than 4294967296", "seed", {"seed": 7}),
        ("Argument not supported: size", "size", {"width": 512, "height": 768, "size": None}),
        ("Invalid value: '512x768'. Supported values are: '1024x1024' (param: size)", "size", None),
        ("'512x768' is not one of ['1024x1024'] - 'size'", "size", None),
        ('[{"type":"extra_forbidden","loc":["body","negative_prompt"],"msg":"Extra inputs are not permitted"}]',
         "negative prompt", {"negative_prompt": None}),
        ("num_inference_steps: Input should be less than or equal to 12", "steps", None),
        ("unrecognized field num_inference_steps", "steps", {"steps": 20, "num_inference_steps": None}),
        ("unexpected keyword guidance_scale", "guidance", {"cfg_scale": 3.0}),
        ("response_format must be one of url, base64", "form", {"response_format": "base64"}),
        ("Unknown parameter: 'response_format'.", "form", {"response_format": None}),
        ("Your prompt is too long", "", {}),
        ("negative_prompt is too long", "", {}),
    ],
)  # fmt: skip
def test_a_rejection_teaches_how_to_ask(words: str, part: str, then: dict[str, Any] | None) -> None:
    known = spellings.Spellings("flat")
    found, lesson = known.learn(words.lower(), known.body(DRAWING))
    assert (found, bool(lesson)) == (part, bool(then)) and known.lessons == bool(then)
    body = known.body(DRAWING)
    assert {name: body.get(name) for name in then or {}} == (then or {})


def test_what_the_user_says_is_not_said_once_more() -> None:
    body = spellings.Spellings("flat", ["steps", "size", "output_format"]).body(DRAWING)
    assert body.keys() == {"seed", "negative_prompt", "guidance_scale", "response_format"}
