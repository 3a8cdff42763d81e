"""A provider is one file: with it in the registry's folder, everything asks it, and nothing else knows its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from datagen.commands import doctor
from datagen.errors import EndpointError
from datagen.llm import LEDGER, LlmOptions, providers
from datagen.llm.access import connect
from datagen.llm.accounts.money import totals
from datagen.llm.messages import Message, Request
from datagen.llm.providers import provider_of
from datagen.registry import Registry

FILE = '''"""Speaks a protocol of its own and stumbles once."""

import json

from datagen.llm.providers import Provider, RetryableError


class Echo:
    stumbled = False

    def __init__(self, endpoint):
        self.endpoint = endpoint

    async def send(self, body, sample=0, hear=None):
        if not Echo.stumbled:
            Echo.stumbled = True
            raise RetryableError("not yet")
        said = json.loads(body)["messages"][-1]["content"].upper()
        message = {"role": "assistant", "content": said}
        return {"id": "e", "choices": [{"message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 1}}

    async def close(self):
        pass


PROVIDER = Provider(
    name="an echo", example="echo:", check=lambda address, variable: address, here=lambda address: False,
    connect=Echo,
    status=lambda endpoint: f"{endpoint.model} echoes",
)
'''


@pytest.fixture
def echo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The providers' folder with a file more."""
    folder = tmp_path / "some_providers"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "http.py").write_text("from datagen.llm.providers.http import PROVIDER as PROVIDER\n")
    (folder / "echo.py").write_text(FILE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(providers, "PROVIDERS", Registry("some_providers", "LLM provider", EndpointError))
    (tmp_path / "prices.toml").write_text('[models."e-1"]\ninput = 1.0\noutput = 1.0\n')
    for name, value in {
        "DATAGEN_LLM_BASE_URL": "echo:", "DATAGEN_LLM_MODEL": "e-1", "DATAGEN_LLM_API_KEY": "key",
        "DATAGEN_CACHE": str(tmp_path / "cache"), "DATAGEN_PRICES": str(tmp_path / "prices.toml"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)


def test_a_provider_is_one_file(echo: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor._llm() == "e-1 echoes"
    with connect("", LlmOptions(tmp_path, max_cost=1.0)) as ask:
        (reply,) = ask([Request((Message("user", "hello"),), stage="prompts")])
    assert (reply.value, reply.error) == ("HELLO", None)
    spent = totals(tmp_path / LEDGER)["prompts"]
    assert (spent.calls, spent.cost) == (1, pytest.approx(11e-6))
    with (
        connect("", LlmOptions(tmp_path, batch=True)) as ask,
        pytest.raises(EndpointError, match="an echo has no Batch"),
    ):
        ask([Request((Message("user", "hello"),))])
    monkeypatch.setenv("DATAGEN_LLM_BASE_URL", "ecco:")
    assert "accepted are echo:, http(s)://host:port/v1" in doctor._llm()


def test_an_address_that_no_file_claims_is_an_openai_compatible_server_s() -> None:
    assert provider_of("https://example.com/v1") is provider_of("example.com") is provider_of("")
    assert {provider_of(address).name for address in ("local:m.gguf", "mock:", "http://x")} == {
        "a local model", "the mock", "a server",
    }  # fmt: skip
