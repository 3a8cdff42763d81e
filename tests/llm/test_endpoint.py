"""What the environment says about the server, and what is said about the environment."""

from pathlib import Path

import pytest

from datagen.errors import EndpointError
from datagen.llm.endpoint import Endpoint
from datagen.llm.environment import from_environment

SECRET = "sk-very-secret"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "BASE_URL", "MODEL", "API_KEY", "RPM", "TPM", "CONCURRENCY", "TIMEOUT", "PATIENCE", "HEADERS",
        "BATCH_REQUESTS",
    ):  # fmt: skip
        monkeypatch.delenv(f"DATAGEN_LLM_{name}", raising=False)
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def given(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_openai_is_the_default_server(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, OPENAI_API_KEY=SECRET, DATAGEN_LLM_MODEL="gpt-4.1-mini")
    endpoint = from_environment()
    assert endpoint.base_url == "https://api.openai.com/v1"
    assert (endpoint.model, endpoint.api_key, endpoint.concurrency) == ("gpt-4.1-mini", SECRET, 256)


def test_our_variables_go_before_those_of_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    given(
        monkeypatch, OPENAI_API_KEY="other", OPENAI_BASE_URL="https://other.example/v1", DATAGEN_LLM_API_KEY=SECRET,
        DATAGEN_LLM_BASE_URL="https://mine.example/v1/", DATAGEN_LLM_RPM="60", DATAGEN_LLM_TPM="1e5",
        DATAGEN_LLM_CONCURRENCY="8", DATAGEN_LLM_TIMEOUT="30",
    )  # fmt: skip
    assert from_environment("m") == Endpoint("https://mine.example/v1", "m", SECRET, 8, 60.0, 1e5, 30.0)


def test_a_server_on_this_machine_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, DATAGEN_LLM_BASE_URL="http://localhost:11434/v1")
    assert from_environment("llama3").api_key == ""


def test_a_gguf_file_is_its_own_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").touch()
    given(monkeypatch, DATAGEN_LLM_BASE_URL=f"local:{tmp_path / 'tiny.gguf'}")
    endpoint = from_environment()
    assert (endpoint.base_url, endpoint.model) == (f"local:{tmp_path / 'tiny.gguf'}", "tiny")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "OPENAI_API_KEY"),
        ({"OPENAI_API_KEY": "a\nb"}, "characters"),
        ({"OPENAI_API_KEY": SECRET, "DATAGEN_LLM_RPM": "many"}, "DATAGEN_LLM_RPM"),
        ({"OPENAI_API_KEY": SECRET, "DATAGEN_LLM_TPM": "-1"}, "DATAGEN_LLM_TPM"),
        ({"OPENAI_API_KEY": SECRET, "DATAGEN_LLM_CONCURRENCY": "nan"}, "DATAGEN_LLM_CONCURRENCY"),
        ({"OPENAI_API_KEY": SECRET, "DATAGEN_LLM_BASE_URL": "example.com"}, "DATAGEN_LLM_BASE_URL"),
        ({"OPENAI_API_KEY": SECRET, "DATAGEN_LLM_BASE_URL": "https://me:pw@example.com/v1"}, "password"),
        ({"DATAGEN_LLM_BASE_URL": "local:/nowhere/model.gguf"}, "GGUF"),
        ({"OPENAI_API_KEY": SECRET, "DATAGEN_LLM_PATIENCE": "long"}, "DATAGEN_LLM_PATIENCE"),
        ({"OPENAI_API_KEY": SECRET, "DATAGEN_LLM_BATCH_REQUESTS": "-3"}, "DATAGEN_LLM_BATCH_REQUESTS"),
        *[
            ({"OPENAI_API_KEY": SECRET, f"DATAGEN_LLM_{name}": text}, f"DATAGEN_LLM_{name} is {text!r}")
            for name in ("BATCH_REQUESTS", "CONCURRENCY")
            for text in ("0.5", "2.5", "0", "-1", "inf", "1e-3", "8 calls", "0x10")
        ],
        *[
            ({"OPENAI_API_KEY": SECRET, f"DATAGEN_LLM_{name}": text}, f"DATAGEN_LLM_{name} is {text!r}")
            for name in ("RPM", "TPM", "TIMEOUT", "PATIENCE")
            for text in ("0", "-0.5", "nan", "inf", "1,000", "10s")
        ],
        ({"OPENAI_API_KEY": SECRET, "DATAGEN_LLM_BASE_URL": "https://host:port/v1"}, "DATAGEN_LLM_BASE_URL"),
        *[
            ({"OPENAI_API_KEY": "k", "DATAGEN_LLM_HEADERS": text}, "DATAGEN_LLM_HEADERS")
            for text in (
                f"X-Key: {SECRET}",
                f'["{SECRET}"]',
                f'{{"X Key": "{SECRET}"}}',
                '{"X-Key": 1}',
                f'{{"X-Key": "{SECRET}\\n"}}',
                f'{{"X-Key:": "{SECRET}"}}',
            )
        ],
    ],
)
def test_what_is_wrong_is_said_by_name(monkeypatch: pytest.MonkeyPatch, values: dict[str, str], said: str) -> None:
    given(monkeypatch, **values)
    with pytest.raises(EndpointError) as caught:
        from_environment("model")
    assert said in str(caught.value)
    assert SECRET not in str(caught.value) and ":pw" not in str(caught.value)


def test_no_model_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, OPENAI_API_KEY=SECRET)
    with pytest.raises(EndpointError, match="DATAGEN_LLM_MODEL"):
        from_environment()


def test_the_key_is_not_shown() -> None:
    assert SECRET not in repr(Endpoint("https://a.example/v1", "m", SECRET))


def test_further_settings_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    given(
        monkeypatch, OPENAI_API_KEY=SECRET, DATAGEN_LLM_PATIENCE="600", DATAGEN_LLM_BATCH_REQUESTS="500",
        DATAGEN_LLM_HEADERS='{"HTTP-Referer": "https://us.example", "X-Title": "datagen"}',
    )  # fmt: skip
    endpoint = from_environment("m")
    assert (endpoint.patience, endpoint.batch_requests) == (600.0, 500)
    assert endpoint.sent_headers() == {
        "User-Agent": "datagen", "HTTP-Referer": "https://us.example", "X-Title": "datagen",
        "Authorization": f"Bearer {SECRET}",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["Authorization", "api-key", "x-api-key"])
def test_a_header_may_take_the_place_of_the_key(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given(
        monkeypatch, DATAGEN_LLM_BASE_URL="https://a.example/v1", DATAGEN_LLM_HEADERS=f'{{"{name}": "Token {SECRET}"}}'
    )
    endpoint = from_environment("m")
    assert endpoint.sent_headers() == {"User-Agent": "datagen", name: f"Token {SECRET}"}
    assert SECRET not in repr(endpoint) and {SECRET, f"Token {SECRET}"} <= {*endpoint.secrets()}


@pytest.mark.parametrize(
    "address",
    [
        "https://me.openai.azure.com/openai/deployments/d?api-version=2024-10-21",
        "https://me.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21",
        "https://me.openai.azure.com/openai/deployments/d/?api-version=2024-10-21",
    ],
)
def test_azure_s_addresses_keep_their_query(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, DATAGEN_LLM_BASE_URL=address, DATAGEN_LLM_API_KEY=SECRET)
    endpoint = from_environment("m")
    base = "https://me.openai.azure.com/openai/deployments/d"
    assert endpoint.url("chat/completions") == f"{base}/chat/completions?api-version=2024-10-21"
    assert endpoint.address == base
    assert endpoint.sent_headers() == {"User-Agent": "datagen", "api-key": SECRET}
