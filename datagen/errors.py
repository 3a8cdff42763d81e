"""Every error the package raises, drawn as a tree; `cli` is the only place where one becomes a message.

DatagenError
├── UserError            what was given, what is accepted, what to do; exit code 2
│   ├── RecipeError      a recipe that cannot be read or does not validate
│   ├── InputError       images, prompts or datasets that cannot be used
│   ├── ModelError       a model, a judge or a profile that this machine cannot serve
│   ├── EndpointError    an LLM server, key or model name that cannot be used as given
│   │   ├── RequestRejected  the server rejects this one request (HTTP 400, 413, 422)
│   │   └── NoAnswers    nothing is at the address, or what is there rejects everything
│   └── RunError         a run directory that is another recipe's, held by another process, or cannot be written
└── MachineryError       a shard could not be done (a dead worker, a full disk half-way); exit code 1, rerun to resume
    ├── ServerError      an LLM server that keeps failing; every reply that was paid for is kept
    └── BudgetSpent      --max-cost leaves no room for the next call; every reply that was paid for is kept

A failure of content (an unreadable reply, a corrupt image) is not an exception: it is a row with its `error` set.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DatagenError(Exception):
    """Base of all errors with a message meant for people."""

    exit_code = 1


class UserError(DatagenError):
    """Something the user gave cannot be used."""

    exit_code = 2


class RecipeError(UserError):
    """A recipe that cannot be read or does not validate."""


class InputError(UserError):
    """Images, prompts or datasets that cannot be used."""


class ModelError(UserError):
    """A model, a judge or a profile that this machine cannot serve."""


class EndpointError(UserError):
    """An LLM server, a key or a model name that cannot be used as given."""


class RequestRejected(EndpointError):
    """The server rejects this one request (HTTP 400, 413, 422); `code` is the server's own word for why.

    `about` is all that it said, to be searched for what it objects to; `sent` says that it may charge for it.
    """

    def __init__(self, message: str, code: str = "", about: str = "", sent: bool = False) -> None:
        super().__init__(message)
        self.code, self.about, self.sent = code, about, sent


class NoAnswers(EndpointError):
    """Nothing is at the address of an LLM server, or what is there rejects every request."""


class RunError(UserError):
    """A run directory that is another recipe's, held by another process, or cannot be written."""


class MachineryError(DatagenError):
    """A shard could not be done; what was finished before it is kept."""


class ServerError(MachineryError):
    """An LLM server keeps failing, so that it is pointless to continue now; replies that were paid for are kept."""


class BudgetSpent(MachineryError):
    """The next call could cost more than --max-cost leaves; replies that were paid for are kept."""


def one_line(error: BaseException) -> str:
    """A library's message as one line of at most 200 characters; the name of its type where it has no message."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:197]}..."


def nearest(given: str, known: Iterable[str]) -> str:
    """The sentence that offers the nearest known name, then all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(given, names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known: {', '.join(names)}"
