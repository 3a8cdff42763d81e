"""The notes about batches in progress: what is in them, and how far each got; in a folder, a pair of files per batch.

NAME.jsonl is what is uploaded, NAME.json how far it got. A note is on disk before the step that it announces, and goes
when the batch's replies are in the cache and its bill in the ledger.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from datagen.errors import EndpointError, RunError
from datagen.llm.endpoint import Endpoint
from datagen.store import write_file, writing

MOST_REQUESTS, MOST_BYTES = 50_000, 200_000_000  # of one batch, by OpenAI's reference of POST /batches
_START = '{"custom_id": "'  # of every line; 64 hex digits follow

Line = tuple[str, bytes]  # the cache's key, and the line of the upload


@dataclasses.dataclass(frozen=True)
class Note:
    """How far a batch got. `cost` is the most that it can cost, in dollars, as reserved in the ledger under `name`."""

    name: str
    base_url: str
    model: str
    stage: str
    requests: int
    cost: float
    written: float  # Unix time
    file_id: str = ""
    submitting: bool = False  # it may be at the server although no id of it is known here
    batch_id: str = ""


def line(key: str, body: dict[str, object]) -> Line:
    """A request as the Batch API takes it."""
    rest = json.dumps({"method": "POST", "url": "/v1/chat/completions", "body": body})
    return key, f'{_START}{key}", {rest[1:]}\n'.encode()


def parts(lines: Iterable[Line], most: int | None = None) -> Iterator[list[Line]]:
    """Lines in groups that one batch may hold, of `most` lines at most."""
    most = min(most or MOST_REQUESTS, MOST_REQUESTS)
    part: list[Line] = []
    size = 0
    for item in lines:
        if part and (len(part) == most or size + len(item[1]) > MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(item)
        size += len(item[1])
    if part:
        yield part


class Journal:
    """The notes of one folder."""

    def __init__(self, folder: Path, endpoint: Endpoint) -> None:
        self._folder, self._endpoint = folder, endpoint

    def begin(self, stage: str, part: list[Line], cost: float) -> Note:
        """Write a new batch down, before anything of it is sent."""
        name = secrets.token_hex(16)
        note = Note(name, self._endpoint.base_url, self._endpoint.model, stage, len(part), cost, time.time())
        write_file(self.upload(note), lambda file: file.writelines(text for _, text in part))
        return self.save(note)

    def save(self, note: Note) -> Note:
        """Write how far a batch got."""
        text = json.dumps(dataclasses.asdict(note), indent=2)
        write_file(self._note(note.name), lambda file: file.write(text.encode()))
        return note

    def upload(self, note: Note) -> Path:
        """The file to upload."""
        return self._folder / f"{note.name}.jsonl"

    def keys(self, note: Note) -> set[str]:
        """The cache's keys of a batch's requests."""
        start = len(_START)
        try:
            with self.upload(note).open("rb") as file:
                return {text[start : start + 64].decode("ascii") for text in file}
        except (OSError, ValueError) as error:
            raise RunError(
                f"{self.upload(note)} cannot be read ({error}): put it back, it says what was asked"
            ) from error

    def remove(self, note: Note) -> None:
        """Forget a batch that is settled."""
        with writing(self._folder):
            self._note(note.name).unlink(missing_ok=True)
            self.upload(note).unlink(missing_ok=True)

    def notes(self) -> list[Note]:
        """The batches in progress, the oldest first. EndpointError if one is another server's or another model's."""
        notes = []
        for path in self._folder.glob("*.json"):
            try:
                notes.append(Note(**json.loads(path.read_text(encoding="utf-8-sig"))))
            except (OSError, ValueError, TypeError) as error:
                raise RunError(
                    f"{path} cannot be read ({error}): put it back, or delete it to give its batch up"
                ) from error
        for note in notes:
            if (note.base_url, note.model) != (self._endpoint.base_url, self._endpoint.model):
                raise EndpointError(
                    f"{self._note(note.name)} is about a batch of {note.model} at {note.base_url} that is not done: "
                    "name that server and model again, or delete the file to give the batch up"
                )
        known = {note.name for note in notes}
        for path in self._folder.glob("*.jsonl"):  # killed before its note was written
            if path.stem not in known:
                with writing(path):
                    path.unlink(missing_ok=True)
        return sorted(notes, key=lambda note: note.written)

    def _note(self, name: str) -> Path:
        return self._folder / f"{name}.json"
