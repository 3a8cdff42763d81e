"""`datagen doctor` says of every judge whether it can be asked, and of the others what they need."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from datagen import judges
from datagen.commands import doctor_judges
from datagen.judges import JUDGES


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    import huggingface_hub

    monkeypatch.setenv("DATAGEN_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda repo, file: None)
    judges._load_once.cache_clear()
    yield tmp_path
    judges._load_once.cache_clear()


def test_every_judge_has_one_line() -> None:
    lines = doctor_judges.report()
    assert [what for what, _ in lines] == [f"judge {name}" for name in JUDGES.names()]
    assert all(finding and "\n" not in finding for _, finding in lines)


NEEDS = {
    "pickscore": "needs the folder of yuvalkirstain/PickScore_v1, and {place}/pickscore is not there: fetch it with",
    "hpsv2": "needs HPS_v2.1_compressed.pt of the hub's xswu/HPSv2, and {place}/hpsv2 is not there",
    "aesthetic_v1": "needs sa_0_4_vit_l_14_linear.pth (its SHA-256 begins with 2cd4e60f)",
    "aesthetic_v2": "needs sac+logos+ava1-l14-linearMSE.pth (its SHA-256 begins with 21dd590f)",
    "aesthetic_v25": "needs aesthetic_predictor_v2_5.pth (its SHA-256 begins with a6caf256)",
    "q16": "needs prompts.p (its SHA-256 begins with 9b6c4118)",
    "nudenet": "needs 320n.onnx (its SHA-256 begins with c15d8273) of the package nudenet",
    "shieldgemma2": "needs the folder of google/shieldgemma-2-4b-it, and {place}/shieldgemma2 is not there: fetch it",
    "hpsv3": "needs HPSv3.safetensors of the hub's MizzenAI/HPSv3, and {place}/hpsv3 is not there",
    "nsfw": "needs clip_autokeras_binary_nsfw.zip (its SHA-256 begins with 905520bb)",
    "safety_checker": "needs the folder of CompVis/stable-diffusion-safety-checker",
    "attributes": "the CLIP model ViT-L-14/openai is not in the local cache: it is downloaded when it is first asked",
    "clip": "all that it needs is here",
    "endpoint_yesno": "it asks the LLM server below",
}


@pytest.mark.parametrize("name", NEEDS)
def test_what_a_judge_needs_is_said_with_its_licences(name: str, place: Path) -> None:
    finding = dict(doctor_judges.report())[f"judge {name}"]
    assert finding.startswith(NEEDS[name].format(place=place)) and "; code: " in finding and "; weights: " in finding


@pytest.mark.parametrize(("name", "embedded"), [("vlm", True), ("imagereward", True), ("clip", False), ("q16", False)])
def test_of_a_judge_whose_weights_are_missing_an_embedded_namesake_is_named(name: str, embedded: bool) -> None:
    finding = dict(doctor_judges.report())[f"judge {name}"]
    assert (f"judges.{name}.weights = 'embedded' is here" in finding) == embedded


def test_a_licence_that_binds_is_said_before_its_weights_are_here() -> None:
    assert "weights: AGPL-3.0 (head)" in dict(doctor_judges.report())["judge aesthetic_v25"]


def test_a_judge_of_somebody_elses_that_breaks_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_judge.py").write_text("raise RuntimeError('two\\nlines')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(type(JUDGES), "names", lambda self: ["broken_judge"])
    monkeypatch.setattr(type(JUDGES), "check", lambda self, name: None)
    ((what, finding),) = doctor_judges.report()
    assert what == "judge broken_judge" and "cannot be loaded: RuntimeError: two lines" in finding
    sys.modules.pop("broken_judge", None)
