"""What a program prints, where it cannot be printed: a full disk behind stdout, a reader that has gone.

Light to import: every program of both packages runs its work in `guarded`.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from typing import IO, Any, cast


class Unwritten(OSError):
    """What was printed could not be written; `reason` in words, "" where the reader has closed the pipe.

    An OSError, as whoever writes to a stream may expect; without a number, so that nobody takes it for a file's.
    """

    def __init__(self, error: OSError) -> None:
        self.reason = "" if isinstance(error, BrokenPipeError) else error.strerror or type(error).__name__
        super().__init__(self.reason)


class _Guarded:
    """A stream whose failures are `Unwritten`; all else is the stream's."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with _told_apart():
            return self._stream.write(text)

    def flush(self) -> None:
        with _told_apart():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def _told_apart() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unwritten(error) from error


def guarded(work: Callable[[], int]) -> int:
    """Do the work of a program; its exit code, or 1 where what it prints cannot be written.

    That is said in one line on stderr, unless the reader of a pipe has gone, as `head` does: then there is no word.
    What a terminal has no letters for is written as an escape.
    """
    with contextlib.ExitStack() as stack:
        # None: closed from the start. A message for stderr would then go to stdout, and the next file would be it.
        out, err = (
            stream or stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            for stream in (sys.stdout, sys.stderr)
        )
        for stream in (out, err):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        try:
            with contextlib.redirect_stdout(_guard(out)), contextlib.redirect_stderr(_guard(err)):
                return _flushed(work)
        except Unwritten as problem:
            if problem.reason:
                with contextlib.suppress(OSError):
                    print(f"error: standard output cannot be written: {problem.reason}", file=err)
            for stream in (out, err):
                _let_go(stream)
            return 1


def _guard(stream: IO[str]) -> IO[str]:
    return cast(IO[str], _Guarded(stream))


def _flushed(work: Callable[[], int]) -> int:
    """Do the work, and write what is left of what it printed, however it ends."""
    try:
        return work()
    finally:
        sys.stdout.flush()


def _let_go(stream: IO[str]) -> None:
    """Send nowhere what a stream could not write, which the interpreter would try again as it ends."""
    try:
        stream.flush()
    except OSError:
        with contextlib.suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
