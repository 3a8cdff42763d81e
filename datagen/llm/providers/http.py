"""Any OpenAI-compatible server, `http(s)://host:port/v1`: how it is reached; datagen/llm/wire reads what it answers.

It runs on aiohttp, at a tenth of the CPU per call that the SDK takes. A completion is returned as the JSON object that
came. Only the host that the user named ever sees the key.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from datagen.errors import EndpointError
from datagen.llm.endpoint import Endpoint
from datagen.llm.providers import Hear, Provider, RetryableError, UnusableAnswer, accepted, deaf
from datagen.llm.wire import allowances, proxies
from datagen.llm.wire.answers import CHAT, Answers, Kind

STATUS_S = 3.0  # a server that is up lists its models at once
CONNECT_S = 15.0  # to open a connection; a server that is up accepts it at once, however long it thinks


class HttpTransport:
    """Connections to one server; make and use it in one event loop."""

    def __init__(self, endpoint: Endpoint, kind: Kind = CHAT) -> None:
        import aiohttp

        self._endpoint = endpoint
        self._url = endpoint.url(kind.path)
        self._proxy = proxies.of(self._url)
        self._answers = Answers(endpoint, self._proxy.via if self._proxy else "", kind)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),  # places are counted in limits.py, so nothing queues in here
            timeout=aiohttp.ClientTimeout(total=endpoint.timeout, sock_connect=min(CONNECT_S, endpoint.timeout)),
            headers={"Content-Type": "application/json", **endpoint.sent_headers()},
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def send(self, body: bytes, sample: int = 0, hear: Hear = deaf) -> dict[str, Any]:
        """The completion for an encoded body; a model is sampled by its server."""
        import aiohttp

        url, proxy, status = self._url, self._proxy.url if self._proxy else None, 0
        try:
            async with self._session.post(url, data=body, proxy=proxy, allow_redirects=False) as answer:
                status = answer.status
                content = await answer.read()
        except aiohttp.ConnectionTimeoutError as error:
            raise RetryableError(f"no connection within {CONNECT_S:g} s{self._via}", unreachable=True) from error
        except TimeoutError as error:
            raise RetryableError(f"no reply within {self._endpoint.timeout:g} s", sent=True) from error
        except aiohttp.ClientConnectorCertificateError as error:
            raise EndpointError(f"{self._answers.where} has a certificate that is not trusted: {error}") from error
        except aiohttp.ClientHttpProxyError as error:
            raise self._refused_by_proxy(error.status) from error
        except aiohttp.ClientConnectorError as error:
            raise RetryableError(
                f"no connection ({error.os_error.strerror or error.os_error}){self._via}", unreachable=True
            ) from error
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            if status == 200 and "decode" in str(error):  # gzip that is none, or a compression nobody asked for
                raise UnusableAnswer("a reply whose compression cannot be undone") from error
            raise RetryableError(f"the connection dropped ({type(error).__name__})", sent=True) from error
        except ValueError as error:  # aiohttp's word for a header or a URL that cannot be sent
            raise EndpointError(f"{self._answers.where} cannot be asked: {self._answers.words(str(error))}") from error
        hear(allowances.told(answer.headers), status < 400)
        return self._answers.read(status, answer.headers, content)

    @property
    def _via(self) -> str:
        return self._proxy.via if self._proxy else ""

    def _refused_by_proxy(self, status: int) -> Exception:
        """What a proxy's refusal to connect means; it has sent nothing on."""
        if status in (408, 429) or status >= 500:
            return RetryableError(f"no connection (HTTP {status}){self._via}", unreachable=True)
        wants = " wants a name and a password" if status == 407 else " will not connect"
        variable = self._proxy.variable if self._proxy else "the environment"
        return EndpointError(
            f"the proxy that {variable} names{wants} (HTTP {status}): correct {variable}, or add the server's host to "
            "NO_PROXY"
        )


def _check(address: str, variable: str) -> str:
    """The base URL in one spelling; its query stays."""
    base, mark, query = address.partition("?")
    url = base.rstrip("/").removesuffix("/chat/completions").removesuffix("/images/generations")
    parts = urllib.parse.urlsplit(url)
    try:
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # of a port that is no number
        usable = False
    if not usable or parts.username or parts.password:
        raise EndpointError(
            f"{variable} (or OPENAI_BASE_URL) is not the address of a server, or has a name or password in "
            f"it; accepted are {accepted()}"
        )
    return f"{url}{mark}{query}"


class _StayHere(urllib.request.HTTPRedirectHandler):
    """Follows no redirection: the key is for the host that the user named."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _status(endpoint: Endpoint) -> str:
    try:
        proxy = proxies.of(endpoint.base_url)
    except EndpointError as error:
        return f"{endpoint.model} at {endpoint.address} cannot be asked: {error}"
    return f"{endpoint.model} at {endpoint.address}{proxy.via if proxy else ''}: {_models(endpoint, proxy)}"


def _models(endpoint: Endpoint, proxy: proxies.Proxy | None) -> str:
    """What the server says when asked for its models. Its own words are not repeated: they may hold the key."""
    request = urllib.request.Request(endpoint.url("models"), headers=endpoint.sent_headers())
    try:
        handler = urllib.request.ProxyHandler({"http": proxy.url, "https": proxy.url} if proxy else {})
        with urllib.request.build_opener(handler, _StayHere).open(request, timeout=STATUS_S) as answer:
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


PROVIDER = Provider(
    name="a server",
    example="http(s)://host:port/v1",
    check=_check,
    here=proxies.is_loopback,
    connect=HttpTransport,
    status=_status,
    batches=True,
)
