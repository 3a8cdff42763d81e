"""Any OpenAI-compatible server, `http(s)://host:port/v1`: one POST and what its answer means.

It runs on aiohttp, at a tenth of the CPU per call that the SDK takes. A completion is returned as the JSON object that
came. Only the host that the user named ever sees the key.
"""

from __future__ import annotations

import asyncio
import datetime
import email.utils
import http.client
import ipaddress
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any, NoReturn

from datagen.errors import EndpointError, RequestRejected
from datagen.llm.endpoint import Endpoint
from datagen.llm.providers import Provider, RetryableError, accepted
from datagen.llm.words import line

if TYPE_CHECKING:
    from collections.abc import Mapping

STATUS_S = 3.0  # a server that is up lists its models at once
CONNECT_S = 15.0  # to open a connection; a server that is up accepts it at once, however long it thinks


class HttpTransport:
    """Connections to one server; make and use it in one event loop."""

    def __init__(self, endpoint: Endpoint) -> None:
        import aiohttp

        self._endpoint = endpoint
        self._url = f"{endpoint.base_url}/chat/completions"
        self._proxy = _proxy(self._url)
        headers = {"Content-Type": "application/json", "User-Agent": "datagen"}
        if endpoint.api_key:
            headers["Authorization"] = f"Bearer {endpoint.api_key}"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),  # places are counted in limits.py, so nothing queues in here
            timeout=aiohttp.ClientTimeout(total=endpoint.timeout, sock_connect=min(CONNECT_S, endpoint.timeout)),
            headers=headers,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def send(self, body: bytes, sample: int = 0) -> dict[str, Any]:
        """The completion for an encoded body; a model is sampled by its server."""
        import aiohttp

        try:
            async with self._session.post(self._url, data=body, proxy=self._proxy, allow_redirects=False) as answer:
                content = await answer.read()
        except aiohttp.ConnectionTimeoutError as error:
            raise RetryableError("no connection within 15 s", unreachable=True) from error
        except TimeoutError as error:
            raise RetryableError(f"no reply within {self._endpoint.timeout:g} s", sent=True) from error
        except aiohttp.ClientConnectorCertificateError as error:
            raise EndpointError(f"{self._where} has a certificate that is not trusted: {error}") from error
        except aiohttp.ClientConnectorError as error:
            raise RetryableError(
                f"no connection ({error.os_error.strerror or error.os_error})", unreachable=True
            ) from error
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            raise RetryableError(f"the connection dropped ({type(error).__name__})", sent=True) from error
        except ValueError as error:  # aiohttp's word for a header or a URL that cannot be sent
            raise EndpointError(f"{self._where} cannot be asked: {self._words(str(error))}") from error
        if answer.status == 200:
            return self._completion(content, answer.content_type)
        self._refused(answer.status, answer.headers, content)

    @property
    def _where(self) -> str:
        return self._endpoint.base_url

    def _completion(self, content: bytes, kind: str) -> dict[str, Any]:
        try:
            completion = json.loads(content)
        except (ValueError, RecursionError) as error:
            if "html" in kind or content.lstrip()[:1] == b"<":
                raise self._page(200) from error
            raise RetryableError("a reply that is not JSON", sent=True) from error
        if not isinstance(completion, dict) or not isinstance(completion.get("choices"), list):
            message, _ = _error_of(completion)
            if message:
                raise RetryableError(f"an error under HTTP 200: {self._words(message)}", sent=True)
            raise EndpointError(
                f"{self._url} answers, but not with a chat completion; check DATAGEN_LLM_BASE_URL (it usually ends "
                "in /v1)"
            )
        if not completion["choices"] or not isinstance(completion["choices"][0], dict):
            raise RetryableError("a completion without choices", sent=True)
        return completion

    def _refused(self, status: int, headers: Mapping[str, str], content: bytes) -> NoReturn:
        """Raise what an HTTP status other than 200 means."""
        try:
            message, code = _error_of(json.loads(content))
        except (ValueError, RecursionError):
            message, code = "", ""
            html = content.lstrip()[:1] == b"<"
        else:
            html = False
        words = f": {self._words(message)}" if message else ""
        if status == 429 and code in ("insufficient_quota", "billing_hard_limit_reached"):
            raise EndpointError(f"the account at {self._where} has no credit left{words}")
        if (status in (408, 409, 425, 429) or status >= 500) and "response_format" not in message:
            # These say that no reply was made; a gateway's 502 or 504 hides what the server behind it did.
            sent, asked = status in (502, 504), _retry_after(headers)
            raise RetryableError(f"HTTP {status}{words}", sent=sent, busy=status == 429, retry_after=asked)
        if status in (401, 403):
            raise EndpointError(
                f"{self._where} refuses the key (HTTP {status}{words}); check OPENAI_API_KEY or DATAGEN_LLM_API_KEY"
            )
        if status == 402:
            raise EndpointError(f"{self._where} wants to be paid first (HTTP 402{words})")
        if html or 300 <= status < 400:
            raise self._page(status)
        if status == 404:
            raise EndpointError(
                f"{self._url} does not know the model {self._endpoint.model!r}, or nothing is there "
                f"(HTTP 404{words}); check DATAGEN_LLM_MODEL and DATAGEN_LLM_BASE_URL (it usually ends in /v1)"
            )
        raise RequestRejected(f"{self._where} rejects the request (HTTP {status}{words})", code)

    def _words(self, text: str) -> str:
        return line(text, self._endpoint.api_key)

    def _page(self, status: int) -> EndpointError:
        return EndpointError(
            f"{self._url} answers with a web page or a redirect (HTTP {status}), not with a chat completion; check "
            "DATAGEN_LLM_BASE_URL (it usually ends in /v1)"
        )


def _check(address: str) -> str:
    """The base URL in one spelling."""
    url = address.rstrip("/").removesuffix("/chat/completions")
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise EndpointError(
            "DATAGEN_LLM_BASE_URL (or OPENAI_BASE_URL) is not the address of a server, or has a name or password in "
            f"it; accepted are {accepted()}"
        )
    return url


def _here(address: str) -> bool:
    """Whether the host is this machine."""
    host = urllib.parse.urlsplit(address).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _StayHere(urllib.request.HTTPRedirectHandler):
    """Follows no redirection: the key is for the host that the user named."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _status(endpoint: Endpoint) -> str:
    return f"{endpoint.model} at {endpoint.base_url}: {_models(endpoint)}"


def _models(endpoint: Endpoint) -> str:
    """What the server says when asked for its models. Its own words are not repeated: they may hold the key."""
    headers = {"Authorization": f"Bearer {endpoint.api_key}"} if endpoint.api_key else {}
    request = urllib.request.Request(f"{endpoint.base_url}/models", headers=headers)
    try:
        # A proxy of the environment's is not asked for what is on this machine.
        proxies = urllib.request.ProxyHandler({} if _here(endpoint.base_url) else None)
        with urllib.request.build_opener(proxies, _StayHere).open(request, timeout=STATUS_S) as answer:
            listed = json.loads(answer.read(1 << 24))
        names = {model["id"] for model in listed["data"]}
    except urllib.error.HTTPError as error:
        return "refuses the key" if error.code in (401, 403) else f"answers with HTTP {error.code}"
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        return f"does not answer ({getattr(reason, 'strerror', None) or type(reason).__name__})"
    except (ValueError, KeyError, TypeError):
        return "answers, but not with a list of models; the address usually ends in /v1"
    return "answers and has the model" if endpoint.model in names else "answers, but lists no such model"


def _error_of(answer: Any) -> tuple[str, str]:
    """The message and the code of an error object in one of the shapes that servers use."""
    error = answer.get("error", answer) if isinstance(answer, dict) else None
    if isinstance(error, str):
        return error, ""
    if not isinstance(error, dict):
        return "", ""
    message = error.get("message") or error.get("detail") or ""
    return message if isinstance(message, str) else json.dumps(message), str(error.get("code") or "")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait as the server asks: Retry-After-Ms, or Retry-After (seconds or a date); None if it does not."""
    for name, unit in (("Retry-After-Ms", 1000.0), ("Retry-After", 1.0)):
        text = headers.get(name, "").strip()
        try:
            seconds = float(text) / unit
        except ValueError:
            continue
        return seconds if 0 <= seconds < float("inf") else None
    try:
        date = email.utils.parsedate_to_datetime(headers.get("Retry-After", ""))
    except ValueError:
        return None
    now = datetime.datetime.now(date.tzinfo or datetime.UTC)
    return max(0.0, (date.replace(tzinfo=date.tzinfo or datetime.UTC) - now).total_seconds())


def _proxy(url: str) -> str | None:
    """The proxy of the environment for a URL; looked up once, where aiohttp's trust_env would look at every call."""
    parts = urllib.parse.urlsplit(url)
    if not parts.hostname or urllib.request.proxy_bypass(parts.netloc):
        return None
    return urllib.request.getproxies().get(parts.scheme)


PROVIDER = Provider(
    name="a server",
    example="http(s)://host:port/v1",
    check=_check,
    here=_here,
    connect=HttpTransport,
    status=_status,
    batches=True,
)
