"""Which noise is learnt from and how much it counts: published formulas, and nothing changes where none is asked."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from training import data
from training.cache import latents
from training.errors import TrainingError
from training.loop import batches
from training.loop.batches import Batches
from training.loop.objective import Objective
from training.losses import Errors
from training.models import diffusion
from training.models.noise import snr_weight
from training.run import main
from training.settings.training import parse
from training.trainables import Step

LIBRARY: Any = diffusers


@pytest.fixture(scope="module")
def parts(sd15_folder: Path, dataset: Path) -> tuple[Any, ...]:
    model = diffusion.load(str(sd15_folder))
    pairs = data.load(str(dataset))
    store = latents.open_or_build(model, pairs.images, pairs.prompts, resolution=model.resolution)
    return str(sd15_folder), str(dataset), model, pairs, store


def loading(parts: tuple[Any, ...], *more: str) -> Batches:
    folder, dataset, model, pairs, store = parts
    method = () if "--method" in more else ("--method", "sft")
    settings = parse(["--data", dataset, "--model", folder, "--out", "x", "--batch", "8", *method, *more])
    return Batches(batches.samples(pairs, settings), store, model, settings)


def test_steps_lie_in_their_range(parts: tuple[Any, ...]) -> None:
    for method in ("sft", "kto"):
        made = loading(parts, "--method", method, "--timestep-min", "200", "--timestep-max", "230")
        seen = torch.cat([made.get(step, range(8)).pairs.timesteps for step in range(12)])
        assert seen.min() >= 200 and seen.max() < 230 and len(seen.unique()) > 15
    whole, named = loading(parts), loading(parts, "--timestep-max", "1000")
    assert torch.equal(whole.get(2, range(8)).pairs.latents, named.get(2, range(8)).pairs.latents)


def test_an_offset_is_one_value_a_channel_and_leaves_all_else(parts: tuple[Any, ...]) -> None:
    plain, offset = (
        loading(parts).get(1, range(8)).pairs,
        loading(parts, "--noise-offset", "0.5").get(1, range(8)).pairs,
    )
    assert torch.equal(plain.timesteps, offset.timesteps) and plain.prompts == offset.prompts
    moved = offset.target - plain.target  # the noise is the target of a model that predicts it
    assert moved.std(dim=(2, 3)).max() < 1e-6 < moved[:, :, 0, 0].std()
    chosen, rejected = offset.target.chunk(2)
    assert torch.equal(chosen, rejected)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_min_snr_is_its_published_formula(kind: str) -> None:
    scheduler = LIBRARY.DDPMScheduler(prediction_type=kind)
    steps = torch.tensor([0, 10, 300, 700, 999])
    for step, weight in zip(steps.tolist(), snr_weight(scheduler, steps, 5.0).tolist(), strict=True):
        kept = float(scheduler.alphas_cumprod[step])
        snr = kept / (1 - kept)
        assert weight == pytest.approx(min(snr, 5) / (snr if kind == "epsilon" else snr + 1), rel=1e-6)
    weights = snr_weight(scheduler, torch.arange(1000), 5.0)
    assert weights.isfinite().all() and (weights > 0).all() and weights.max() <= 1


def test_min_snr_stays_finite_where_nothing_of_the_image_is_left() -> None:
    scheduler = LIBRARY.DDPMScheduler(prediction_type="v_prediction", rescale_betas_zero_snr=True)
    assert snr_weight(scheduler, torch.tensor([999]), 5.0).isfinite().all()


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_a_samples_loss_is_weighed_and_what_is_measured_is_not(method: str, parts: tuple[Any, ...]) -> None:
    scheduler = parts[2].noise_scheduler
    torch.manual_seed(0)
    errors = Errors(*torch.rand(4, 8))
    scored = {}
    for gamma in ("0", "5"):
        loader = loading(parts, "--method", method, "--min-snr", gamma)
        batch = loader.get(0, range(8))
        scored[gamma] = Objective(loader.settings, scheduler, soft=False)(batch, Step(errors))
    weights = snr_weight(scheduler, scored["0"].timesteps, 5.0)
    torch.testing.assert_close(scored["5"].total, scored["0"].total * weights)
    assert all(torch.equal(scored["5"].measured[name], value) for name, value in scored["0"].measured.items())
    assert not torch.equal(scored["5"].total, scored["0"].total)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--timestep-min", "500", "--timestep-max", "500"], "--timestep-min 500 is not below --timestep-max 500"),
        (["--timestep-min", "1000"], "the model has steps 0 to 999"),
        (["--timestep-max", "1001"], "the model has steps 0 to 999"),
        (["--timestep-min", "-1"], "--timestep-min"),
        (["--noise-offset", "-0.1"], "--noise-offset"),
        (["--noise-offset", "nan"], "--noise-offset"),
        (["--min-snr", "inf"], "--min-snr"),
        (["--lora-alpha", "4"], "--lora-alpha is for LoRA: give --lora-rank"),
        (["--lora-targets", "transformer"], "--lora-targets is for LoRA: give --lora-rank"),
        (["--lora-targets", "everything", "--lora-rank", "2"], "--lora-targets"),
    ],
)
def test_what_the_model_does_not_have_is_one_line_before_anything_is_encoded(
    given: list[str], says: str, sd15_folder: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["--data", str(dataset), "--model", str(sd15_folder), "--method", "sft", "--out", str(tmp_path / "o")]
    assert main([*line, "--steps", "1", *given]) == 2
    error = [text for text in capsys.readouterr().err.splitlines() if text.startswith("error: ")]
    assert len(error) == 1 and says in error[0]


def test_flow_matching_has_no_such_weight(sd15_folder: Path, dataset: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(sd15_folder, tmp_path / "flow")
    LIBRARY.FlowMatchEulerDiscreteScheduler().save_pretrained(folder / "scheduler")
    model = diffusion.load(str(folder))
    settings = parse(
        ["--data", str(dataset), "--model", str(folder), "--out", "x", "--method", "sft", "--min-snr", "5"]
    )
    with pytest.raises(TrainingError, match="trained by flow matching"):
        batches.check_noise(settings.noise, model.noise_scheduler)
    batches.check_noise(type(settings.noise)(), model.noise_scheduler)
