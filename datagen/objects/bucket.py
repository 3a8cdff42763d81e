"""The requests that we make of an object store: whole objects, the end of one, a listing; and what its refusals mean.

An object appears whole or not at all. `put_new` is the one way in which something is claimed: of many that write one
key, one succeeds, also where the reply to it was lost. All stores that are named in `address.py` hold that.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from datagen.errors import RunError
from datagen.objects.address import Address

T = TypeVar("T")
ATTEMPTS = 6  # at a request; the last of them some 15 s after the first, if each is refused at once
FIRST_WAIT_S = 0.25  # doubled from one attempt to the next, and shortened by chance
CONNECT_S, REPLY_S = 10, 300  # what is waited for a connection, and for the whole of a reply
INSTALL = "install datagen[object-store] to use addresses of object stores"


@dataclasses.dataclass(frozen=True)
class Entry:
    """An object as a listing tells of it."""

    size: int
    version: str  # another one whenever the object is written with other bytes
    changed: float  # when it was written, in seconds since 1970, by the store's clock


class Bucket:
    """What lies below an address. Keys are paths below it. RunError, in one line, where the store refuses."""

    def __init__(self, address: Address) -> None:
        try:
            self._library = importlib.import_module("obstore")
            self._store = _open(address)
        except ImportError as error:
            raise RunError(f"{address} needs obstore, which is not installed: {INSTALL}") from error
        except Exception as error:  # the library's own, of settings in the environment
            raise RunError(f"{address} cannot be opened ({_first_line(error)}): {_ADVICE[address.scheme]}") from error
        self.address = address

    def get(self, key: str) -> bytes | None:
        """An object; None if there is none."""
        return self._found(key, lambda: bytes(self._library.get(self._store, key).bytes()))

    def last(self, key: str, size: int) -> bytes | None:
        """At most `size` bytes from the end of an object; None if there is none, b"" of an empty one."""
        if self.address.scheme == "az":  # which has no ranges that count from the end
            return self._found(key, lambda: self._last_by_length(key, size))
        options = {"range": {"suffix": size}}
        return self._found(key, lambda: bytes(self._library.get(self._store, key, options=options).bytes()))

    def put_new(self, key: str, data: bytes) -> bool:
        """Make an object by one request; False if there is one with other bytes.

        A request whose reply was lost is made again, and then finds its own object there, which counts as made.
        """
        try:
            self._asked(key, lambda: self._put(key, data, "create"))
            return True
        except _Exists:
            return self.get(key) == data

    def put(self, key: str, data: bytes | Path) -> None:
        """Make an object, or replace it whole; a large file goes in parts that are not seen before the last."""
        whole = isinstance(data, bytes)
        self._asked(key, lambda: self._put(key, data, "overwrite", use_multipart=False if whole else None))

    def delete(self, key: str) -> None:
        """Delete an object, if it is there."""
        self._found(key, lambda: self._library.delete(self._store, key))

    def entry(self, key: str) -> Entry | None:
        """What a listing would tell of an object; None if there is none."""
        return self._found(key, lambda: _entry(self._library.head(self._store, key)))

    def list(self, prefix: str = "") -> dict[str, Entry]:
        """The objects below a prefix that is a folder's, by key; a request of the store for each thousand."""

        def listed() -> dict[str, Entry]:
            entries = (entry for part in self._library.list(self._store, prefix or None) for entry in part)
            return {entry["path"]: _entry(entry) for entry in entries}

        return self._asked(prefix, listed)

    def holds(self) -> Iterator[str]:
        """The names of what lies right below the address, folders among them, in order."""
        found = self._asked("", lambda: self._library.list_with_delimiter(self._store))
        names = [*found["common_prefixes"], *(entry["path"] for entry in found["objects"])]
        yield from sorted({name.strip("/").rpartition("/")[2] for name in names})

    def _put(self, key: str, data: bytes | Path, mode: str, use_multipart: bool | None = False) -> None:
        self._library.put(self._store, key, data, mode=mode, use_multipart=use_multipart)

    def _last_by_length(self, key: str, size: int) -> bytes:
        length = self._library.head(self._store, key)["size"]
        return (
            bytes(self._library.get_range(self._store, key, start=max(0, length - size), end=length))
            if length
            else b""
        )

    def _found(self, key: str, ask: Callable[[], T]) -> T | None:
        try:
            return self._asked(key, ask)
        except _Missing:
            return None

    def _asked(self, key: str, ask: Callable[[], T]) -> T:
        """The answer to a request, which is made again where the store is away or busy."""
        exceptions = importlib.import_module("obstore.exceptions")
        for attempt in range(ATTEMPTS):
            try:
                return ask()
            except exceptions.AlreadyExistsError as error:
                raise _Exists from error
            except Exception as error:
                text = _first_line(error)
                if isinstance(error, FileNotFoundError) and not _no_bucket(text):
                    raise _Missing from error
                if _is_final(error, text) or attempt + 1 == ATTEMPTS:
                    raise RunError(self._refusal(key, text)) from error
            time.sleep(FIRST_WAIT_S * 2**attempt * random.uniform(0.5, 1.0))
        raise AssertionError("the last attempt returns or raises")

    def _refusal(self, key: str, text: str) -> str:
        """A refusal in one line that says what to do."""
        bucket = f"{self.address.scheme}://{self.address.bucket}"
        if _no_bucket(text):
            return f"there is no bucket {bucket}: make it, or give the name of another"
        if _wrong_region(text):
            return f"{bucket} lies in another region than {_region()}: set AWS_REGION to the bucket's own"
        if any(word in text for word in _NO_CREDENTIALS):
            return f"no credentials for {bucket} were found: {_ADVICE[self.address.scheme]}"
        if any(word in text for word in _DENIED):
            return f"{bucket} does not let these credentials in ({_code(text)}): {_ADVICE[self.address.scheme]}"
        where = f"{self.address}/{key}".rstrip("/")
        return f"{where} cannot be reached ({_code(text)}): rerun when the store answers, finished shards are kept"


class _Exists(Exception):
    """An object is there that was to be new."""


class _Missing(Exception):
    """There is no such object."""


_ADVICE = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_ENDPOINT_URL for another store than Amazon's), "
    "or run where a role gives them",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS to the key file of a service account",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
_NO_CREDENTIALS = ("169.254.169.254", "metadata.google.internal", "MissingAccount", "MissingToken")
_DENIED = (
    "401 ",
    "403 ",
    "AccessDenied",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "Unauthenticated",
)
_OTHER_REGION = (
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "301 Moved",
    "redirect without LOCATION",
    "incorrectly configured region",
)
_FINAL = ("400 ", "401 ", "403 ", "404 ", "405 ", "501 ", "301 ", "307 ")


@functools.lru_cache(maxsize=16)
def _bucket_of(address: Address, process: int, settings: tuple[str | None, ...]) -> Bucket:
    return Bucket(address)


_lock = threading.Lock()
_SETTINGS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_REGION")


def opened(address: Address) -> Bucket:
    """The bucket of an address, one in each process: its connections are kept open."""
    with _lock:
        return _bucket_of(address, os.getpid(), tuple(map(os.environ.get, _SETTINGS)))


def _open(address: Address) -> Any:
    stores = importlib.import_module("obstore.store")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    if address.scheme == "s3" and endpoint and not endpoint.startswith(("http://", "https://")):
        raise ValueError(f"AWS_ENDPOINT_URL is {endpoint}, which does not begin with http:// or https://")
    common: dict[str, Any] = {
        "prefix": address.prefix or None,
        "client_options": {
            "allow_http": endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=CONNECT_S),
            "timeout": timedelta(seconds=REPLY_S),
        },
        # Requests are made again here, so that those which are not idempotent are as well, and all in one way.
        "retry_config": {"max_retries": 0, "retry_timeout": timedelta(seconds=REPLY_S)},
    }
    if address.scheme == "gs":
        return stores.GCSStore(address.bucket, **common)
    if address.scheme == "az":
        return stores.AzureStore(address.bucket, **common)
    given = {"endpoint": endpoint} if endpoint else {}
    # One by one, as few stores but Amazon's delete several at once; and we delete few.
    return stores.S3Store(address.bucket, **given, region=_region(), disable_bulk_delete=True, **common)


def _region() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def _entry(entry: Any) -> Entry:
    changed = entry["last_modified"].timestamp()
    return Entry(entry["size"], entry["e_tag"] or entry["version"] or f"{changed} {entry['size']}", changed)


def _first_line(error: BaseException) -> str:
    """A library's message without what it appends for its own authors."""
    return " ".join(str(error).partition("\n\nDebug source:")[0].split()) or type(error).__name__


def _code(text: str) -> str:
    """The store's own word for what is wrong, else the end of the message, where the cause stands."""
    code = text.partition("<Code>")[2].partition("</Code>")[0]
    return code or text[-120:].rpartition(" - ")[2]


def _no_bucket(text: str) -> bool:
    return any(word in text for word in ("NoSuchBucket", "ContainerNotFound", "bucket does not exist"))


def _wrong_region(text: str) -> bool:
    return any(word in text for word in _OTHER_REGION)


def _is_final(error: Exception, text: str) -> bool:
    """Whether another attempt would be answered as this one was."""
    final = any(word in text for word in (*_NO_CREDENTIALS, *_DENIED)) or _no_bucket(text) or _wrong_region(text)
    refused = any(f"status code: {word}" in text for word in _FINAL)
    return final or refused or isinstance(error, TypeError | ValueError)
