"""What one process holds at a time on an object store: `lease.py` where there are no locks and no files to touch.

A claim is an object of the next number below a key, made by one request that succeeds for one process alone; the one
with the highest number counts. Nothing is asked of the store but that: no lock of its own, no update on a condition,
which some accept and do not keep. A holder writes its object anew every few seconds, as a sign of life.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import threading
import time
from collections.abc import Iterator

from datagen.errors import RunError
from datagen.objects import Bucket, Entry
from datagen.store import lease
from datagen.store.lease import Holder, Lease, Say, Taken, quiet

FREE = b"{}\n"  # of a claim that has ended


class Claim:
    """What `held` gives: `check` as of a `Lease`, which is looked at as well."""

    def __init__(self, bucket: Bucket, key: str, number: int, who: Holder, here: Lease) -> None:
        self._bucket, self._key, self._number, self._who, self._here = bucket, key, number, who, here
        self._ended = threading.Event()
        self._taken = False
        self._signs = threading.Thread(target=self._beat, daemon=True)
        self._signs.start()

    def check(self) -> None:
        """RunError if another process has taken this place, as it may if this one was stopped for minutes."""
        self._here.check()
        if self._taken:
            who = _newest(self._bucket, self._key)[1] or "another process"
            raise RunError(
                f"{self._bucket.address} was taken over by {who}, as this process gave no sign of life for "
                f"{lease.DEAD_S:.0f} s: what is finished is kept, and that process goes on"
            )

    def end(self) -> None:
        """Leave the place to others."""
        self._ended.set()
        self._signs.join(lease.BEAT_S)
        if not self._taken:
            with contextlib.suppress(RunError):  # a store that is away; the claim then ends a minute later
                self._bucket.put(_name(self._key, self._number), FREE)

    def _beat(self) -> None:
        for sign in itertools.count(1):
            if self._ended.wait(lease.BEAT_S):
                return
            with contextlib.suppress(RunError):  # a store that is away for a moment
                if _newest(self._bucket, self._key)[0] != self._number:
                    self._taken = True
                    return
                self._bucket.put(_name(self._key, self._number), _text(self._who, sign))


@contextlib.contextmanager
def held(bucket: Bucket, key: str, job: str, here: Lease, say: Say = quiet) -> Iterator[Claim]:
    """Hold a place on the store. Taken if another process does; its signs of life are waited for, a minute at most."""
    if who := alive(bucket, key, say):
        raise Taken(who)
    before, _, _ = _newest(bucket, key)
    number, me = before + 1, lease.me(job)
    if not bucket.put_new(_name(key, number), _text(me, 0)):
        raise Taken(_newest(bucket, key)[1])
    if (newest := _newest(bucket, key))[0] != number:  # where we looked for so long that two have come and gone
        bucket.delete(_name(key, number))
        raise Taken(newest[1])
    for older in _numbers(bucket, key):
        if older < number:
            bucket.delete(_name(key, older))
    claim = Claim(bucket, key, number, me, here)
    try:
        yield claim
    finally:
        claim.end()


def alive(bucket: Bucket, key: str, say: Say = quiet) -> Holder | None:
    """Who holds a place; None if nobody does, or a process that is dead. `say` is told for whom is waited."""
    number, who, entry = _newest(bucket, key)
    if who is None or entry is None:
        return None
    if who.is_of_this_machine:
        return who if not who.is_me and who.runs else None
    if time.time() - entry.changed > lease.LONG_AGO_S:
        return None
    say(f"waiting for {who}: without a sign of life within {lease.DEAD_S:.0f} s it is dead, and this process goes on")
    deadline = time.monotonic() + lease.DEAD_S
    while time.monotonic() < deadline:
        time.sleep(min(1.0, lease.BEAT_S / 5))
        now = _newest(bucket, key)
        if now != (number, who, entry):
            return now[1]
    return None


def forget(bucket: Bucket, key: str) -> None:
    """Note that the holder of a place is dead, so that no other process waits for it; if it lives, it is told."""
    number, who, _ = _newest(bucket, key)
    if who is not None and not who.is_me:
        bucket.put_new(_name(key, number + 1), FREE)


def seems_held(bucket: Bucket, key: str) -> Holder | None:
    """The same without waiting, by the store's clock and this machine's."""
    _, who, entry = _newest(bucket, key)
    if who is None or entry is None:
        return None
    if who.is_of_this_machine:
        return who if who.runs else None
    return who if time.time() - entry.changed < 2 * lease.DEAD_S else None


def places(bucket: Bucket, key: str) -> list[str]:
    """The names of the places right below a key that somebody has held, in order."""
    return sorted({name.split("/")[-2] for name in bucket.list(key)})


def _newest(bucket: Bucket, key: str) -> tuple[int, Holder | None, Entry | None]:
    """The number of the claim that counts, whose it is, and its entry; 0 and None where there is none."""
    entries = _numbers(bucket, key)
    if not entries:
        return 0, None, None
    number = max(entries)
    return number, lease.parsed(bucket.get(_name(key, number)) or b""), entries[number]


def _numbers(bucket: Bucket, key: str) -> dict[int, Entry]:
    names = {name.rpartition("/")[2]: entry for name, entry in bucket.list(key).items()}
    return {int(name): entry for name, entry in names.items() if name.isdecimal()}


def _name(key: str, number: int) -> str:
    return f"{key}/{number:08d}"


def _text(who: Holder, sign: int) -> bytes:
    return json.dumps({**dataclasses.asdict(who), "sign": sign}).encode() + b"\n"
