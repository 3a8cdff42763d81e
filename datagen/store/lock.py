"""Whose a run directory is, and who may write it: one process, or many that do a share each of one stage.

Nothing is written before it is known that the directory is this recipe's, or nobody's. Who holds it is written down
in `.lock`, and in a file of `.shares` each where shares are at work (`lease.py` says how long that counts).
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import math
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datagen.errors import RunError
from datagen.objects import Bucket
from datagen.store import claims, lease
from datagen.store.claims import Claim
from datagen.store.files import TEMPORARY, writing
from datagen.store.lease import Lease, Say, Taken, quiet
from datagen.store.places import MARK, Copies
from datagen.store.run import Run

LOCK = ".lock"
SHARES = ".shares"
# What lies in a folder that nobody has put anything into.
NOBODYS = {LOCK, SHARES, MARK, ".DS_Store", "lost+found"}
Held = Lease | Claim
_FILE = re.compile(r"([a-z]+)-(\d+)-of-(\d+)")


@dataclasses.dataclass(frozen=True)
class Share:
    """One of `count` equal shares of a stage's shards: those whose index leaves `number` when divided by `count`."""

    stage: str
    number: int
    count: int

    def __str__(self) -> str:
        return f"share {self.number}/{self.count} of {self.stage}"

    @property
    def file(self) -> str:
        """The name of the file that says who does it."""
        return f"{self.stage}-{self.number}-of-{self.count}"

    def has(self, index: int) -> bool:
        """Whether a shard is one of these."""
        return index % self.count == self.number

    def overlaps(self, other: Share) -> bool:
        """Whether some shard may be of both."""
        return self.stage == other.stage and (self.number - other.number) % math.gcd(self.count, other.count) == 0


def check(run: Run, settings: dict[str, Any]) -> bool:
    """Whether this recipe's run was started here; False if the directory may be filled. Writes nothing.

    `settings` is what recipe.json holds: "digest", "version" and "recipe". Raises RunError if the directory belongs to
    another recipe (naming the keys) or holds other files.
    """
    before = run.settings()
    if before is not None:
        _compare(run.name, before, settings)
        return True
    try:
        names = run.files.names()
    except FileNotFoundError:
        return False
    except OSError as error:  # a file, or a folder that may not be read
        raise RunError(f"cannot write {run.name}: {error.strerror}") from error
    others = [name for name in names if name not in NOBODYS and not _is_leftover(name)]
    if others:
        some = ", ".join(others[:3])
        raise RunError(f"{run.name} holds other files ({some}): give a new or an empty directory")
    return False


def _compare(root: str, before: dict[str, Any], settings: dict[str, Any]) -> None:
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
def hold(run: Run, settings: dict[str, Any], say: Say = quiet) -> Iterator[Held]:
    """Hold the run directory for one process: check whose it is, make it, lock it, clear leftovers.

    `say` is told for whom is waited, if one of another machine may hold it. Raises RunError as `check` does, if
    another process holds it or a share of it (naming who), and if it cannot be written.
    """
    check(run, settings)
    new = not run.root.exists()
    with writing(run.root):
        run.root.mkdir(parents=True, exist_ok=True)
    with _named(run, run.root / LOCK, say, new=new) as here, _on_store(run, here, say) as own:
        for path in sorted((run.root / SHARES).glob("*")):
            _refuse_held(run, path, say)
        with writing(run.root):
            try:
                _claim(run, settings)
            except BaseException:
                if new:  # a run that cannot start leaves nothing behind
                    shutil.rmtree(run.root, ignore_errors=True)
                raise
            shutil.rmtree(run.root / SHARES, ignore_errors=True)
            _clear(run, "*")
        try:
            yield own
        finally:
            with contextlib.suppress(OSError):
                _clear(run, "*")


@contextlib.contextmanager
def hold_share(
    run: Run, settings: dict[str, Any], share: Share, one_machine: bool = False, say: Say = quiet
) -> Iterator[Held]:
    """Hold the shards of one share of a run that was started, beside whoever holds others.

    Raises RunError as `hold` does, and if another process has shards of this share, or all of the run; with
    `one_machine` also if a process of another machine has any share of the stage.
    """
    if not check(run, settings):
        run.started()
    with writing(run.root):
        (run.root / SHARES).mkdir(exist_ok=True)
        descriptor = os.open(run.root / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if not lease.lock(descriptor, fcntl.LOCK_SH):
            raise _in_use(run, run.root / LOCK)
        if other := lease.unseen(run.root / LOCK, say):
            raise _refusal(run, str(other))
        lease.forget(run.root / LOCK, descriptor)
        with (
            _named(run, run.root / SHARES / share.file, say, str(share)) as here,
            _on_store(run, here, say, share) as own,
        ):
            for path in sorted((run.root / SHARES).glob(f"{share.stage}-*")):
                if path.name != share.file and _overlaps(share, path.name):
                    _refuse_held(run, path, say)
                if one_machine:
                    _refuse_elsewhere(run, path)
            _clear(run, f"{share.stage}-*", share)
            yield own
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _named(run: Run, path: Path, say: Say, job: str = "", new: bool = False) -> Iterator[Lease]:
    """Hold a file of the run, which goes again if it is `new` and no file can be written; RunError names who does."""
    with contextlib.ExitStack() as stack:
        try:
            with writing(run.root):
                own = stack.enter_context(lease.held(path, job, say))
        except Taken:
            raise _in_use(run, path) from None
        except RunError:
            if new:
                shutil.rmtree(run.root, ignore_errors=True)
            raise
        yield own


@contextlib.contextmanager
def _on_store(run: Run, here: Lease, say: Say, share: Share | None = None) -> Iterator[Held]:
    """Hold the run, or a share of it, on the object store as well where it lies on one; RunError names who does.

    Whoever holds something is written down before he looks who else is, so that of two at least one sees the other.
    """
    if not isinstance(run.files, Copies):
        yield here
        return
    bucket = run.files.bucket
    with contextlib.ExitStack() as stack:
        try:
            if share is not None:
                if who := claims.alive(bucket, LOCK, say):
                    raise Taken(who)
                claims.forget(bucket, LOCK)
            place = f"{SHARES}/{share.file}" if share else LOCK
            own = stack.enter_context(claims.held(bucket, place, str(share or ""), here, say))
            for other in _places(bucket):
                if other != place and (share is None or other == LOCK or _overlaps(share, Path(other).name)):
                    if who := claims.alive(bucket, other):
                        raise Taken(who)
        except Taken as taken:
            raise _refusal(run, str(taken.holder or "another process")) from None
        yield own


def _places(bucket: Bucket) -> list[str]:
    """What of a run on an object store may be held: all of it, and the shares that somebody has held."""
    return [LOCK, *(f"{SHARES}/{name}" for name in claims.places(bucket, SHARES))]


def _overlaps(share: Share, name: str) -> bool:
    found = _FILE.fullmatch(name)
    return found is not None and share.overlaps(Share(found[1], int(found[2]), max(1, int(found[3]))))


def _refuse_held(run: Run, path: Path, say: Say) -> None:
    """RunError if a process holds a file of the run."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:  # its share has ended
        return
    try:
        if not lease.lock(descriptor, fcntl.LOCK_EX):
            raise _in_use(run, path)
        if other := lease.unseen(path, say):
            raise _refusal(run, str(other))
        lease.forget(path, descriptor)
    finally:
        os.close(descriptor)


def _refuse_elsewhere(run: Run, path: Path) -> None:
    """RunError if a process of another machine holds a share whose work is paid for."""
    who = lease.read(path)
    if who is not None and not who.is_of_this_machine and lease.signed_lately(path):
        raise RunError(
            f"{who} is at work on {run.name}, and what its calls cost is kept by processes of one machine: do all "
            "shares of this stage there, or in one process"
        )


def _in_use(run: Run, path: Path) -> RunError:
    """The refusal of a file that is held, by whoever holds it or, if it is the run's, shares of it."""
    # What a run that was killed wrote down stands in its file while shares are at work.
    others = [] if path.parent == run.root / SHARES else _sharers(run)
    return _refusal(run, "; ".join(others) or str(lease.read(path) or "another process"))


def _refusal(run: Run, who: str) -> RunError:
    return RunError(f"{run.name} is in use by {who}: wait for it or choose another --out")


def _claim(run: Run, settings: dict[str, Any]) -> None:
    """Write recipe.json, unless it is there: what was true before we held the lock may no longer be."""
    if not check(run, settings):
        path, text = run.root / "recipe.json", _text(settings)
        run.files.make(path, lambda file: file.write(text), lambda: check(run, settings))


def write_settings(run: Run, settings: dict[str, Any]) -> None:
    """Write recipe.json of a run that is held."""
    text = _text(settings)
    run.files.write(run.root / "recipe.json", lambda file: file.write(text))


def _text(settings: dict[str, Any]) -> bytes:
    return (json.dumps(settings, indent=2, ensure_ascii=False, sort_keys=True) + "\n").encode()


def _clear(run: Run, names: str, share: Share | None = None) -> None:
    """Remove what a killed process left half-written: of files of such names, or of the shards of a share."""
    found = [*run.root.glob(f"tables/*/.{names}{TEMPORARY}")]
    if share is None:
        found += run.root.glob(f".{names}{TEMPORARY}")
    for leftover in found:
        if share is not None and not share.has(_index(leftover)):
            continue
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)


def _index(leftover: Path) -> int:
    """The shard of a temporary file; -1, which no share has, of one that is not a shard's."""
    number = leftover.name.split(".")[1].rpartition("-")[2]
    return int(number) if number.isdecimal() else -1


def _is_leftover(name: str) -> bool:
    return name.startswith(".recipe.json.") and name.endswith(TEMPORARY)


def holder(run: Run) -> str | None:
    """The processes that hold a run directory, in words; None if none does. It tries locks and reads signs of life."""
    if _is_held(run.root / LOCK):
        return str(lease.read(run.root / LOCK) or "another process")
    if isinstance(run.files, Copies):
        bucket = run.files.bucket
        return "; ".join(str(who) for place in _places(bucket) if (who := claims.seems_held(bucket, place))) or None
    return "; ".join(_sharers(run)) or None


def _sharers(run: Run) -> list[str]:
    """Who holds shares of a run, in words."""
    held = [path for path in sorted((run.root / SHARES).glob("*")) if _is_held(path)]
    return [str(lease.read(path) or f"another process ({path.name})") for path in held]


def _is_held(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no locks here, so nobody holds one
        pass
    finally:
        os.close(descriptor)
    who = lease.read(path)
    return who is not None and not who.is_of_this_machine and lease.signed_lately(path)
