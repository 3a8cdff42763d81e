from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants
from misfits import copy

from datagen.errors import ModelError
from datagen.weights import hub


class Unreachable:
    """A session of the hub's client on a machine without a network."""

    def __init__(self) -> None:
        self.requests: list[str] = []

    def head(self, url: str, **options: Any) -> None:
        self.requests.append(url)
        raise ConnectionError("Name or service not known")


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Unreachable:
    session = Unreachable()
    monkeypatch.setattr(huggingface_hub, "get_session", lambda: session)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    hub.unreachable.cache_clear()
    yield session
    hub.unreachable.cache_clear()


def test_a_hub_that_cannot_be_reached_is_asked_once(unreachable: Unreachable) -> None:
    for model in ("nobody/nothing", "nobody/other"):
        with pytest.raises(ModelError) as caught:
            hub.folder(model)
        assert f"{model} is neither a folder here nor whole in the local cache" in str(caught.value)
        assert "cannot be reached (Name or service not known)" in str(caught.value)
        assert "\n" not in str(caught.value)
    assert len(unreachable.requests) == 1
    assert constants.is_offline_mode()


@pytest.mark.parametrize("name", ["nothing", "./here/there", "~/models/sd15", "a/b/c", "a b/c", ""])
def test_what_is_no_id_is_told_without_asking(name: str, unreachable: Unreachable) -> None:
    with pytest.raises(ModelError, match="there is no folder"):
        hub.folder(name)
    assert not unreachable.requests


def test_weights_that_a_repository_has_in_half_precision_alone_are_asked_for(
    sd15_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import diffusers

    whole = copy(sd15_folder, tmp_path)
    for path in whole.glob("*/*.safetensors"):
        path.rename(path.with_suffix(".fp16.safetensors"))
    asked: list[tuple[bool, str | None]] = []

    def download(model: str, *, local_files_only: bool, variant: str | None, **_: object) -> str:
        asked.append((local_files_only, variant))
        return str(whole if variant else tmp_path)

    monkeypatch.setattr(diffusers.DiffusionPipeline, "download", download)
    monkeypatch.setattr(hub, "unreachable", lambda: "")
    assert hub.folder("someone/half") == whole
    assert asked == [(True, None), (False, None), (False, "fp16")]
