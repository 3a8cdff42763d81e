"""Judges as a service: the shape of requests and replies, batches, and that no number stands for what failed."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer
from PIL import Image

from datagen import judges
from datagen.commands.serve import Options, app, batches, serve
from datagen.errors import InputError, ModelError
from datagen.recipe import JudgeChoice

ROOT = Path(__file__).parents[3]


class Brightness:
    """The mean of a picture; NaN of a black one, and a fault where the text says so."""

    name, version, scale = "brightness", "1", 1.0
    facts = judges.Facts(code_license="Apache-2.0", reads_text=True)

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def score(self, images: Any, prompts: Any) -> judges.Scores:
        self.sizes.append(len(images))
        if "fail" in prompts:
            raise ZeroDivisionError("as the text says")
        values = np.array([np.asarray(image).mean() for image in images])
        return np.where(values == 0, np.nan, values)


class Colours:
    """Two columns, of the image alone."""

    name, version, scale = "colours", "1", 1.0
    facts = judges.Facts(code_license="Apache-2.0", reads_text=False, categories=("red", "blue"))

    def score(self, images: Any, prompts: Any) -> judges.Scores:
        return np.array([[np.asarray(image)[..., 0].mean(), np.asarray(image)[..., 2].mean()] for image in images])


def picture(red: int, format: str = "PNG") -> str:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (red, red, red)).save(file, format)
    return base64.b64encode(file.getvalue()).decode()


def request(red: int = 100, text: str = "a wall", names: tuple[str, ...] = ("brightness",), **more: Any) -> Any:
    return {"history": [{"text": text, "image_b64": picture(red)}], "required_rewards": list(names), **more}


def served(work: Callable[[TestClient[Any, Any]], Coroutine[Any, Any, None]], *panel: Any) -> None:
    async def connected() -> None:
        async with TestClient(TestServer(app.application(panel or (Brightness(), Colours())))) as client:
            await work(client)

    asyncio.run(connected())


async def score(client: TestClient[Any, Any], body: Any, status: int = 200) -> Any:
    async with client.post("/score", json=body) as reply:
        assert reply.status == status, await reply.text()
        return await reply.json()


def test_each_request_has_its_scores_by_judge_and_column() -> None:
    async def work(client: TestClient[Any, Any]) -> None:
        both = request(10, names=("colours", "brightness"), metadata={"any": ["thing"]})
        earlier = request(7)
        earlier["history"] = [{"text": "before", "image_b64": picture(99)}, *earlier["history"]]
        assert await score(client, {"requests": [both, earlier]}) == {
            "results": [
                {"colours": {"red": 10.0, "blue": 10.0}, "brightness": {"brightness": 10.0}},
                {"brightness": {"brightness": 7.0}},
            ],
            "errors": [{}, {}],
        }
        assert await score(client, {"requests": []}) == {"results": [], "errors": []}
        assert await (await client.get("/rewards")).json() == {"rewards": ["brightness", "colours"]}
        health = await (await client.get("/health")).json()
        assert health == {"status": "ok", "rewards": {"brightness": ["ready"], "colours": ["ready"]}}

    served(work)


def test_what_failed_abstained_or_cannot_be_judged_has_an_error_and_no_number() -> None:
    async def work(client: TestClient[Any, Any]) -> None:
        names = ("brightness", "colours")
        cut = request(names=names)
        cut["history"][0]["image_b64"] = base64.b64encode(base64.b64decode(picture(3))[:40]).decode()
        empty = request(names=names)
        empty["history"][0]["image_b64"] = ""
        asked = [request(0, names=names), cut, empty, request(5, text=" ", names=names)]
        asked.append(request(5, text="a naked child", names=names))
        asked.append(request(5, text="fail", names=names))
        found = await score(client, {"requests": asked})
        black, cut_, empty_, mute, refused, failing = zip(found["results"], found["errors"], strict=True)
        # one failed, so that judge says nothing of its batch; the other's answers stand
        assert failing == (
            {"colours": {"red": 5.0, "blue": 5.0}},
            {"brightness": "it failed: ZeroDivisionError: as the text says"},
        )
        assert mute == ({"colours": {"red": 5.0, "blue": 5.0}}, {"brightness": batches.NO_TEXT})
        for result, error in (cut_, empty_, refused):
            assert result == {} and set(error) == set(names)
        assert "naked" not in str(refused)
        assert set(black[0]) == {"colours"} and set(black[1]) == {"brightness"}
        (alone,) = (await score(client, {"requests": [request(0)]}))["errors"]
        assert alone == {"brightness": "it abstained"}
        told = await (await client.get("/metrics")).text()
        assert 'datagen_replies_total{status="200"} 2\n' in told and 'datagen_errors_total{judge="colours"}' in told
        assert 'datagen_score_seconds_bucket{le="+Inf"} 2\n' in told and "datagen_waiting_images 0\n" in told

    served(work)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("", "the body is no JSON"),
        ("{", "the body is no JSON"),
        ("[" * 100_000, "the body is no JSON"),
        ("[]", "the body has no requests that is a list"),
        ({"requests": {}}, "the body has no requests that is a list"),
        ({"requests": [3]}, "requests[0] has no history that is a list"),
        ({"requests": [], "model": "x"}, "the body has model, which nothing is made of here"),
        ({"requests": [request() | {"history": []}]}, "requests[0].history is empty"),
        (
            {"requests": [request(), request() | {"history": [{"text": "x"}]}]},
            "requests[1].history[0] has no image_b64",
        ),
        ({"requests": [request() | {"history": [{"text": 3, "image_b64": ""}]}]}, "has no text that is a text"),
        ({"requests": [request() | {"history": [{"text": "", "image_b64": "é!"}]}]}, "requests[0] is no base64"),
        ({"requests": [request() | {"history": [{"text": "", "image_b64": "", "video_b64": ""}]}]}, "has video_b64"),
        ({"requests": [request(names=("clip",))]}, "asks for 'clip', which is not served here: "),
        ({"requests": [request(names=())]}, "required_rewards is empty: brightness, colours are served"),
        ({"requests": [request() | {"required_rewards": [["x"]]}]}, "which is not served here"),
        ({"requests": [request() | {"required_rewards": "brightness"}]}, "no required_rewards that is a list"),
        ({"requests": [{}] * 4097}, "4097 requests in one body: send at most 4096"),
    ],
)
def test_a_body_of_another_shape_is_refused_in_one_line(body: Any, why: str) -> None:
    async def work(client: TestClient[Any, Any]) -> None:
        data = body if isinstance(body, str) else json.dumps(body)
        async with client.post("/score", data=data, headers={"Content-Type": "application/json"}) as reply:
            assert reply.status == 400
            (error,) = (await reply.json()).values()
            assert why in error and "\n" not in error

    served(work)


def test_what_is_no_question_of_ours_is_answered_in_json() -> None:
    async def work(client: TestClient[Any, Any]) -> None:
        for method, place, status in (("GET", "/", 404), ("GET", "/score", 405), ("POST", "/health", 405)):
            async with client.request(method, place) as reply:
                assert reply.status == status and "/metrics" in (await reply.json())["error"]
        async with client.post("/score", data="{}") as reply:  # as a web page could send it
            assert reply.status == 415

    served(work)


def test_images_of_many_clients_are_judged_together() -> None:
    judge = Brightness()

    async def work(client: TestClient[Any, Any]) -> None:
        asked = (score(client, {"requests": [request(1 + number)]}) for number in range(100))
        found = await asyncio.gather(*asked)
        assert [one["results"][0]["brightness"]["brightness"] for one in found] == list(range(1, 101))

    served(work, judge)
    assert sum(judge.sizes) == 100 and len(judge.sizes) < 60 and max(judge.sizes) <= batches.MOST


def test_more_than_can_be_judged_soon_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "WAITING", 10)

    async def work() -> None:
        full = batches.Batches([Brightness()])
        for _ in range(2):
            waiting = asyncio.create_task(full.score([object()] * 6))  # type: ignore[list-item]
            await asyncio.sleep(0)
        with pytest.raises(batches.Full):
            await waiting
        assert full.waiting == 6

    asyncio.run(work())


class Compares:
    name, version, scale = "compares", "1", 1.0
    facts = judges.Facts(code_license="Apache-2.0")

    def compare(self, first: Any, second: Any, prompts: Any) -> judges.Scores:
        raise NotImplementedError("only looked at, never asked")


class Faulty(Brightness):
    def score(self, images: Any, prompts: Any) -> judges.Scores:
        raise OSError("no such device")


@pytest.mark.parametrize(
    ("judge", "why"), [(Compares(), "scores no image by itself"), (Faulty(), "fails: OSError: no such device")]
)
def test_a_judge_that_cannot_score_here_is_refused_before_anybody_can_ask(
    judge: Any, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judges, "load", lambda name, options: judge)
    with pytest.raises(ModelError, match=why):
        serve([JudgeChoice(name="x")], Options(0), lambda line: None)


NULL = "benchmarks.support.null_judge"


def start(port: int = 0) -> tuple[subprocess.Popen[str], str]:
    """A service with a judge that says 0 of everything; its address."""
    command = [sys.executable, "-m", "datagen", "serve", "--judges", NULL, "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("serving on "):
            return process, line.split()[-1]
    raise AssertionError(process.wait())


def post(address: str) -> Any:
    body = json.dumps({"requests": [request(names=("null",))]}).encode()
    asked = urllib.request.Request(f"{address}/score", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=30) as reply:
        return json.load(reply)


def test_a_service_that_is_killed_is_an_error_to_its_clients_and_can_be_started_again() -> None:
    process, address = start()
    try:
        assert post(address) == {"results": [{"null": {"null": 0.0}}], "errors": [{}]}
        port = int(address.rpartition(":")[2])
        with pytest.raises(InputError, match=f"cannot listen on 127.0.0.1:{port} .*give another --port"):
            serve([JudgeChoice(name=NULL)], Options(port), lambda line: None)
        process.kill()
        process.wait()
        with pytest.raises(urllib.error.URLError):
            post(address)
        process, address = start(port)
        assert post(address)["errors"] == [{}]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def test_judges_that_ask_a_server_need_a_folder_for_what_they_spend(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="these judges ask a server: give --out"):
        serve([JudgeChoice(name="endpoint_yesno")], Options(0), lambda line: None)
