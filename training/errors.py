"""Errors that a user can correct, and how every program of this package ends.

Light on purpose: reading a Parquet file needs this error and no torch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from datagen.console.streams import Unwritten, guarded
from datagen.errors import UserError


class TrainingError(UserError):
    """Something the user gave cannot be used; ends the program with one line and exit code 2.

    So does every other UserError: the leaves of datagen that this package shares raise their own.
    """


def one_line(error: BaseException) -> str:
    """The first line of a library's message, at most 200 characters; the name of its type where it has no message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def exit_code(work: Callable[[], None]) -> int:
    """Do the work of a program: 0, 2 with one line on stderr for what the user can correct, 130 for Ctrl-C.

    1 where what it prints cannot be written.
    """
    return guarded(lambda: _exit_code(work))


def _exit_code(work: Callable[[], None]) -> int:
    try:
        work()
    except Unwritten:
        raise
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename or 'a file'} cannot be written or read: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    return 0
