"""The picture that an answer links to instead of holding it.

An address in an answer is whatever the server says, so it is fetched as a stranger's: only http(s), without our key
unless it is on the server that was asked, of bounded size, and never from an address that only this machine's network
knows, unless the server itself is in that network. Each redirection is looked at like the first address, and a name is
looked at when it is connected to.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ipaddress
import socket
import urllib.parse
from typing import TYPE_CHECKING, Any

from datagen.llm.endpoint import Endpoint
from datagen.llm.providers import UnusableAnswer
from datagen.llm.wire import proxies

if TYPE_CHECKING:
    import aiohttp
    from aiohttp.abc import ResolveResult

MOST_BYTES = 64 << 20  # of one picture; a PNG of 16 megapixels is 48 MB at most
REDIRECTS = 3
TRIES, WAIT_S = 3, 0.5  # of a link whose server fails for a moment: the picture is paid for
NO_ADDRESS = "a link to a picture that is no http(s) address"
_OTHER = "a link to a place that the server has no business with"


class Links:
    """Fetches what one server links to; make and use it in one event loop."""

    def __init__(self, endpoint: Endpoint) -> None:
        import aiohttp

        self._endpoint = endpoint
        self._home = _origin(endpoint.base_url)
        self._near = proxies.is_loopback(endpoint.base_url)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, resolver=self._resolver()),
            timeout=aiohttp.ClientTimeout(total=endpoint.timeout),
            headers={"User-Agent": "datagen"},
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def fetch(self, link: str) -> bytes:
        """The bytes behind a link; UnusableAnswer if it is not one that is followed, or leads to nothing."""
        if link[:5].lower() == "data:":
            return decoded(link.partition(",")[2])
        url = _joined(f"{self._endpoint.address.rstrip('/')}/", link)
        for attempt in range(TRIES):
            try:
                return await self._follow(url)
            except _Later as error:
                if attempt == TRIES - 1:
                    raise UnusableAnswer(f"a link to a picture that cannot be fetched: {error}") from error
                await asyncio.sleep(WAIT_S * 2**attempt)
        raise AssertionError("unreachable")

    async def _follow(self, url: str) -> bytes:
        import aiohttp

        for _ in range(REDIRECTS + 1):
            self._refuse(url)
            at_home = _origin(url) == self._home
            headers = self._endpoint.sent_headers() if at_home else {}
            proxy = proxies.of(url)
            try:
                async with self._session.get(
                    url, headers=headers, proxy=proxy.url if proxy else None, allow_redirects=False
                ) as answer:
                    if answer.status in (301, 302, 303, 307, 308):
                        url = _joined(url, answer.headers.get("Location", ""))
                        continue
                    return await _body(answer)
            except _NotThere as error:
                raise UnusableAnswer(_OTHER) from error
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                if isinstance(error.__cause__, _NotThere):
                    raise UnusableAnswer(_OTHER) from error
                raise _Later(type(error).__name__) from error
        raise UnusableAnswer("a link to a picture that leads in a circle")

    def _refuse(self, url: str) -> None:
        """UnusableAnswer for an address that is not followed, as far as it can be told before it is connected to."""
        try:
            parts = urllib.parse.urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise UnusableAnswer(NO_ADDRESS)
        try:
            address = ipaddress.ip_address(parts.hostname or "")
        except ValueError:
            return
        if _origin(url) != self._home and not self._may(address):
            raise UnusableAnswer(_OTHER)

    def _may(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
        """Whether a picture may lie at an address: a public one, or any of this machine's for a server on it."""
        mapped = getattr(address, "ipv4_mapped", None) or address
        return bool(mapped.is_global and not mapped.is_multicast) or (self._near and mapped.is_loopback)

    def _resolver(self) -> Any:
        import aiohttp.abc

        links = self
        names = {urllib.parse.urlsplit(self._endpoint.base_url).hostname}
        names |= {
            urllib.parse.urlsplit(proxy.url).hostname for proxy in [proxies.of(self._endpoint.base_url)] if proxy
        }

        class Resolver(aiohttp.abc.AbstractResolver):
            """The system's answers, without those that a picture may not lie at."""

            async def resolve(
                self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
            ) -> list[ResolveResult]:
                found = await aiohttp.ThreadedResolver().resolve(host, port, family)
                may = [entry for entry in found if host in names or links._may(ipaddress.ip_address(entry["host"]))]
                if found and not may:
                    raise _NotThere(f"{host} is an address of this network alone")
                return may

            async def close(self) -> None:
                """Nothing is held."""

        return Resolver()


class _Later(Exception):
    """What another try may mend."""


class _NotThere(OSError):
    """A name that leads to where no picture may lie."""


def decoded(text: str) -> bytes:
    """The bytes of base64, with or without its padding and line breaks; UnusableAnswer if it is none."""
    plain = "".join(text.split()).translate({ord("-"): "+", ord("_"): "/"})
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UnusableAnswer("a picture that is no base64") from error


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    if answer.status in (408, 425, 429) or answer.status >= 500:
        raise _Later(f"HTTP {answer.status}")
    if answer.status != 200:
        raise UnusableAnswer(f"a link to a picture that answers with HTTP {answer.status}")
    parts: list[bytes] = []
    size = 0
    async for part in answer.content.iter_chunked(1 << 16):
        parts.append(part)
        size += len(part)
        if size > MOST_BYTES:
            raise UnusableAnswer(f"a link to a picture of over {MOST_BYTES >> 20} MiB")
    return b"".join(parts)


def _joined(base: str, link: str) -> str:
    """Where a link leads; UnusableAnswer if it is none."""
    try:
        return urllib.parse.urljoin(base, link)
    except ValueError as error:
        raise UnusableAnswer(NO_ADDRESS) from error


def _origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port; ports that go without saying are said."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)
