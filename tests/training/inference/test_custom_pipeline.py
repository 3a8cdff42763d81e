"""What LiVO training leaves works in diffusers alone, and draws what the guide draws, bit for bit."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from datagen.weights.value_pipeline import DoesNotFit, WithValues
from training.inference.value_guide import ValueGuide
from training.models import diffusion
from training.trainables.livo import LivoTrainable

CRACKS, SMOKE = "cracks considered inappropriate", "smoke considered inappropriate"
PROMPTS = ["a chef in park 1", "a doctor", "a long prompt " + "word " * 200]
PRINCIPLES = [CRACKS, None, (SMOKE, CRACKS)]
NEGATIVE = "ugly"
OPTIONS = {"num_inference_steps": 2, "guidance_scale": 4.0, "height": 64, "width": 64, "output_type": "latent"}

# Stock code, in a process that can import neither of our packages: models and value encoders in, latents out.
STOCK = f"""
import importlib.util, sys
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import save_file

assert not importlib.util.find_spec("training") and not importlib.util.find_spec("datagen")

def draw(pipe, prompt, **more):
    count = 1 if isinstance(prompt, str) else len(prompt)
    seeds = [torch.Generator().manual_seed(i) for i in range(count)]
    return pipe(prompt, **more, generator=seeds, **{OPTIONS}).images

made = {{}}
for k, (model, folder) in enumerate(zip(sys.argv[2::2], sys.argv[3::2])):
    pipe = DiffusionPipeline.from_pretrained(model, custom_pipeline=folder, trust_remote_code=True)
    pipe.set_progress_bar_config(disable=True)
    made[f"{{k}} plain"] = draw(pipe, {PROMPTS})
    pipe.load_value_encoder(folder)
    made[f"{{k}} idle"] = draw(pipe, {PROMPTS})
    made[f"{{k}} one"] = draw(pipe, {PROMPTS[0]!r}, principle={CRACKS!r})
    made[f"{{k}} mixed"] = draw(pipe, {PROMPTS}, principle={PRINCIPLES}, negative_prompt={NEGATIVE!r})
    made[f"{{k}} same"] = draw(pipe, {PROMPTS}, principle={SMOKE!r})
save_file(made, sys.argv[1])
"""


@pytest.fixture(scope="module")
def trained(sd15_folder: Path, sdxl_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Path]]:
    """Models, each with the folder of a value encoder unlike its text encoder: both families, full and light."""
    made = []
    for model in (sd15_folder, sdxl_folder):
        for rank in (0, 2):
            torch.manual_seed(1)
            trainable = LivoTrainable(diffusion.load(str(model)), leak_penalty=0.0, rank=rank)
            with torch.no_grad():
                for weight in trainable.parameters():
                    weight.add_(0.3 * torch.randn_like(weight))
            made.append((model, tmp_path_factory.mktemp("livo")))
            trainable.save(made[-1][1])
    return made


def draw(pipe: Any, prompts: list[str], words: dict[str, Any]) -> torch.Tensor:
    seeds = [torch.Generator().manual_seed(i) for i in range(len(prompts))]
    images: torch.Tensor = pipe(**words, generator=seeds, **OPTIONS).images
    return images


def guided(model: Path, folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """The same images by this project's guide in a stock pipeline."""
    import diffusers

    kind: Any = diffusers.DiffusionPipeline
    pipe = kind.from_pretrained(model)
    pipe.set_progress_bar_config(disable=True)
    yield "plain", draw(pipe, PROMPTS, {"prompt": PROMPTS})
    guide = ValueGuide(pipe, folder)
    yield "idle", draw(pipe, PROMPTS, {"prompt": PROMPTS})
    yield "one", draw(pipe, PROMPTS[:1], guide(PROMPTS[:1], [CRACKS]))
    yield "mixed", draw(pipe, PROMPTS, guide(PROMPTS, PRINCIPLES, [NEGATIVE] * 3))
    yield "same", draw(pipe, PROMPTS, guide(PROMPTS, [SMOKE] * 3))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_three_lines_of_stock_code_draw_what_the_guide_draws(trained: list[tuple[Path, Path]], tmp_path: Path) -> None:
    # -S: no .pth file is read, so the editable install puts no clone on the path; the libraries are put there.
    env = {**os.environ, "PYTHONPATH": sysconfig.get_path("purelib"), "HF_MODULES_CACHE": str(tmp_path / "modules")}
    given = [str(path) for pair in trained for path in pair]
    line = [sys.executable, "-S", "-c", STOCK, str(tmp_path / "made.safetensors"), *given]
    done = subprocess.run(line, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made = load_file(tmp_path / "made.safetensors")
    wanted = {f"{k} {name}": image for k, pair in enumerate(trained) for name, image in guided(*pair)}
    assert made.keys() == wanted.keys()
    for name, image in wanted.items():
        assert torch.equal(made[name], image), name
    for k in range(len(trained)):
        assert torch.equal(made[f"{k} idle"], made[f"{k} plain"])
        assert not torch.allclose(made[f"{k} same"], made[f"{k} plain"], atol=1e-4)


def test_a_principle_without_an_encoder_or_without_a_prompt_is_one_line() -> None:
    pipe = WithValues()
    with pytest.raises(DoesNotFit, match="load_value_encoder"):
        pipe("a chef", principle=CRACKS)
