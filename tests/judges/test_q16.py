"""Q16, from its pickle as published."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import heads
import numpy as np
import pytest
import torch

from datagen.errors import ModelError
from datagen.judges import q16

PROMPTS = np.random.default_rng(4).normal(size=(2, 768)).astype(np.float16)


def save(path: Path, content: Any = PROMPTS) -> Path:
    path.write_bytes(pickle.dumps(content))
    return path


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return heads.publish(monkeypatch, q16, save(tmp_path / "prompts.p"))


def test_is_the_second_prompts_share_of_the_softmax_at_100(published: Path, clip_folder: Path) -> None:
    vectors = heads.embeddings(70)
    normalise = torch.nn.functional.normalize
    logits = 100 * normalise(torch.from_numpy(vectors)) @ normalise(torch.from_numpy(PROMPTS).float()).T
    expected = logits.softmax(1)[:, 1].numpy()
    found = heads.load("q16", published, clip_folder).score(vectors, [""] * 70)
    assert found == pytest.approx(expected, abs=1e-5)
    assert expected.min() < 0.1 and expected.max() > 0.9 and found[35] == 0.5


def test_a_score_depends_on_its_image_alone(published: Path, clip_folder: Path) -> None:
    heads.refuse_company(heads.load("q16", published, clip_folder), heads.embeddings(70))


class Code:
    def __reduce__(self) -> Any:
        return os.mkdir, ("made-by-a-pickle",)


@pytest.mark.parametrize("pinned", [True, False])
def test_a_pickle_with_code_in_it_runs_none(
    pinned: bool, tmp_path: Path, clip_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path / "prompts.p", [PROMPTS, Code()])
    if pinned:
        heads.publish(monkeypatch, q16, path)
    with pytest.raises(
        ModelError, match="it asks for posix.mkdir" if pinned else "is not the published file"
    ) as error:
        heads.load("q16", path, clip_folder)
    assert not (tmp_path / "made-by-a-pickle").exists() and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content",
    [PROMPTS.tolist(), {"prompts": PROMPTS}, PROMPTS[0], PROMPTS.astype(int), PROMPTS.astype(object), 3, None],
)
def test_a_pickle_of_something_else_is_refused(
    content: Any, tmp_path: Path, clip_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = heads.publish(monkeypatch, q16, save(tmp_path / "prompts.p", content))
    with pytest.raises(ModelError, match=r"prompts.p.*(do not fit|holds)"):
        heads.load("q16", path, clip_folder)
