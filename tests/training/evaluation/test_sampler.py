"""Sampling: seeds that never meet, tokens only where a principle is, pictures kept for their own settings alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from training.errors import TrainingError
from training.evaluation import sampler
from training.evaluation.image_folder import ImageFolder, fingerprint
from training.evaluation.sampler import PromptSet, Sampler
from training.inference.sampling import Job
from training.settings import evaluation

PROMPTS = PromptSet(
    ["a", "b", "c"], [("no smoke",), (), ("no smoke", "no cracks")], ["x", "x", "y"], [True, True, False]
)


def sampling(out: Path, seed: int = 0, images: int = 2, prompt_set: PromptSet = PROMPTS, **more: Any) -> Sampler:
    drawn = evaluation.Drawn(**{"model": "none", "images": images, "steps": 1, "guidance": 1.0, **more})
    job = evaluation.Job(out=str(out), batch=2, device="cpu")
    return Sampler(evaluation.Settings(drawn=drawn, job=job), seed, prompt_set, None)


def test_seeds_and_calibration_never_share_noise(tmp_path: Path) -> None:
    used_seeds = [job.seed for seed in (0, 1, 2) for job in sampling(tmp_path, seed).jobs]
    assert len(set(used_seeds)) == len(used_seeds) == 18
    assert [job.seed for job in sampling(tmp_path).jobs] == list(range(6))
    assert max(used_seeds) < 2 * sampler.SEEDS + sampler.SEEDS // 2


def test_a_prompt_without_a_principle_gets_no_token(tmp_path: Path) -> None:
    """The released code puts "not applicable" into the value encoder as if it were a principle."""
    made = sampling(tmp_path)
    steered = made.with_tokens(made.jobs, 1.0)
    assert [job.principles for job in steered] == [("no smoke",)] * 2 + [()] * 2 + [("no smoke", "no cracks")] * 2
    assert [(job.prompt, job.seed) for job in steered] == [(job.prompt, job.seed) for job in made.jobs]
    with pytest.raises(TrainingError, match="a value encoder needs --principle"):
        sampling(tmp_path, prompt_set=PromptSet(["a"], [()], ["x"], [True])).with_tokens([Job(0, 0)], 1.0)


def test_tokens_are_used_as_often_as_was_calibrated_for_the_setting(tmp_path: Path) -> None:
    made = sampling(tmp_path, images=40)
    used = [bool(job.principles) for job in made.with_tokens(made.jobs, {"x": 0.25, "y": 0.5})]
    assert (sum(used[:40]), sum(used[40:80]), sum(used[80:])) == (10, 0, 20)


def test_calibration_evens_the_groups_of_each_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Base: one image in four shows the minority. With the token three in four do: it is used every second time."""

    def generate(pipe: Any, prompts: Any, jobs: list[Job], **more: Any) -> list[Image.Image]:
        assert {job.prompt for job in jobs} == {0}  # the second prompt has no principle, the third states its group
        return [picture(int((job.seed % 4 == 0) != bool(job.principles))) for job in jobs]

    def shares(images: Any, texts: Any) -> list[float]:
        minority = sum(image.getpixel((0, 0))[0] for image in images) / len(images)
        return [minority, 1 - minority]

    monkeypatch.setattr(sampler, "generate", generate)
    monkeypatch.setattr(sampler, "load_pipeline", lambda *given: None)
    made = sampling(tmp_path)
    made.shares = shares
    assert made.calibrate() == {"x": 0.5}
    made.shares = None
    with pytest.raises(TrainingError, match="--use-probability auto needs a --reader"):
        made.calibrate()


def picture(grey: int) -> Image.Image:
    return Image.new("RGB", (4, 4), (grey, grey, grey))


def test_a_folder_keeps_pictures_for_its_key_alone(tmp_path: Path) -> None:
    names = ["0-a.png", "0-b.png"]
    first = ImageFolder(tmp_path / "base", names, {"steps": 1})
    assert not first.begun and first.missing() == [0, 1]
    first.begin({"said": 1})
    first.put(0, picture(1))
    again = ImageFolder(tmp_path / "base", names, {"steps": 1})
    assert again.begun and again.notes == {"said": 1} and again.missing() == [1]
    other_seed = ImageFolder(tmp_path / "base", ["1-a.png"], {"steps": 1})
    other_seed.begin({})
    other_seed.put(0, picture(2))
    with pytest.raises(TrainingError, match="drawn with other settings"):
        ImageFolder(tmp_path / "base", names, {"steps": 2})
    assert ImageFolder(tmp_path / "base", names, {"steps": 1}).missing() == [1]
    assert ImageFolder(tmp_path / "base", ["1-a.png"], {"steps": 1}).missing() == []


def test_a_fingerprint_follows_the_weights(tmp_path: Path) -> None:
    for folder, weights in (("a", b"1"), ("b", b"2"), ("c", b"1")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "weights.safetensors").write_bytes(weights)
        (tmp_path / folder / "metrics.jsonl").write_text(folder)
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "c") != fingerprint(tmp_path / "b")
    assert fingerprint(tmp_path / "a" / "weights.safetensors") == fingerprint(tmp_path / "c" / "weights.safetensors")
    assert fingerprint("some/hub-id") == "some/hub-id"
    known = fingerprint(tmp_path / "a")
    (tmp_path / "a" / "checkpoints" / "step-00000004").mkdir(parents=True)
    (tmp_path / "a" / "checkpoints" / "step-00000004" / "weights.safetensors").write_bytes(b"of the training")
    assert fingerprint(tmp_path / "a") == known


def test_only_missing_pictures_are_sampled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    used_seeds: list[int] = []

    def generate(pipe: Any, prompts: Any, jobs: list[Job], **more: Any) -> list[Image.Image]:
        used_seeds.extend(job.seed for job in jobs)
        return [picture(job.seed) for job in jobs]

    monkeypatch.setattr(sampler, "generate", generate)
    monkeypatch.setattr(sampler, "load_pipeline", lambda *given: None)
    made, _ = sampling(tmp_path).sample()
    assert used_seeds == list(range(6)) and made.prompt_of == [0, 0, 1, 1, 2, 2]
    (tmp_path / "images" / "base" / "0-00001-00.png").unlink()
    used_seeds.clear()
    again, _ = sampling(tmp_path).sample()
    assert used_seeds == [2] and again.arms["base"][2].getpixel((0, 0)) == (2, 2, 2)
    with pytest.raises(TrainingError, match="drawn with other settings, prompts or weights: give another --out"):
        sampling(tmp_path, guidance=2.0).sample()
    assert used_seeds == [2]


def test_an_adapter_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="there is no --adapter .*seed-3"):
        sampling(tmp_path, 3, adapter=str(tmp_path / "seed-{seed}"))
