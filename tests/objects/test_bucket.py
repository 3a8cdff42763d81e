"""Requests of an object store: what is created once, what lost replies come to, refusals in one line."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterator
from pathlib import Path

import pytest
from object_store import FAULTS, Store, credentials, serving

from datagen import objects
from datagen.errors import InputError, RunError
from datagen.objects import bucket as requests


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    (tmp_path / "buckets" / "pictures").mkdir(parents=True)
    monkeypatch.setattr(requests, "FIRST_WAIT_S", 0.002)
    with serving(tmp_path / "buckets") as store, credentials(monkeypatch, store, tmp_path / "copies"):
        yield store


def opened(text: str = "s3://pictures/runs/one") -> objects.Bucket:
    return objects.opened(objects.parse(text))


@pytest.mark.parametrize(
    "text", ["s3://pictures", "s3://pictures/a b/ü", "s3://pictures/x%20y", "S3://pictures/a#b?c/"]
)
def test_what_was_put_is_there_whole_by_its_key(store: Store, text: str) -> None:
    there = opened(text)
    assert there.get("tables/k") is None and there.last("tables/k", 3) is None and there.entry("tables/k") is None
    assert there.put_new("tables/k", b"0123456789")
    assert there.get("tables/k") == b"0123456789"
    assert there.last("tables/k", 3) == b"789" and there.last("tables/k", 99) == b"0123456789"
    there.put("tables/k", b"other")
    assert {key: entry.size for key, entry in there.list("tables").items()} == {"tables/k": 5}
    assert list(there.holds()) == ["tables"]
    there.delete("tables/k")
    there.delete("tables/k")
    assert there.get("tables/k") is None


def test_of_many_that_make_one_key_one_succeeds(store: Store) -> None:
    there = opened()
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        made = list(pool.map(lambda number: there.put_new("k", b"%d" % number), range(24)))
    assert made.count(True) == 1
    assert there.get("k") == b"%d" % made.index(True)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_request_is_made_again_whatever_went_wrong_with_it(store: Store, fault: str) -> None:
    store.rate, store.only = 0.4, fault
    there = opened()
    made = [there.put_new(f"k{number}", b"%d" % number) for number in range(12)]
    read = [there.get(f"k{number}") for number in range(12)]
    assert store.faults[fault] >= 3
    assert made == [True] * 12 and read == [b"%d" % number for number in range(12)]
    assert not there.put_new("k0", b"another's")
    assert there.get("k0") == b"0"


def test_a_store_that_stays_away_is_one_line(store: Store) -> None:
    store.rate, store.only = 1.0, "busy"
    with pytest.raises(
        RunError, match=r"^s3://pictures/runs/one/k cannot be reached \(SlowDown\): rerun when .* kept$"
    ):
        opened().get("k")
    assert store.requests.total() == requests.ATTEMPTS


def test_a_bucket_that_is_not_there_is_named_at_once(store: Store) -> None:
    for ask in (lambda b: b.get("k"), lambda b: b.put_new("k", b""), lambda b: b.list(), lambda b: list(b.holds())):
        with pytest.raises(RunError, match=r"^there is no bucket s3://nobody: make it, or give the name of another$"):
            ask(opened("s3://nobody/runs"))
    assert store.requests.total() == 4


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            "<Error><Code>InvalidAccessKeyId</Code></Error>",
            "credentials in .InvalidAccessKeyId.: set AWS",
        ),
        ("<Error><Code>SignatureDoesNotMatch</Code></Error>", "does not let these credentials in"),
        ("<Error><Code>AccessDenied</Code></Error>", "does not let these credentials in"),
    ],
)
def test_a_refusal_says_what_to_set(store: Store, monkeypatch: pytest.MonkeyPatch, answer: str, says: str) -> None:
    class Refusing:
        def get(self, *args: object) -> None:
            raise PermissionError(
                f"Error performing GET - Server returned non-2xx status code: 403 Forbidden: {answer}"
            )

    there = opened()
    monkeypatch.setattr(there, "_library", Refusing())
    with pytest.raises(RunError, match=says) as refusal:
        there.get("k")
    assert "\n" not in str(refusal.value)


def test_no_credentials_and_a_wrong_region_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    there = object.__new__(requests.Bucket)
    there.address = objects.parse("s3://pictures/one")
    bare = "Received redirect without LOCATION, this normally indicates an incorrectly configured region"
    assert there._refusal("k", bare).startswith("s3://pictures lies in another region than us-east-1: set AWS_REGION")
    expired = "status code: 400 Bad Request: <Error><Code>ExpiredToken</Code></Error>"
    assert "does not let these credentials in (ExpiredToken)" in there._refusal("k", expired)
    none = "Error performing PUT http://169.254.169.254/latest/api/token in 2s - HTTP error: error sending request"
    other = "status code: 301 Moved Permanently: <Error><Code>PermanentRedirect</Code></Error>"
    assert there._refusal("k", none).startswith("no credentials for s3://pictures were found: set AWS_ACCESS_KEY_ID")
    assert there._refusal("k", other).startswith("s3://pictures lies in another region than us-east-1: set AWS_REGION")


@pytest.mark.parametrize("endpoint", ["localhost:9000", "s3://pictures", "127.0.0.1"])
def test_an_endpoint_that_is_no_url_is_named(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(RunError, match=f"cannot be opened .AWS_ENDPOINT_URL is {endpoint}, which does not begin with"):
        opened("s3://pictures/endpoint")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("s3://", "names no bucket"),
        ("s3:///runs", "names no bucket"),
        ("s3://Bucket/runs", "can be no bucket"),
        ("s3://b", "can be no bucket"),
        ("s4://bucket/runs", "nothing is known of s4:// .known: az, gs, s3"),
        ("gcs://bucket/runs", "did you mean 'gs'"),
        ("s3://bucket/a//b", "stands nothing"),
        ("s3://bucket/../b", "stands nothing"),
        ("s3://bucket/a\tb", "cannot be printed"),
        ("s3://bucket/" + "long" * 300, "give one of at most 800"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused(text: str, says: str) -> None:
    assert objects.is_address(text)
    with pytest.raises(InputError, match=says):
        objects.parse(text)


@pytest.mark.parametrize("text", ["runs/one", "/runs/s3", "C:/runs", "./s3/x", "~/runs", "a b", "s3"])
def test_a_path_is_no_address(text: str) -> None:
    assert not objects.is_address(text)


@pytest.mark.parametrize(
    "text", ["s3://bucket/runs/one", "s3://bucket/runs/one///", " s3://bucket/runs/one ", "S3://bucket/runs/one"]
)
def test_slashes_at_the_end_do_not_count(text: str) -> None:
    assert str(objects.parse(text)) == "s3://bucket/runs/one"


def test_a_dataset_is_copied_once_and_again_where_it_changed(store: Store) -> None:
    there = opened("s3://pictures/set")
    for name in ("README.md", "data/train-00000-of-00001.parquet"):
        there.put(name, name.encode())
    address = objects.parse("s3://pictures/set")
    folder = objects.fetched(address)
    asked = store.requests["GET"]
    assert (folder / "README.md").read_text() == "README.md"
    assert objects.fetched(address) == folder and store.requests["GET"] == asked
    there.put("README.md", b"changed!!")
    there.delete("data/train-00000-of-00001.parquet")
    objects.fetched(address)
    assert (folder / "README.md").read_text() == "changed!!"
    assert not list(folder.glob("data/*.parquet"))
    assert objects.fetched(objects.parse("s3://pictures/set/README.md")).read_text() == "changed!!"
    with pytest.raises(RunError, match="there is nothing at s3://pictures/nothing"):
        objects.fetched(objects.parse("s3://pictures/nothing"))
