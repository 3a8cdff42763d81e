"""Which server the environment names, as whom it is asked, and how hard: DATAGEN_LLM_* for texts, others likewise."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re

from datagen.errors import EndpointError
from datagen.llm.endpoint import Endpoint
from datagen.llm.providers import provider_of

LLM = "DATAGEN_LLM"  # how the variables' names begin
DEFAULTS = Endpoint("", "gpt-4.1-mini")
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # of a header, by RFC 9110


def from_environment(model: str = "", ours: str = LLM, defaults: Endpoint = DEFAULTS) -> Endpoint:
    """The endpoint that `ours`_* (or OPENAI_BASE_URL, OPENAI_API_KEY) name; its limits are else those of `defaults`.

    `model` takes precedence over the variable. Raises EndpointError, naming the variable, for a missing key or model
    and for values that are not numbers.
    """
    address = _read(f"{ours}_BASE_URL", "OPENAI_BASE_URL") or _openai_address()
    provider = provider_of(address)
    base_url = provider.check(address, f"{ours}_BASE_URL")
    name = model or _read(f"{ours}_MODEL") or provider.model(base_url)
    key = _read(f"{ours}_API_KEY", "OPENAI_API_KEY")
    if not name:
        raise EndpointError(f"no model is named for {base_url}: set {ours}_MODEL, e.g. to {defaults.model}")
    headers = _headers(f"{ours}_HEADERS")
    if not key and not headers and not provider.here(base_url):
        raise EndpointError(f"{base_url} needs a key: set OPENAI_API_KEY or {ours}_API_KEY")
    if not key.isascii() or not key.isprintable():
        raise EndpointError(
            f"the key in {ours}_API_KEY or OPENAI_API_KEY holds characters that no key has: copy it again"
        )
    return Endpoint(
        base_url,
        name,
        key,
        concurrency=_whole(f"{ours}_CONCURRENCY") or defaults.concurrency,
        requests_per_minute=_number(f"{ours}_RPM"),
        tokens_per_minute=_number(f"{ours}_TPM"),
        timeout=_number(f"{ours}_TIMEOUT") or defaults.timeout,
        patience=_number(f"{ours}_PATIENCE"),
        batch_requests=_whole("DATAGEN_LLM_BATCH_REQUESTS"),
        headers=headers,
        variables=ours,
    )


def fallback_of(first: Endpoint) -> Endpoint | None:
    """The endpoint that DATAGEN_LLM_FALLBACK_* name for what the first does not answer; None where they name none.

    Server and key are the first's unless they are named; a server of its own wants a key of its own. EndpointError as
    above, and for a fallback that is the first again.
    """
    model, address = _read("DATAGEN_LLM_FALLBACK_MODEL"), _read("DATAGEN_LLM_FALLBACK_BASE_URL")
    key = _read("DATAGEN_LLM_FALLBACK_API_KEY")
    if not (model or address):
        if key:
            raise EndpointError("DATAGEN_LLM_FALLBACK_API_KEY is set without a model: set DATAGEN_LLM_FALLBACK_MODEL")
        return None
    provider = provider_of(address or first.base_url)
    base_url = provider.check(address, "DATAGEN_LLM_FALLBACK_BASE_URL") if address else first.base_url
    model = model or provider.model(base_url)
    if not model:
        raise EndpointError(f"no fallback model is named for {base_url}: set DATAGEN_LLM_FALLBACK_MODEL")
    second = dataclasses.replace(first, base_url=base_url, model=model)
    if base_url == first.base_url and provider.served_as(second) == provider.served_as(first):
        raise EndpointError(
            f"DATAGEN_LLM_FALLBACK_MODEL is {model!r}, which is asked first: name another model, or unset it"
        )
    elsewhere = base_url != first.base_url
    key = key or ("" if elsewhere else first.api_key)
    if elsewhere and not key and not provider.here(base_url):
        raise EndpointError(f"{base_url} needs a key: set DATAGEN_LLM_FALLBACK_API_KEY")
    if not key.isascii() or not key.isprintable():
        raise EndpointError("the key in DATAGEN_LLM_FALLBACK_API_KEY holds characters that no key has: copy it again")
    # Headers may hold the first server's key, and parameters are what its model takes.
    return dataclasses.replace(second, api_key=key, headers=() if elsewhere else first.headers)


def named(model: str = "", ours: str = LLM) -> tuple[str, str]:
    """The address and the model that `from_environment` would give, "" where none is named; nothing is checked."""
    address = _read(f"{ours}_BASE_URL", "OPENAI_BASE_URL")
    return address, model or _read(f"{ours}_MODEL") or provider_of(address).model(address)


def fallback_named() -> tuple[str, str]:
    """Likewise those that `fallback_of` would give; both "" where no fallback is named."""
    address, model = _read("DATAGEN_LLM_FALLBACK_BASE_URL"), _read("DATAGEN_LLM_FALLBACK_MODEL")
    if not (address or model):
        return "", ""
    address = address or named()[0]
    return address, model or provider_of(address).model(address)


def _read(*names: str) -> str:
    return next((value for name in names if (value := os.environ.get(name, "").strip())), "")


def _headers(name: str) -> tuple[tuple[str, str], ...]:
    """Further headers of every call. What is wrong with them is said without their values, which may be secret."""
    if not (text := _read(name)):
        return ()
    try:
        headers = json.loads(text)
        wrong = not isinstance(headers, dict) or [
            header for header, value in headers.items() if not (_NAME.fullmatch(header) and isinstance(value, str))
            or not value.isascii() or not value.isprintable()
        ]  # fmt: skip
    except ValueError:
        wrong = True
    if wrong:
        raise EndpointError(
            f"{name} is not a JSON object of names and texts that HTTP takes: "
            """give for example '{"X-Team": "vision"}'"""
        )
    return tuple(headers.items())


def _number(name: str) -> float | None:
    text = _read(name)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise EndpointError(f"{name} is {text!r}: a number above 0 is accepted")
    return value


def _whole(name: str) -> int | None:
    value = _number(name)
    if value is not None and not value.is_integer():
        raise EndpointError(f"{name} is {_read(name)!r}: a whole number of at least 1 is accepted")
    return None if value is None else int(value)


def _openai_address() -> str:
    import openai  # takes a second: only where its default is needed

    return str(openai.OpenAI(api_key="none").base_url)
