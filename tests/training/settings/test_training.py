"""Settings of a run: named configs and one's own, defaults by loss, part and model, what does not go together."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.errors import TrainingError
from training.losses import LOSSES
from training.models.embedded import EMBEDDED
from training.settings.reading import CONFIGS
from training.settings.training import PROGRAM, parse

NEEDED = ["--data", "x", "--out", "y"]
WAYS = ("", "-lora", "-value-encoder")


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_named_config_is_complete_and_names_its_source(path: Path) -> None:
    run = parse(["--config", path.stem, *NEEDED]).run
    assert run.model != EMBEDDED and run.resolution in (512, 1024)
    assert "arXiv" in path.read_text()


def test_the_published_settings() -> None:
    livo, mapo, lora, dpo = (
        parse(["--config", name, *NEEDED]) for name in ("livo-sd15", "mapo-sdxl", "mapo-sdxl-lora", "dpo-sdxl")
    )
    taken = livo.optimizer
    assert (taken.lr, taken.batch, taken.steps, taken.warmup) == (1e-6, 8, 15000, 0)
    assert livo.value_encoder.leak_penalty == 0
    assert livo.loss == {"beta": 1000, "alpha": 500, "gamma1": 1, "gamma2": 0.5}
    taken = mapo.optimizer
    assert (taken.lr, taken.batch, taken.steps, mapo.unet.lora_rank) == (1e-5, 16, 2000, 0)
    assert mapo.loss == {"beta": 0.1, "kappa": 0.5, "timescale": 1000, "form": "code"}
    assert lora == parse(["--config", "mapo-sdxl", "--lora-rank", "8", *NEEDED])
    assert (dpo.optimizer.batch, dpo.optimizer.warmup, dpo.loss["beta"]) == (2048, 200, 5000)


def test_every_default_of_a_loss_is_a_setting_or_an_option_of_it() -> None:
    for name, loss in LOSSES.items():
        for model in (EMBEDDED, "elsewhere"):
            settings = parse([*NEEDED, "--method", name, "--model", model])
            assert set(settings.loss) == set(loss.option_names)
        known = {option.name for option in PROGRAM.options if option.group != "loss"} | set(loss.option_names)
        assert all({*values} <= known for values in (loss.embedded, *loss.published.values()))
        assert {*loss.published} <= {f"{family}{kind}" for family in ("sd15", "sdxl") for kind in WAYS}, name


def test_a_value_encoder_is_trained_as_livo_trains_it_whatever_the_loss() -> None:
    livo = parse([*NEEDED, "--method", "livo"])
    dpo = parse([*NEEDED, "--method", "dpo", "--part", "value-encoder"])
    assert dpo.optimizer == livo.optimizer and dpo.value_encoder == livo.value_encoder
    assert dpo.loss["beta"] == parse([*NEEDED, "--method", "dpo"]).loss["beta"]


def test_several_at_once_are_learned_by_the_leak_penalty() -> None:
    assert parse([*NEEDED, "--method", "livo", "--max-principles", "2"]).value_encoder.leak_penalty > 0
    says = "--max-principles is learned by the penalty that --leak-penalty weighs, which is 0 here"
    with pytest.raises(TrainingError, match=says):
        parse([*NEEDED, "--config", "livo-sd15", "--max-principles", "2"])


def test_what_decides_no_weights_does_not_belong_to_the_result() -> None:
    first = parse([*NEEDED, "--method", "sft"])
    other = parse(["--data", "x", "--out", "z", "--method", "sft", "--micro-batch", "1", "--checkpoint-every", "7"])
    assert first.result() == other.result()
    assert first.result() != parse([*NEEDED, "--method", "sft", "--ema", "0.9"]).result()
