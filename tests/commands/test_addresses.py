"""Commands that are given the address of a run: what they say and write is what they do of the same run on a disk."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from object_store import Store, credentials, serving

from benchmarks.support import judged_run
from datagen import objects, store
from datagen.commands import audit as audits
from datagen.commands import report
from datagen.commands.relabel import relabel
from datagen.errors import InputError

ADDRESS = "s3://pictures/one"


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose images are judged."""
    root = tmp_path_factory.mktemp("judged") / "run"
    judged_run.write(root, judged_run.recipe(40, shard_size=16, changes=("labels.min_probability=0.6",)))
    return root


@pytest.fixture
def there(judged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store that holds it."""
    shutil.copytree(judged, tmp_path / "buckets/pictures/one", ignore=shutil.ignore_patterns(".lock"))
    with serving(tmp_path / "buckets") as served, credentials(monkeypatch, served, tmp_path / "copies"):
        yield served


def test_a_run_on_a_store_is_labelled_anew_and_looked_at_as_one_on_a_disk(
    judged: Path, there: Store, tmp_path: Path
) -> None:
    local, address = tmp_path / "run", store.copy_of(objects.parse(ADDRESS))
    shutil.copytree(judged, local)
    for place in (local, address):
        summary = relabel(store.Run(place), ["labels.min_probability=0.7"])
        assert summary.rows("pairs")
        audits.audit(place)
    bucket = there.folder / "pictures/one"
    assert (bucket / "audit.json").read_bytes() == (local / "audit.json").read_bytes()
    files = [path.relative_to(local) for path in (local / "dataset").rglob("*") if path.is_file()]
    assert files and all((bucket / path).read_bytes() == (local / path).read_bytes() for path in files)
    pages = [report.write(place, tmp_path / f"{k}.html", False).path for k, place in enumerate((local, address))]
    told = [re.search('id="data">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL) for page in pages]
    assert told[0] is not None and told[1] is not None and told[0][1] == told[1][1]


def test_a_page_of_a_run_on_a_store_is_written_where_it_is_asked_for(there: Store) -> None:
    with pytest.raises(InputError, match="s3://pictures/one is on an object store: say where .* with --out"):
        report.write(store.copy_of(objects.parse(ADDRESS)), None, False)


def test_answers_of_people_are_kept_on_a_disk(there: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="s3://pictures/one is on an object store, and answers lie beside a run"):
        relabel(store.Run(store.copy_of(objects.parse(ADDRESS))), [], people=tmp_path / "answers.csv")
