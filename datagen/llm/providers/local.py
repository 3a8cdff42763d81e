"""A GGUF file (`local:/path/model.gguf`), served on loopback by llama.cpp, which datagen/llm/local starts."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from datagen.errors import EndpointError
from datagen.llm.endpoint import Endpoint
from datagen.llm.providers import Provider, Say
from datagen.llm.providers.http import HttpTransport


def _file(address: str) -> Path:
    return Path(address.removeprefix("local:")).expanduser()


def _check(address: str, variable: str) -> str:
    if not _file(address).is_file():
        raise EndpointError(f"{variable} is {address!r}, but there is no such GGUF file: local:/path/model.gguf")
    return address


def _served_as(endpoint: Endpoint) -> str:
    from datagen.llm.local import serve

    return serve.model_name(_file(endpoint.base_url))


def _serve(endpoint: Endpoint, say: Say) -> AbstractContextManager[Endpoint]:
    from datagen.llm.local import serve

    return serve.serve(_file(endpoint.base_url), say)


PROVIDER = Provider(
    name="a local model",
    example="local:/path/model.gguf",
    check=_check,
    here=lambda address: True,
    connect=HttpTransport,
    status=lambda endpoint: f"{endpoint.base_url}, to be served by ourselves",
    model=lambda address: _file(address).stem,
    served_as=_served_as,
    serve=_serve,
)
