"""Which proxy of the environment a call takes: none to this machine, and one that cannot be used is named.

Looked up once a server, where aiohttp's and httpx's own look would come at every call and ask no questions.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import urllib.parse
import urllib.request

from datagen.errors import EndpointError


@dataclasses.dataclass(frozen=True)
class Proxy:
    """The address of a proxy, in which a password may stand, and the variable that names it."""

    url: str = dataclasses.field(repr=False)
    variable: str

    @property
    def via(self) -> str:
        """In words, for the end of a message."""
        return f" (through the proxy that {self.variable} names)"


def of(url: str) -> Proxy | None:
    """The proxy for a URL; EndpointError, naming the variable, for one that cannot be used."""
    parts = urllib.parse.urlsplit(url)
    if not parts.hostname or is_loopback(url) or urllib.request.proxy_bypass(parts.netloc):
        return None
    known = urllib.request.getproxies()
    scheme = next((name for name in (parts.scheme, "all") if known.get(name)), None)
    if scheme is None:
        return None
    address, variable = known[scheme], _variable(scheme)
    given = urllib.parse.urlsplit(address)
    shown = f"{given.scheme}://{given.hostname}" if given.hostname else address.rpartition("@")[2]
    try:
        usable = given.scheme in ("http", "https") and bool(given.hostname) and given.port != 0
    except ValueError:  # of a port that is no number
        usable = False
    if not usable:
        raise EndpointError(
            f"{variable} names the proxy {shown!r}, and only http://host:port is accepted (no SOCKS): correct or "
            f"unset it, or add {parts.hostname} to NO_PROXY"
        )
    return Proxy(address, variable)


def is_loopback(url: str) -> bool:
    """Whether the host of a URL is this machine."""
    host = (urllib.parse.urlsplit(url).hostname or "").rstrip(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified  # 0.0.0.0, as servers print it when they start


def _variable(scheme: str) -> str:
    """The variable that is set, in the spelling that wins; the system's settings where none is."""
    names = (f"{scheme}_proxy", f"{scheme}_proxy".upper())
    return next((name for name in names if os.environ.get(name)), "the system's settings")
