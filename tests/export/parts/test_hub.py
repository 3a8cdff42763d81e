"""An upload to a hub, which is a stub on loopback: what it is sent, and one line for whatever it refuses."""

from __future__ import annotations

import base64
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from datagen.errors import InputError
from datagen.export.parts import hub

TOKEN = "hf_0123456789secret"


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub's API as an upload of small files asks for."""

    files: dict[str, bytes] = {}
    asked: list[tuple[str, Any]] = []
    private = True
    refuses = 0
    role = "write"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self, value: Any, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        if self.refuses or self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._answer({"error": "no"}, self.refuses or 401)
        elif self.path.endswith("/whoami-v2"):
            self._answer({"name": "me", "auth": {"accessToken": {"role": self.role}}} if self.role else {"name": "me"})
        elif "/tree/" in self.path:
            self._answer([{"type": "file", "path": name, "size": 1, "oid": "a" * 40} for name in self.files])
        else:
            siblings = [{"rfilename": name} for name in self.files]
            self._answer({"id": "me/pairs", "private": self.private, "siblings": siblings, "sha": "a" * 40})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        lines = [json.loads(line) for line in body.decode().splitlines() if line.strip()]
        self.asked.append((self.path, lines))
        if self.refuses or self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._answer({"error": "no"}, self.refuses or 401)
        elif self.path.endswith("/repos/create"):
            self._answer({"url": f"http://{self.headers['Host']}/datasets/me/pairs"})
        elif self.path.endswith("/validate-yaml"):
            self._answer({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            names = [file["path"] for file in lines[0]["files"]]
            self._answer({"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]})
        else:
            for line in lines:
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self._answer(
                {"commitUrl": f"http://{self.headers['Host']}/datasets/me/pairs/commit/a", "commitOid": "a" * 40}
            )


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    handler = type("Own", (Hub,), {"files": {".gitattributes": b""}, "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)  # what a process that starts so has from there
    monkeypatch.setenv(hub.TOKEN, TOKEN)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    yield handler
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.parquet").write_bytes(b"\x00\x01pairs")
    (tmp_path / "README.md").write_text("---\nlicense: apache-2.0\n---\ncard\n")
    return tmp_path


@pytest.mark.parametrize("public", [False, True])
def test_an_upload_is_private_unless_asked_otherwise_and_holds_the_very_files(
    stub: type[Hub], folder: Path, public: bool
) -> None:
    to = hub.target("me/pairs", public)
    assert to is not None and "me/pairs" in hub.push(folder, to)
    (path, [made]), *_ = stub.asked
    assert path.endswith("/repos/create") and made["type"] == "dataset"
    assert bool(made.get("private", made.get("visibility") == "private")) is not public
    assert stub.files["data/train.parquet"] == b"\x00\x01pairs" and b"apache-2.0" in stub.files["README.md"]
    hub.push(folder, to)  # the same export again is no stranger's


def test_what_a_data_set_holds_of_others_is_not_overwritten(stub: type[Hub], folder: Path) -> None:
    stub.files["data/mine.parquet"] = b"mine"
    to = hub.target("me/pairs", False)
    assert to is not None
    with pytest.raises(InputError, match=r"holds 1 files that are not of this export \(data/mine.parquet\)"):
        hub.push(folder, to)
    assert set(stub.files) == {".gitattributes", "data/mine.parquet"}


def test_a_public_data_set_gets_nothing_that_should_be_private(stub: type[Hub], folder: Path) -> None:
    stub.private = False
    to = hub.target("me/pairs", False)
    assert to is not None
    with pytest.raises(InputError, match="is there and public"):
        hub.push(folder, to)
    assert "README.md" not in stub.files


@pytest.mark.parametrize(("status", "said"), [(401, "refuses the token"), (403, "refuses the token"), (500, "500")])
def test_what_the_hub_refuses_is_one_line_without_the_token(
    stub: type[Hub], folder: Path, status: int, said: str
) -> None:
    stub.refuses = status
    to = hub.target("me/pairs", False)
    assert to is not None and TOKEN not in repr(to)
    with pytest.raises(InputError, match=said) as found:
        hub.push(folder, to)
    assert TOKEN not in str(found.value) and "\n" not in str(found.value)


@pytest.mark.parametrize("role", ["write", "fineGrained", ""])
def test_a_token_that_may_write_is_asked_about_and_nothing_is_made(stub: type[Hub], role: str) -> None:
    stub.role = role
    to = hub.target("me/pairs", False)
    assert to is not None
    hub.check(to)
    assert not stub.asked


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"HF_TOKEN": "hf_wrong"}, "refuses the token"),
        ({"HF_TOKEN": ""}, "none is set"),
        ({"role": "read"}, "only read"),
    ],
)
def test_a_token_that_does_not_do_is_told_before_anything_is_written(
    given: dict[str, str], said: str, stub: type[Hub], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from datagen import cli
    from datagen.commands import export

    stub.role = given.get("role", "write")
    monkeypatch.setenv(hub.TOKEN, given.get("HF_TOKEN", TOKEN))
    monkeypatch.setattr(export, "export_run", lambda *given, **named: pytest.fail("it is written"))
    line = ["datagen", "export", str(tmp_path / "run"), "--out", str(tmp_path / "out"), "--push", "me/pairs"]
    monkeypatch.setattr("sys.argv", line)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert said in told and len(told.splitlines()) == 1 and "hf_" not in told
    assert not stub.asked and not list(tmp_path.iterdir())


def test_a_hub_that_is_not_there_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(hub.TOKEN, TOKEN)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    to = hub.target("me/pairs", False)
    assert to is not None
    with pytest.raises(InputError, match="cannot be uploaded") as found:
        hub.push(folder, to)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("name", ["pairs", "a/b/c", "../x", "me/..", "me/a b", "https://hub/me/pairs", "me/é", "me/"])
def test_a_name_that_is_none_is_refused_before_anything_is_sent(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(hub.TOKEN, TOKEN)
    with pytest.raises(InputError, match="--push takes OWNER/NAME"):
        hub.target(name, False)


@pytest.mark.parametrize("token", ["hf_é", "hf_a\nb", "hf a", "\u202ehf_a"])
def test_a_token_that_is_none_is_one_line_that_does_not_show_it(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(hub.TOKEN, token)
    with pytest.raises(InputError, match="holds spaces or letters that no token has") as found:
        hub.target("me/pairs", False)
    assert token not in str(found.value)


@pytest.mark.parametrize("token", [None, "", "  "])
def test_a_missing_token_is_one_line(token: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(hub.TOKEN, raising=False)
    if token is not None:
        monkeypatch.setenv(hub.TOKEN, token)
    with pytest.raises(InputError, match="HF_TOKEN; none is set"):
        hub.target("me/pairs", False)
    assert hub.target("", False) is None
    with pytest.raises(InputError, match="--public is of a data set that --push names"):
        hub.target("", True)
