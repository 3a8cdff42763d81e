"""The calls of a server's Batch API, through the openai package: upload, submit once, wait, download.

A submission whose answer was lost is looked for by its name before it is made again. Failures that may pass are waited
out; the others are one line (EndpointError, ServerError) in which the key never stands.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from datagen.errors import EndpointError, RequestRejected, ServerError
from datagen.llm.batch.journal import Journal, Note
from datagen.llm.endpoint import Endpoint
from datagen.llm.wire import proxies
from datagen.llm.words import line

if TYPE_CHECKING:
    from openai.types import Batch

FIRST_WAIT_S, LONGEST_WAIT_S = 2.0, 60.0
PATIENCE_S = 1800.0  # of a server that does nothing but fail
START_S = 20.0  # … before it did anything else
UPLOAD_S = 600.0  # 200 MB take a while
MARK = "datagen"  # the key of a batch's metadata under which its name stands
_ENDED = ("completed", "failed", "expired", "cancelled")

Result = TypeVar("Result")


class BatchServer:
    """One server's Batch API; a context manager, as it holds connections."""

    def __init__(self, endpoint: Endpoint, say: Callable[[str], None]) -> None:
        import openai

        self._endpoint, self._say = endpoint, say
        self._reached = False
        headers: dict[str, Any] = {"Authorization": openai.Omit(), **endpoint.sent_headers()}
        proxy = proxies.of(endpoint.base_url)
        # Trying again is ours: the package would repeat a submission whose answer it did not get.
        self._client = openai.OpenAI(
            api_key=endpoint.api_key or "none",
            base_url=endpoint.url("").partition("?")[0],
            default_query=dict(urllib.parse.parse_qsl(endpoint.base_url.partition("?")[2])),
            default_headers=headers,
            http_client=openai.DefaultHttpxClient(trust_env=False, proxy=proxy.url if proxy else None),
            max_retries=0,
            timeout=UPLOAD_S,
        )

    def __enter__(self) -> BatchServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def submit(self, note: Note, journal: Journal) -> Note:
        """Bring a batch to the server, or find it there. RequestRejected if the server will not have it."""
        if not note.file_id:
            file = self._patiently(lambda: self._client.files.create(file=journal.upload(note), purpose="batch"))
            note = journal.save(dataclasses.replace(note, file_id=file.id))
        wait = _Wait()
        while not note.batch_id:
            found = self._find(note) if note.submitting else None
            if found is None:
                note = journal.save(dataclasses.replace(note, submitting=True))
                found = self._create(note, wait)
            if found is not None:
                note = journal.save(dataclasses.replace(note, batch_id=found.id))
                self._say(f"batch {found.id}: {note.requests} requests submitted")
        return note

    def wait(self, note: Note) -> Batch:
        """The batch when nothing more will come of it; within a day, by the server's promise."""
        wait, shown = _Wait(), ""
        while True:
            batch = self._patiently(lambda: self._client.batches.retrieve(note.batch_id))
            done = batch.request_counts.completed + batch.request_counts.failed if batch.request_counts else 0
            if (news := f"batch {batch.id}: {batch.status}, {done} of {note.requests} done") != shown:
                self._say(news)
                shown = news
            if batch.status in _ENDED:
                return batch
            wait()

    def download(self, batch: Batch, path: Path) -> Iterator[dict[str, Any]]:
        """The lines of what came and of what failed; `path` is used in between, and removed.

        ServerError if a file cannot be had whole, after the lines that came of it.
        """
        for file_id in (batch.output_file_id, batch.error_file_id):
            if not file_id:
                continue
            failure = None
            try:
                self._patiently(lambda: self._fetch(file_id, path))  # noqa: B023 - called at once
            except ServerError as error:
                failure = error
            if path.exists():
                yield from _lines(path)
                path.unlink()
            if failure is not None:
                raise failure

    def _create(self, note: Note, wait: _Wait) -> Batch | None:
        """Submit once; None if it is unknown whether it arrived."""
        try:
            with self._in_words():
                return self._client.batches.create(
                    input_file_id=note.file_id,
                    endpoint="/v1/chat/completions",
                    completion_window="24h",
                    metadata={MARK: note.name},
                    extra_headers={"Idempotency-Key": note.name},
                )
        except ServerError as failure:
            if wait.spent > PATIENCE_S:
                raise
            self._say(f"{failure}; looking whether the batch arrived")
            wait()
            return None

    def _find(self, note: Note) -> Batch | None:
        """The batch of that name. Looked for twice, as a server's list may lag behind what it was just given."""
        for pause in (0.0, FIRST_WAIT_S):
            time.sleep(pause)
            if found := self._patiently(lambda: self._listed(note)):
                return found
        return None

    def _listed(self, note: Note) -> Batch | None:
        for batch in self._client.batches.list(limit=100):
            if (batch.metadata or {}).get(MARK) == note.name:
                return batch
            if batch.created_at < note.written - 86_400:  # the newest come first; clocks may differ
                return None
        return None

    def _fetch(self, file_id: str, path: Path) -> None:
        import openai

        with self._client.files.with_streaming_response.content(file_id) as answer:
            try:
                answer.stream_to_file(path)
            except (OSError, openai.OpenAIError):
                raise
            except Exception as error:  # its HTTP library's own: the package wraps none once a body has begun
                where = self._endpoint.address
                raise ServerError(f"{where} broke off in the middle of a file ({type(error).__name__})") from error

    def _patiently(self, work: Callable[[], Result]) -> Result:
        """Retry what may be done twice until it works, or until there is no hope."""
        wait = _Wait()
        while True:
            try:
                with self._in_words():
                    result = work()
                self._reached = True
                return result
            except ServerError as failure:
                if wait.spent > (PATIENCE_S if self._reached else START_S):
                    raise
                self._say(f"{failure}; trying again")
                wait()

    @contextlib.contextmanager
    def _in_words(self) -> Iterator[None]:
        """The package's errors as ours: ServerError for what may pass, EndpointError for what will not."""
        import openai

        where = self._endpoint.address
        try:
            yield
        except openai.APIConnectionError as error:
            raise ServerError(f"{where} did not answer ({type(error.__cause__ or error).__name__})") from error
        except openai.APIStatusError as error:
            status, words = error.status_code, line(error.message, *self._endpoint.secrets())
            if status in (401, 403):
                raise EndpointError(
                    f"{where} refuses the key (HTTP {status}); check OPENAI_API_KEY or DATAGEN_LLM_API_KEY"
                ) from error
            if status in (408, 409, 425, 429) or status >= 500:
                raise ServerError(f"{where} fails (HTTP {status}: {words})") from error
            if status in (404, 405, 501):
                raise RequestRejected(
                    f"{where} has no Batch API, or lost the batch (HTTP {status}: {words}); run without --batch"
                ) from error
            raise RequestRejected(f"{where} rejects the batch (HTTP {status}: {words})") from error


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file that are JSON objects; the last of one that broke off is none."""
    with path.open("rb") as file:
        for text in file:
            with contextlib.suppress(ValueError, RecursionError):
                if isinstance(row := json.loads(text), dict):
                    yield row


class _Wait:
    """Sleeps longer each time it is called; `spent` is the seconds so far."""

    def __init__(self) -> None:
        self.spent, self._next = 0.0, FIRST_WAIT_S

    def __call__(self) -> None:
        time.sleep(self._next)
        self.spent += self._next
        self._next = min(LONGEST_WAIT_S, 1.5 * self._next)
