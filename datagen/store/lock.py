"""Whose a run directory is, and one process at a time that writes it.

Nothing is written before it is known that the directory is this recipe's, or nobody's. The lock is the system's, so it
ends with its process, however that ends; `.lock` only says who that is.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datagen.errors import RunError
from datagen.store.files import TEMPORARY, write_file, writing
from datagen.store.run import Run

LOCK = ".lock"
# What lies in a folder that nobody has put anything into.
NOBODYS = {LOCK, ".DS_Store", "lost+found"}
TRIES = 5  # at the lock, a twentieth of a second apart: who only looks whether it is free holds it for a moment


def check(run: Run, settings: dict[str, Any]) -> bool:
    """Whether this recipe's run was started here; False if the directory may be filled. Writes nothing.

    `settings` is what recipe.json holds: "digest", "version" and "recipe". Raises RunError if the directory belongs to
    another recipe (naming the keys) or holds other files.
    """
    before = run.settings()
    if before is not None:
        _compare(run.root, before, settings)
        return True
    try:
        names = sorted(path.name for path in run.root.iterdir())
    except FileNotFoundError:
        return False
    except OSError as error:  # a file, or a folder that may not be read
        raise RunError(f"cannot write {run.root}: {error.strerror}") from error
    others = [name for name in names if name not in NOBODYS and not _is_leftover(name)]
    if others:
        some = ", ".join(others[:3])
        raise RunError(f"{run.root} holds other files ({some}): give a new or an empty directory")
    return False


def _compare(root: Path, before: dict[str, Any], settings: dict[str, Any]) -> None:
    """RunError if a run was started with another recipe."""
    if before["digest"] == settings["digest"]:
        return
    old, new = _flat(before["recipe"]), _flat(settings["recipe"])
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    changes = ", ".join(f"{key} {old.get(key)!r} → {new.get(key)!r}" for key in keys[:5])
    more = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
    found = f"other settings ({changes}{more})" if keys else f"datagen {before['version']}, which is another version"
    raise RunError(f"{root} was started with {found}: choose another --out, or the same settings")


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one level of dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


@contextlib.contextmanager
def hold(run: Run, settings: dict[str, Any]) -> Iterator[None]:
    """Hold the run directory for one process: check whose it is, make it, lock it, clear leftovers.

    Raises RunError as `check` does, if another process holds it (naming who), and if it cannot be written.
    """
    check(run, settings)
    new = not run.root.exists()
    with writing(run.root):
        run.root.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(run.root / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _lock(run, descriptor)
        with writing(run.root):
            me = {"pid": os.getpid(), "host": socket.gethostname(), "started": time.strftime("%Y-%m-%d %H:%M:%S")}
            try:
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, json.dumps(me).encode(), 0)
                _claim(run, settings)
            except BaseException:
                if new:  # a run that cannot start leaves nothing behind
                    shutil.rmtree(run.root, ignore_errors=True)
                raise
            _clear(run)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                _clear(run)
                os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _lock(run: Run, descriptor: int) -> None:
    """Take the lock; RunError if another process holds it, or where there are no locks."""
    for left in reversed(range(TRIES)):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if not left:
                who = _named(run)
                raise RunError(f"{run.root} is in use by {who}: wait for it or choose another --out") from error
            time.sleep(0.05)
        except OSError as error:
            raise RunError(f"cannot lock {run.root} ({error.strerror}): choose an --out on another disk") from error


def _claim(run: Run, settings: dict[str, Any]) -> None:
    """Write recipe.json, unless it is there: what was true before we held the lock may no longer be."""
    if not check(run, settings):
        write_settings(run, settings)


def write_settings(run: Run, settings: dict[str, Any]) -> None:
    """Write recipe.json of a run that is held."""
    text = json.dumps(settings, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    write_file(run.root / "recipe.json", lambda file: file.write(text.encode()))


def _clear(run: Run) -> None:
    """Remove what a killed process left half-written."""
    for leftover in [*run.root.glob(f".*{TEMPORARY}"), *run.root.glob(f"tables/*/.*{TEMPORARY}")]:
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)


def _is_leftover(name: str) -> bool:
    return name.startswith(".recipe.json.") and name.endswith(TEMPORARY)


def holder(run: Run) -> str | None:
    """The process that holds a run directory, in words; None if none does. The lock is tried, not read."""
    try:
        descriptor = os.open(run.root / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _named(run)
    except OSError:  # no locks here, so nobody holds one
        return None
    finally:
        os.close(descriptor)
    return None


def _named(run: Run) -> str:
    """Who holds the lock, as it has written itself down."""
    try:
        who = json.loads((run.root / LOCK).read_text(encoding="utf-8-sig"))
        return f"process {int(who['pid'])} on {who['host']} since {who['started']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
