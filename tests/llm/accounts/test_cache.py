"""The reply cache: what is in its key and what is not, many writers at once, kill -9, damage, a full disk."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from datagen.errors import MachineryError, RunError
from datagen.llm.accounts import cache as module
from datagen.llm.accounts.cache import Cache, default_path, key
from datagen.llm.messages import Message, Request


class Scene(BaseModel):
    text: str
    tags: list[str] = Field(max_length=3)


class Place(BaseModel):
    text: str


IMAGE = b"\x89PNG" + bytes(100)
REQUEST = Request((Message("system", "Be brief."), Message("user", "A scene, please.", (IMAGE,))), Scene, "prompts")


def completion(text: str) -> dict[str, Any]:
    return {"id": "1", "model": "m", "choices": [{"message": {"content": text}}]}


def name(number: int) -> str:
    return f"{number:064x}"


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "replies.sqlite")


CHANGES: dict[str, Request] = {
    "text": dataclasses.replace(REQUEST, messages=(REQUEST.messages[0], Message("user", "A scene!", (IMAGE,)))),
    "role": dataclasses.replace(REQUEST, messages=(Message("user", "Be brief."), REQUEST.messages[1])),
    "image": dataclasses.replace(
        REQUEST, messages=(REQUEST.messages[0], Message("user", "A scene, please.", (IMAGE + b"!",)))
    ),
    "image left out": dataclasses.replace(
        REQUEST, messages=(REQUEST.messages[0], Message("user", "A scene, please."))
    ),
    "reply": dataclasses.replace(REQUEST, reply=Place),
    "free text": dataclasses.replace(REQUEST, reply=None),
    "sample": dataclasses.replace(REQUEST, sample=1),
    "temperature": dataclasses.replace(REQUEST, temperature=0.5),
    "max_tokens": dataclasses.replace(REQUEST, max_tokens=10),
}


@pytest.mark.parametrize("what", CHANGES)
def test_all_that_decides_a_reply_is_in_its_key(what: str) -> None:
    assert key(CHANGES[what], "m") != key(REQUEST, "m")


def test_all_changes_have_keys_of_their_own() -> None:
    assert len({key(request, "m") for request in CHANGES.values()}) == len(CHANGES)
    assert key(REQUEST, "m") != key(REQUEST, "n")


def test_the_stage_is_not_in_the_key() -> None:
    assert key(dataclasses.replace(REQUEST, stage="scores"), "m") == key(REQUEST, "m")


def test_what_only_our_reading_knows_is_not_in_the_key() -> None:
    class Checked(Place):
        def wordy(self) -> bool:
            return len(self.text.split()) > 9

    Checked.__name__ = "Place"
    assert key(dataclasses.replace(REQUEST, reply=Checked), "m") == key(CHANGES["reply"], "m")


def test_a_key_holds_in_every_process_and_version() -> None:
    # If this fails, everything that users ever paid for is bought again: raise VERSION only if it must be.
    request = Request(
        (Message("system", "Be brief."), Message("user", "Grüße, 世界", (b"image",))), None, "x", 2, 1, 5
    )
    assert key(request, "m") == "1465ca7af27bb7e090928b80e8307e4bfe33ffeae71a342eccaff97bf619ee70"


@settings(max_examples=30, deadline=None)
@given(st.text(), st.text())
def test_texts_do_not_run_into_one_another(first: str, second: str) -> None:
    apart = Request((Message("user", first), Message("user", second)))
    joined = Request((Message("user", first + second), Message("user", "")))
    assert (key(apart, "m") == key(joined, "m")) == (second == "")


def test_text_with_half_a_surrogate_has_a_key() -> None:
    assert key(Request((Message("user", "\ud800"),)), "m") != key(Request((Message("user", "?"),)), "m")


def test_an_image_is_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    hashed = []
    real = hashlib.sha256
    monkeypatch.setattr(module.hashlib, "sha256", lambda data: (hashed.append(len(data)), real(data))[1])
    image = os.urandom(10_000)
    for sample in range(5):
        key(Request((Message("user", "?", (image, image)),), sample=sample), "m")
    assert hashed.count(10_000) == 1


def test_what_is_put_is_got(cache: Cache) -> None:
    assert cache.get(name(1)) is None
    big = completion("long " * 10_000)
    cache.put_many([(name(1), completion("short \ud800 \x00")), (name(2), big)])
    assert cache.get(name(1)) == completion("short \ud800 \x00")
    assert cache.get(name(2)) == big
    assert cache.path.stat().st_size + cache.path.with_name("replies.sqlite-wal").stat().st_size < len(json.dumps(big))


def test_the_first_reply_stays(cache: Cache) -> None:
    cache.put_many([(name(1), completion("first"))])
    cache.put_many([(name(1), completion("second"))])
    assert cache.get(name(1)) == completion("first")


def test_it_outlives_its_object(cache: Cache) -> None:
    cache.put_many([(name(1), completion("kept"))])
    cache.close()
    cache.close()
    assert Cache(cache.path).get(name(1)) == completion("kept")
    assert not list(cache.path.parent.glob("*.damaged-*"))


def test_no_pickle_is_stored(cache: Cache) -> None:
    cache.put_many([(name(1), completion("x"))])
    stored = sqlite3.connect(cache.path).execute("SELECT completion FROM replies").fetchone()[0]
    assert json.loads(zlib.decompress(stored)) == completion("x")


WRITER = """
import sys
from pathlib import Path
from datagen.llm.accounts.cache import Cache
cache = Cache(Path(sys.argv[1]))
print("open", flush=True)
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    cache.put_many([(f"{number:064x}", {"number": number, "choices": ["x" * 3000]})])
    assert cache.get(f"{number:064x}")["number"] == number
    print(number, flush=True)
"""


def writer(path: Path, start: int, end: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), str(start), str(end)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_several_processes_and_threads_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "replies.sqlite"
    processes = [writer(path, 100 * index, 100 * index + 130) for index in range(4)]  # they overlap
    ours = Cache(path)
    threads = [
        threading.Thread(target=lambda start=start: [ours.put_many([(name(n), {"number": n})]) for n in range(*start)])
        for start in ((1000, 1050), (1040, 1090))
    ]
    for thread in threads:
        thread.start()
    for worker in [*threads, *processes]:
        worker.join() if isinstance(worker, threading.Thread) else worker.communicate()
    assert [process.returncode for process in processes] == [0] * 4
    for number in (*range(430), *range(1000, 1090)):
        assert (ours.get(name(number)) or {})["number"] == number
    assert not list(path.parent.glob("*.damaged-*"))


def test_a_forked_child_may_use_it(cache: Cache) -> None:
    cache.put_many([(name(1), completion("ours"))])
    child = os.fork()
    if child == 0:
        try:
            assert cache.get(name(1)) == completion("ours")
            cache.put_many([(name(2), completion("theirs"))])
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    cache.put_many([(name(3), completion("ours"))])
    assert [cache.get(name(number)) is not None for number in (1, 2, 3)] == [True] * 3


def test_kill_9_loses_nothing_that_was_put(tmp_path: Path) -> None:
    path = tmp_path / "replies.sqlite"
    process = writer(path, 0, 100_000)
    assert process.stdout is not None
    seen = -1
    for line in process.stdout:
        seen = int(line) if line.strip().isdigit() else seen
        if seen == 200:
            process.send_signal(signal.SIGKILL)
            break
    process.communicate()
    again = Cache(path)
    assert all(again.get(name(number)) is not None for number in range(seen + 1))


def test_a_file_that_is_no_database_is_set_aside(tmp_path: Path) -> None:
    path, said = tmp_path / "replies.sqlite", list[str]()
    path.write_bytes(b"not a database" * 100)
    cache = Cache(path, said.append)
    cache.put_many([(name(1), completion("new"))])
    assert cache.get(name(1)) == completion("new")
    assert len(said) == 1 and "\n" not in said[0] and "damaged" in said[0]
    (aside,) = tmp_path.glob("replies.sqlite.damaged-*")
    assert aside.read_bytes() == b"not a database" * 100 and str(aside) in said[0]


def spoil(path: Path, cache: Cache, start: int) -> None:
    cache.put_many([(name(n), {"number": n, "text": os.urandom(400).hex()}) for n in range(2000)])
    cache.close()
    with path.open("r+b") as file:
        file.seek(start)
        file.write(os.urandom(3 * 4096))


def test_a_damaged_file_is_set_aside_and_its_sound_rows_are_saved(tmp_path: Path) -> None:
    path, said = tmp_path / "replies.sqlite", list[str]()
    spoil(path, Cache(path), 100 * 4096)
    cache = Cache(path, said.append)
    kept = sum((cache.get(name(number)) or {}).get("number") == number for number in range(2000))
    cache.put_many([(name(3000), completion("new"))])
    assert cache.get(name(3000)) == completion("new")
    assert kept > 1000
    if said:  # the blow may have hit nothing but the content of rows, of which each is noticed alone
        assert len(said) == 1 and "saved" in said[0] and list(tmp_path.glob("replies.sqlite.damaged-*"))


def test_two_that_meet_a_damaged_file_set_it_aside_once(tmp_path: Path) -> None:
    path, said = tmp_path / "replies.sqlite", list[str]()
    spoil(path, Cache(path), 4096)
    caches = [Cache(path, said.append) for _ in range(3)]
    threads = [
        threading.Thread(target=lambda cache=cache: [cache.get(name(n)) for n in range(2000)]) for cache in caches
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, cache in enumerate(caches):
        cache.put_many([(name(5000 + number), completion("new"))])
    assert all(cache.get(name(5000 + number)) for cache in caches for number in range(3))
    assert len(list(path.parent.glob("replies.sqlite.damaged-*[0-9]"))) == 1 and len(said) == 1


def test_a_reply_that_cannot_be_read_is_asked_for_again(cache: Cache) -> None:
    cache.put_many([(name(1), completion("long " * 1000))])
    with sqlite3.connect(cache.path) as database:
        database.execute("UPDATE replies SET completion = ?", (b"x\x9c flipped",))
    assert cache.get(name(1)) is None
    cache.put_many([(name(1), completion("again"))])
    assert cache.get(name(1)) == completion("again")


def test_a_flipped_bit_never_gives_another_reply(cache: Cache) -> None:
    """sqlite3 has no checksums of its own."""
    cache.put_many([(name(1), completion("short"))])
    with sqlite3.connect(cache.path) as database:
        ((stored,),) = database.execute("SELECT completion FROM replies").fetchall()
    for bit in range(8 * len(stored)):
        flipped = bytearray(stored)
        flipped[bit // 8] ^= 1 << bit % 8
        cache.put_many([(name(1), completion("short"))])
        with sqlite3.connect(cache.path) as database:
            database.execute("UPDATE replies SET completion = ?", (bytes(flipped),))
        assert cache.get(name(1)) in (None, completion("short"))


def test_a_full_disk_is_one_line_and_loses_nothing(cache: Cache) -> None:
    cache.put_many([(name(1), completion("kept"))])
    pages = cache._database.read("PRAGMA page_count")[0][0]
    cache._database.read(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(MachineryError, match="disk full while writing .*replies.sqlite: free some space and rerun"):
        cache.put_many([(name(n), {"text": os.urandom(20_000).hex()}) for n in range(2, 10)])
    assert cache.get(name(1)) == completion("kept") and cache.get(name(2)) is None
    cache._database.read(f"PRAGMA max_page_count = {10**6}")
    cache.put_many([(name(2), completion("now"))])
    assert cache.get(name(2)) == completion("now")


def test_a_folder_that_cannot_be_used_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="file"):
        Cache(tmp_path / "file" / "replies.sqlite")


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "theirs.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE replies (key TEXT)")
    with pytest.raises(RunError, match="belongs to another program"):
        Cache(path)


def test_a_newer_version_is_refused(cache: Cache) -> None:
    cache.close()
    with sqlite3.connect(cache.path) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(RunError, match="newer version"):
        Cache(cache.path)


def test_default_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DATAGEN_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_path() == tmp_path / "datagen" / "replies.sqlite"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which the specification says to ignore
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_path() == tmp_path / ".cache" / "datagen" / "replies.sqlite"
    monkeypatch.setenv("DATAGEN_CACHE", str(tmp_path / "mine"))
    assert default_path() == tmp_path / "mine" / "replies.sqlite"
    monkeypatch.setenv("DATAGEN_CACHE", str(tmp_path / "mine.sqlite"))
    assert default_path() == tmp_path / "mine.sqlite"
