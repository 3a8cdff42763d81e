"""Settings from a TOML file: named ones and one's own, flags above them, errors in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from training import config
from training.config import CONFIGS, parse
from training.errors import TrainingError

NEEDED = ["--data", "x", "--out", "y"]


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_named_config_is_complete_and_names_its_source(path: Path) -> None:
    settings = parse(["--config", path.stem, *NEEDED])
    assert settings.model != config.EMBEDDED and settings.resolution in (512, 1024)
    assert "arXiv" in path.read_text()


def test_the_published_settings() -> None:
    livo, mapo, lora, dpo = (
        parse(["--config", name, *NEEDED]) for name in ("livo-sd15", "mapo-sdxl", "mapo-sdxl-lora", "dpo-sdxl")
    )
    assert (livo.lr, livo.batch, livo.steps, livo.warmup, livo.keep) == (1e-6, 8, 15000, 0, 0)
    assert livo.options == {"beta": 1000, "alpha": 500, "gamma1": 1, "gamma2": 0.5}
    assert (mapo.lr, mapo.batch, mapo.steps, mapo.lora_rank) == (1e-5, 16, 2000, 0)
    assert mapo.options == {"beta": 0.1, "kappa": 0.5, "timescale": 1000, "form": "code"}
    assert lora == parse(["--config", "mapo-sdxl", "--lora-rank", "8", *NEEDED])
    assert (dpo.batch, dpo.warmup, dpo.options["beta"]) == (2048, 200, 5000)


def test_flags_win_over_a_config(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('data = "x"\nout = "y"\nmethod = "dpo"\nlr = 2e-4\ncheckpointing = true\nhard_labels = false\n')
    settings = parse(["--config", str(path)])
    assert (settings.method, settings.lr, settings.checkpointing, settings.hard_labels) == ("dpo", 2e-4, True, False)
    assert settings.steps == parse([*NEEDED, "--method", "dpo"]).steps  # what it leaves open has its default
    over = parse(["--config", str(path), "--lr", "3e-4", "--no-checkpointing"])
    assert (over.lr, over.checkpointing) == (3e-4, False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("learning_rate = 1e-5", "unknown setting 'learning_rate'; known: "),
        ("stepz = 5", "unknown setting 'stepz'; did you mean 'steps'?"),
        ("steps = 'many'", "'many' is not a whole number"),
        ("steps = [5]", "steps must be a number, a text, true or false, not [5]"),
        ("steps = ", "is not TOML"),
        ("method = 'sppo'", "invalid choice: 'sppo'"),
    ],
)
def test_bad_configs_are_one_line(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(TrainingError) as caught:
        parse(["--config", str(tmp_path / "own.toml"), *NEEDED, *([] if "method" in text else ["--method", "sft"])])
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(TrainingError, match="no config 'livo-sd3': give a .toml file, or one of dpo-sdxl, livo-sd15"):
        parse(["--config", "livo-sd3", *NEEDED])


def test_a_value_encoder_is_trained_as_livo_trains_it_whatever_the_loss() -> None:
    livo = parse([*NEEDED, "--method", "livo"])
    dpo = parse([*NEEDED, "--method", "dpo", "--part", "value-encoder"])
    assert (dpo.lr, dpo.steps, dpo.batch, dpo.keep) == (livo.lr, livo.steps, livo.batch, livo.keep)
    assert dpo.options["beta"] == parse([*NEEDED, "--method", "dpo"]).options["beta"]


def test_several_at_once_are_learned_by_keep() -> None:
    assert parse([*NEEDED, "--method", "livo", "--at-once", "2"]).keep > 0
    with pytest.raises(TrainingError, match="--at-once is learned by the penalty that --keep weighs, which is 0 here"):
        parse([*NEEDED, "--config", "livo-sd15", "--at-once", "2"])


def test_what_decides_no_weights_does_not_belong_to_the_result() -> None:
    first = parse([*NEEDED, "--method", "sft"])
    other = parse(["--data", "x", "--out", "z", "--method", "sft", "--micro-batch", "1", "--checkpoint-every", "7"])
    assert first.result() == other.result()
    assert first.result() != parse([*NEEDED, "--method", "sft", "--ema", "0.9"]).result()
