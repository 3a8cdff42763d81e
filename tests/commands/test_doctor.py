"""Which profile `auto` takes, when weights count as present, and what is said of the LLM."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from datagen.commands import doctor
from datagen.errors import RecipeError
from datagen.llm.local import serve
from datagen.recipe import Recipe, load


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a model's folder looks like from outside."""
    (tmp_path / "unet").mkdir()
    (tmp_path / "model_index.json").touch()
    (tmp_path / "unet/diffusion_pytorch_model.safetensors").touch()
    return tmp_path


@pytest.fixture
def recipe(folder: Path) -> Recipe:
    return load("pick-style", [f"profiles.{name}.model='{folder}'" for name in ("sd15", "sdxl")])


def test_weights_are_looked_for_and_never_loaded(folder: Path) -> None:
    assert doctor.missing_weights(str(folder)) is None
    (folder / "unet/diffusion_pytorch_model.safetensors").unlink()
    assert doctor.missing_weights(str(folder)) == f"{folder} has no unet/*.safetensors"
    (folder / "model_index.json").unlink()
    assert doctor.missing_weights(str(folder)) == f"{folder} has no model_index.json"
    assert doctor.missing_weights("/no/where") == "there is no folder /no/where"
    assert doctor.missing_weights("nobody/has-this") == "not in the Hugging Face cache"


def test_auto_without_weights_asks_for_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def torch_would_be_imported() -> None:
        raise AssertionError

    monkeypatch.setattr(doctor, "gpu", torch_would_be_imported)
    recipe = load("pick-style", [f"profiles.{name}.model='nobody/has-this'" for name in ("sd15", "sdxl")])
    assert doctor.choose(recipe, "auto") == ("embedded", "no weights of sdxl or sd15 on this machine")


@pytest.mark.parametrize(
    ("card", "profile", "reason"),
    [
        (None, "embedded", "no CUDA GPU"),
        (("small", 4.0), "embedded", "too small"),
        (("middle", 8.0), "sd15", "has room"),
        (("large", 80.0), "sdxl", "has room"),
    ],
)
def test_auto_takes_what_the_gpu_has_room_for(
    monkeypatch: pytest.MonkeyPatch, recipe: Recipe, card: tuple[str, float] | None, profile: str, reason: str
) -> None:
    monkeypatch.setattr(doctor, "gpu", lambda: card)
    monkeypatch.setenv("DATAGEN_LLM_MODEL", "m")
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    chosen, why = doctor.choose(recipe, "auto")
    assert chosen == profile
    assert reason in why


def test_auto_takes_no_profile_whose_prompts_nobody_can_write(monkeypatch: pytest.MonkeyPatch, recipe: Recipe) -> None:
    monkeypatch.setattr(doctor, "gpu", lambda: ("large", 80.0))
    for name in ("OPENAI_API_KEY", "DATAGEN_LLM_API_KEY", "OPENAI_BASE_URL", "DATAGEN_LLM_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATAGEN_LLM_MODEL", "m")
    chosen, why = doctor.choose(recipe, "auto")
    assert chosen == "embedded"
    assert "but no LLM" in why and "OPENAI_API_KEY" in why
    offline = recipe.model_copy(
        update={"profiles": {n: p.model_copy(update={"writer": "offline"}) for n, p in recipe.profiles.items()}}
    )
    assert doctor.choose(offline, "auto")[0] == "sdxl"


def test_a_profile_that_is_asked_for_is_taken_or_refused(recipe: Recipe) -> None:
    assert doctor.choose(recipe, "sd15") == ("sd15", "as asked")
    with pytest.raises(RecipeError, match="has no profile 'sd15'; .*known: embedded"):
        only = recipe.model_copy(update={"profiles": {"embedded": recipe.profile("embedded")}})
        doctor.choose(only, "sd15")


class _Models(http.server.BaseHTTPRequestHandler):
    """Answers GET /v1/models with what the test has put into `status`, `body` and `to`."""

    status, body, to = 200, b"", ""

    def do_GET(self) -> None:
        self.send_response(self.status)
        if self.to:
            self.send_header("Location", self.to)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Models]]:
    class Handler(_Models):
        body = b'{"data": [{"id": "small"}, {"id": "large"}]}'

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("DATAGEN_LLM_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
        monkeypatch.setenv("DATAGEN_LLM_MODEL", "small")
        monkeypatch.setenv("DATAGEN_LLM_API_KEY", "sk-secret")
        yield Handler
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "body", "found"),
    [
        (200, b'{"data": [{"id": "small"}]}', "answers and has the model"),
        (200, b'{"data": [{"id": "other"}]}', "answers, but lists no such model"),
        (200, b"<html>", "answers, but not with a list of models; the address usually ends in /v1"),
        (200, b"[]", "answers, but not with a list of models; the address usually ends in /v1"),
        (401, b"wrong key sk-secret", "refuses the key"),
        (404, b"", "answers with HTTP 404"),
    ],
)
def test_the_llm_server_is_asked_for_its_models(models: type[_Models], status: int, body: bytes, found: str) -> None:
    models.status, models.body = status, body
    said = doctor._llm()
    assert said.startswith("small at http://127.0.0.1:")
    assert said.endswith(f": {found}")
    assert "secret" not in said


def test_the_key_goes_to_no_other_host(models: type[_Models]) -> None:
    models.status, models.to = 302, "http://127.0.0.1:1/elsewhere"
    assert doctor._llm().endswith(": answers with HTTP 302")


def test_an_llm_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("DATAGEN_LLM_BASE_URL", "OPENAI_BASE_URL", "DATAGEN_LLM_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("DATAGEN_LLM_MODEL", "small")
    assert doctor._llm().startswith("none that can be asked: https://")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("DATAGEN_LLM_BASE_URL", f"http://127.0.0.1:{free.getsockname()[1]}/v1")
        assert doctor._llm().endswith(": does not answer (Connection refused)")
    gguf = tmp_path / "model.gguf"
    gguf.touch()
    monkeypatch.setenv("DATAGEN_LLM_BASE_URL", f"local:{gguf}")
    assert doctor._llm() == f"local:{gguf}, to be served by ourselves"


def test_what_a_local_llm_would_run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "installed", lambda: False)
    assert doctor._local_llm() == "llama.cpp is not installed: pip install 'datagen[local-llm]'"
    monkeypatch.setattr(serve, "installed", lambda: True)
    monkeypatch.setattr(serve, "packaged", lambda: None)
    assert doctor._local_llm().endswith(", give it a GGUF file")
