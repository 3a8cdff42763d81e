"""Data sets of the Hugging Face hub: a small hub on this machine serves them, and then it is gone."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import io
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datagen.tables import hub
from training import data
from training.errors import TrainingError

Rows = Callable[..., list[dict[str, Any]]]
COMMIT = "0" * 39 + "1"


@contextlib.contextmanager
def serve(files: dict[str, bytes], asked: list[str]) -> Iterator[str]:
    """A hub with one data set, someone/pairs, whose Parquet files are those of its own conversion."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            asked.append(self.path)
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            path = self.path.split("?")[0].replace("%2F", "/")
            name = path.rsplit("/resolve/refs/convert/parquet/", 1)[-1]
            headers, content, status = {}, b'{"error": "not found"}', 404
            if path.startswith("/api/datasets/someone/pairs"):
                held = [*files] if path.endswith("parquet") else ["README.md"]
                siblings = [{"rfilename": file} for file in held]
                content = json.dumps({"id": "someone/pairs", "sha": COMMIT, "siblings": siblings}).encode()
                status = 200
            elif name in files:
                content, status = files[name], 200
                headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(key, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def use(patch: pytest.MonkeyPatch, endpoint: str, home: Path) -> None:
    from huggingface_hub import constants

    patch.setattr(constants, "ENDPOINT", endpoint)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    patch.setattr(constants, "HF_HUB_CACHE", str(home))
    patch.setattr(constants, "HF_HUB_DISABLE_XET", True)


def test_files_come_one_by_one_and_serve_offline(
    tmp_path: Path, make_rows: Rows, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {}
    for i, name in enumerate(f"default/{part}.parquet" for part in ("train/0000", "train/0001", "test/0000")):
        stream = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(make_rows(3, 3 * i)), stream)
        files[name] = stream.getvalue()
    asked: list[str] = []
    with serve(files, asked) as endpoint:
        use(monkeypatch, endpoint, tmp_path / "home")
        assert len(data.load("someone/pairs", limit=2)) == 2
        assert [path.rsplit("/", 3)[1:] for path in asked if "resolve" in path] == [
            ["default", "train", "0000.parquet"]
        ]
        whole = data.load("someone/pairs")
        assert len(whole) == 6
        with pytest.raises(TrainingError, match="no 'validation' split; it has test, train"):
            data.load("someone/pairs", split="validation")
    capsys.readouterr()
    assert data.load("someone/pairs").digest() == whole.digest()
    assert "the hub cannot be asked: 2 files of someone/pairs fetched before are used" in capsys.readouterr().err
    with pytest.raises(TrainingError, match="no data at someone/others: there is no such file or folder"):
        data.load("someone/others")


@pytest.mark.parametrize("source", ["out/dataset", "yuvalkirstain/pickapic_v2", "a-b/c.d"])
def test_owner_and_name_may_be_an_id(source: str) -> None:
    assert hub.is_id(source)


@pytest.mark.parametrize("source", ["dataset", "/tmp/x", "./a/b", "a/b/c", "../b", "a b/c", ""])
def test_other_words_are_places(source: str) -> None:
    assert not hub.is_id(source)


def test_an_unreachable_hub_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no route\nto host")

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", unreachable)
    with pytest.raises(
        TrainingError, match=r"no data at no/such: there is no .*\(no route to host\); check"
    ) as caught:
        data.load("no/such")
    assert "\n" not in str(caught.value)
