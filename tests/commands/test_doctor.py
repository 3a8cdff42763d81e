"""Which profile `auto` takes, when weights count as present, and what is said of the LLM."""

from __future__ import annotations

import http.server
import json
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import misfits
import pytest
import torch
from safetensors.torch import save_file

from datagen import generators, world
from datagen.commands import doctor
from datagen.errors import ModelError, RecipeError
from datagen.llm.local import serve
from datagen.recipe import Profile, Recipe, load
from datagen.weights import parts


@pytest.fixture
def folder(sdxl_folder: Path, tmp_path: Path) -> Path:
    """What a folder of SDXL's looks like from outside."""
    return looks_like(tmp_path / "full", sdxl_folder, 128)


def looks_like(to: Path, tiny: Path, latents: int) -> Path:
    """A tiny model that says that it is for images of so many latents."""
    to.mkdir()
    folder = misfits.copy(tiny, to)
    misfits.reset(folder / "unet/config.json", sample_size=latents)
    return folder


@pytest.fixture
def recipe(folder: Path, sd15_folder: Path, tmp_path: Path) -> Recipe:
    small = looks_like(tmp_path / "small", sd15_folder, 64)
    return load("pick-style", [f"profiles.sd15.model='{small}'", f"profiles.sdxl.model='{folder}'"])


def test_weights_are_looked_for_and_never_loaded(folder: Path) -> None:
    def missing(model: str) -> str | None:
        why = generators.missing(model)
        return why and why.reason

    assert missing(str(folder)) is None
    (folder / "unet/diffusion_pytorch_model.safetensors").unlink()
    assert str(missing(str(folder))).startswith(f"{folder}/unet has no weights")
    (folder / "model_index.json").unlink()
    assert str(missing(str(folder))).startswith(f"{folder} is not a diffusers folder, it has no model_index.json")
    assert str(missing("/no/where")).startswith("there is no folder /no/where")
    assert missing("nobody/has-this") == "not in the Hugging Face cache"


def test_auto_without_weights_asks_for_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def torch_would_be_imported() -> None:
        raise AssertionError

    monkeypatch.setattr(doctor, "gpu", torch_would_be_imported)
    recipe = load("pick-style", [f"profiles.{name}.model='nobody/has-this'" for name in ("sd15", "sdxl")])
    assert doctor.choose(recipe, "auto") == ("embedded", "no weights of sd15 or sdxl on this machine")


@pytest.mark.parametrize(
    ("card", "profile", "reason"),
    [
        (None, "embedded", "no CUDA GPU"),
        (("small", 4.0), "embedded", "too small"),
        (("middle", 8.0), "sd15", "has room"),
        (("large", 80.0), "sdxl", "has room"),
    ],
)
def test_auto_takes_what_the_gpu_has_room_for(
    monkeypatch: pytest.MonkeyPatch, recipe: Recipe, card: tuple[str, float] | None, profile: str, reason: str
) -> None:
    monkeypatch.setattr(doctor, "gpu", lambda: card)
    monkeypatch.setenv("DATAGEN_LLM_MODEL", "m")
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    chosen, why = doctor.choose(recipe, "auto")
    assert chosen == profile
    assert reason in why


def test_auto_takes_no_profile_whose_prompts_nobody_can_write(monkeypatch: pytest.MonkeyPatch, recipe: Recipe) -> None:
    monkeypatch.setattr(doctor, "gpu", lambda: ("large", 80.0))
    for name in ("OPENAI_API_KEY", "DATAGEN_LLM_API_KEY", "OPENAI_BASE_URL", "DATAGEN_LLM_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATAGEN_LLM_MODEL", "m")
    chosen, why = doctor.choose(recipe, "auto")
    assert chosen == "embedded"
    assert "but no LLM" in why and "OPENAI_API_KEY" in why
    offline = recipe.model_copy(
        update={"profiles": {n: p.model_copy(update={"writer": "offline"}) for n, p in recipe.profiles.items()}}
    )
    assert doctor.choose(offline, "auto")[0] == "sdxl"


def served(recipe: Recipe, monkeypatch: pytest.MonkeyPatch, gib: float | None) -> tuple[str, str]:
    """What auto takes of a recipe whose prompts need no LLM, on a GPU of so many GiB."""
    monkeypatch.setattr(doctor, "gpu", lambda: None if gib is None else ("card", gib))
    profiles = {name: profile.model_copy(update={"writer": "offline"}) for name, profile in recipe.profiles.items()}
    return doctor.choose(recipe.model_copy(update={"profiles": profiles}), "auto")


def test_auto_goes_by_need_and_not_by_name_or_place(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"sd15": "Zoë's", "embedded": "first", "sdxl": "mine"}
    other = recipe.model_copy(update={"profiles": {names[n]: recipe.profile(n) for n in ("sd15", "sdxl", "embedded")}})
    room = "its weights are here and the GPU (card, 80 GiB) has room for 12 GiB"
    assert served(other, monkeypatch, 80) == ("mine", room)
    assert served(other, monkeypatch, 8)[0] == "Zoë's"
    assert served(other, monkeypatch, None) == ("first", "weights of mine and Zoë's are here, but no CUDA GPU")


def test_auto_takes_no_model_whose_needs_are_unknown_and_says_so(
    recipe: Recipe, sd15_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strange = looks_like(tmp_path / "strange", sd15_folder, 80)
    other = recipe.profile("sdxl").model_copy(update={"model": str(strange)})
    profiles = {"strange": other, "embedded": recipe.profile("embedded")}
    name, why = served(recipe.model_copy(update={"profiles": profiles}), monkeypatch, 80)
    assert name == "embedded"
    assert why == "weights of strange are here, but what they need is not in prompts/models.toml"
    assert "what it needs is not known" in doctor._about(str(strange), "")
    profiles["strange"] = other.model_copy(update={"model": "no.such.generator:x"})
    name, why = served(recipe.model_copy(update={"profiles": profiles}), monkeypatch, 80)
    assert (name, why) == ("embedded", "no weights of strange on this machine")


def test_auto_needs_the_weights_of_every_model_of_a_profile(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    both = recipe.profile("sdxl").model_copy(update={"other_models": ("nobody/has-this",)})
    profiles = {**recipe.profiles, "sdxl": both}
    assert served(recipe.model_copy(update={"profiles": profiles}), monkeypatch, 80)[0] == "sd15"


def test_auto_takes_the_least_demanding_where_none_can_be_served(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = recipe.model_copy(update={"profiles": {n: recipe.profile(n) for n in ("sdxl", "sd15")}})
    assert served(real, monkeypatch, None) == (
        "sd15", "no profile can be served well: weights of sdxl and sd15 are here, but no CUDA GPU"
    )  # fmt: skip
    gone = real.profile("sd15").model_copy(update={"model": "stable-diffusion-v1-5/stable-diffusion-v1-5"})
    half = real.model_copy(update={"profiles": {**real.profiles, "sd15": gone}})
    assert served(half, monkeypatch, None)[0] == "sdxl"
    none = half.model_copy(update={"profiles": {"a": gone, "sd15": gone}})
    assert served(none, monkeypatch, None) == (
        "a", "no profile can be served well: no weights of a or sd15 on this machine"
    )  # fmt: skip


def test_what_stands_for_a_folder_is_said(folder: Path, tmp_path: Path) -> None:
    said = doctor._about(str(folder), "")
    assert said.startswith("weights are here; needs a GPU with 12 GiB, made for 1024 px, images under openrail++")
    assert said.endswith("(as stabilityai/stable-diffusion-xl-base-1.0, which it is like)")
    assert doctor._about("embedded", "") == "weights are here; needs no GPU, made for 64 px, images under apache-2.0"
    assert doctor._about("flax:x", "").startswith("no generator is called 'flax'")


def test_a_profile_that_is_asked_for_is_taken_or_refused(recipe: Recipe) -> None:
    assert doctor.choose(recipe, "sd15") == ("sd15", "as asked")
    with pytest.raises(RecipeError, match="has no profile 'sd15'; .*known: auto, embedded"):
        only = recipe.model_copy(update={"profiles": {"embedded": recipe.profile("embedded")}})
        doctor.choose(only, "sd15")


class _Models(http.server.BaseHTTPRequestHandler):
    """Answers GET /v1/models with what the test has put into `status`, `body` and `to`."""

    status, body, to = 200, b"", ""

    def do_GET(self) -> None:
        self.send_response(self.status)
        if self.to:
            self.send_header("Location", self.to)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Models]]:
    class Handler(_Models):
        body = b'{"data": [{"id": "small"}, {"id": "large"}]}'

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("DATAGEN_LLM_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
        monkeypatch.setenv("DATAGEN_LLM_MODEL", "small")
        monkeypatch.setenv("DATAGEN_LLM_API_KEY", "sk-secret")
        yield Handler
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "body", "found"),
    [
        (200, b'{"data": [{"id": "small"}]}', "answers and has the model"),
        (200, b'{"data": [{"id": "other"}]}', "answers, but lists no such model"),
        (200, b"<html>", "answers, but not with a list of models; the address usually ends in /v1"),
        (200, b"[]", "answers, but not with a list of models; the address usually ends in /v1"),
        (401, b"wrong key sk-secret", "refuses the key"),
        (404, b"", "answers with HTTP 404"),
    ],
)
def test_the_llm_server_is_asked_for_its_models(models: type[_Models], status: int, body: bytes, found: str) -> None:
    models.status, models.body = status, body
    said = doctor._llm()
    assert said.startswith("small at http://127.0.0.1:")
    assert said.endswith(f": {found}")
    assert "secret" not in said


def test_the_key_goes_to_no_other_host(models: type[_Models]) -> None:
    models.status, models.to = 302, "http://127.0.0.1:1/elsewhere"
    assert doctor._llm().endswith(": answers with HTTP 302")


def test_an_llm_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("DATAGEN_LLM_BASE_URL", "OPENAI_BASE_URL", "DATAGEN_LLM_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("DATAGEN_LLM_MODEL", "small")
    assert doctor._llm().startswith("none that can be asked: https://")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("DATAGEN_LLM_BASE_URL", f"http://127.0.0.1:{free.getsockname()[1]}/v1")
        assert doctor._llm().endswith(": does not answer (Connection refused)")
    gguf = tmp_path / "model.gguf"
    gguf.touch()
    monkeypatch.setenv("DATAGEN_LLM_BASE_URL", f"local:{gguf}")
    assert doctor._llm() == f"local:{gguf}, to be served by ourselves"


def test_the_fallback_has_a_line_of_its_own(
    models: type[_Models], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    models.status, models.body = 200, b'{"data": [{"id": "second"}]}'
    monkeypatch.delenv("DATAGEN_LLM_FALLBACK_MODEL", raising=False)
    assert doctor._fallback_llm() == "none is named (DATAGEN_LLM_FALLBACK_MODEL)"
    monkeypatch.setenv("DATAGEN_LLM_FALLBACK_MODEL", "second")
    said = doctor._fallback_llm()
    assert said.startswith("second at http://127.0.0.1:") and said.endswith(": answers and has the model")
    monkeypatch.setenv("DATAGEN_LLM_FALLBACK_BASE_URL", "https://a.example/v1")
    assert doctor._fallback_llm().startswith("none that can be asked: https://a.example/v1 needs a key")
    monkeypatch.setenv("DATAGEN_LLM_FALLBACK_BASE_URL", "mock:")
    assert doctor._fallback_llm() == "the mock, which replies from word lists and understands nothing"
    monkeypatch.setenv("DATAGEN_LLM_FALLBACK_BASE_URL", f"local:{tmp_path / 'none.gguf'}")
    assert "there is no such GGUF file" in doctor._fallback_llm()


def test_what_a_local_llm_would_run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "installed", lambda: False)
    assert doctor._local_llm() == "llama.cpp is not installed: pip install '.[local-llm]' in the clone"
    monkeypatch.setattr(serve, "installed", lambda: True)
    monkeypatch.setattr(serve, "packaged", lambda: None)
    assert doctor._local_llm().endswith(", give it a GGUF file")


def test_a_model_that_is_here_draws_a_test_picture(folder: Path, sd15_folder: Path, tmp_path: Path) -> None:
    profile = load("pick-style", ["profiles.embedded.steps=2"]).profile("embedded")
    assert doctor._drawn(profile, "embedded", "", None) == ", a test picture was drawn"
    assert doctor._drawn(profile, "nobody/has-this", "", None) == ""
    assert doctor._drawn(profile, str(folder), "", None) == "; no test picture was drawn, as the GPU may not do"
    broken = misfits.copy(sd15_folder, tmp_path)
    misfits.rewrite(broken / "unet", misfits.without("mid_block"))
    said = doctor._drawn(profile, str(broken), "", None)
    assert said.startswith(f", BUT NO PICTURE: the weights of unet in {broken} do not fit: ")


def profile_of(**given: object) -> Profile:
    """A profile of the package's first recipe with other values."""
    base = load("pick-style", []).profile("embedded")
    return Profile.model_validate({**base.model_dump(), **given})


CLIP_OF_THE_WORLD = ({"clip": {}}, {"clip": {"model": "embedded"}}, {"world": {}}, {"world": {}, "clip": {}})


@pytest.mark.parametrize("judges", CLIP_OF_THE_WORLD)
def test_judges_of_the_world_are_refused_for_other_models(
    judges: dict[str, dict[str, str]], sd15_folder: Path
) -> None:
    for model in (str(sd15_folder), f"stable_diffusion:{sd15_folder}", "nobody/has-this"):
        with pytest.raises(ModelError, match="can judge the embedded model's images only, and .*judges.clip.model"):
            doctor.check(profile_of(model=model, judges=judges))
    mixed = profile_of(model="embedded", other_models=[str(sd15_folder)], judges=judges)
    with pytest.raises(ModelError, match="and '.*sd15' draws others"):
        doctor.check(mixed)


@pytest.mark.parametrize("judges", CLIP_OF_THE_WORLD)
def test_judges_of_the_world_judge_the_embedded_model_wherever_it_lies(
    judges: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    copy = shutil.copytree(world.PIPELINE, tmp_path / "mine")
    for model in ("embedded", "stable_diffusion:embedded", str(copy)):
        assert doctor.check(profile_of(model=model, judges=judges)) == ""


def test_other_judges_judge_any_model(sd15_folder: Path, clip_folder: Path) -> None:
    judges = {"clip": {"model": str(clip_folder)}}
    assert doctor.check(profile_of(model=str(sd15_folder), judges=judges)) == ""


def test_of_a_generator_of_ones_own_it_is_said_what_the_worlds_judges_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generators, "missing", lambda model, revision="": None)
    monkeypatch.setattr(generators, "check", lambda profile: None)
    said = doctor.check(profile_of(model="mine.flat:any", judges={"world": {}}))
    assert said == "; world can judge the embedded model's images only"


def lora_of(folder: Path, width: int) -> str:
    """A LoRA for a U-Net that reads texts of some width, as a file."""
    name = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
    factors = {f"{name}.lora_A.weight": torch.zeros(2, width), f"{name}.lora_B.weight": torch.zeros(32, 2)}
    save_file(factors, folder / f"lora-{width}.safetensors")
    return str(folder / f"lora-{width}.safetensors")


@pytest.mark.parametrize("first", [True, False])
def test_what_does_not_fit_a_model_is_refused_before_any_weights_are_read(
    first: bool, sd15_folder: Path, clip_folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(parts, "load", None)
    monkeypatch.setenv("DATAGEN_IMAGES_API_KEY", "none")
    judges = {"clip": {"model": str(clip_folder)}}
    other = misfits.copy(sd15_folder, tmp_path)
    misfits.reset(other / "vae/config.json", scaling_factor=0.5)
    models: dict[str, object] = {"model": str(sd15_folder)} if first else {"model": "endpoint:x"}
    models |= {} if first else {"other_models": [str(sd15_folder)]}
    width = json.loads((sd15_folder / "unet/config.json").read_text())["cross_attention_dim"]
    whole: dict[str, object] = {"adapters": [lora_of(tmp_path, width)], "vae": str(sd15_folder)} if first else {}
    assert doctor.check(profile_of(**models, **whole, judges=judges)) == ""
    wrong: list[tuple[dict[str, object], str]] = [
        ({"scheduler": "lcm", "steps": 60}, "LCMScheduler cannot sample in 60 steps"),
    ]
    if first:  # what belongs to it alone
        wrong += [
            ({"adapters": [lora_of(tmp_path, 2048)]}, "its texts are 2048 wide"),
            ({"adapters": [str(tmp_path / "nowhere")]}, "there is no adapter"),
            ({"vae": str(other)}, "is not of this model's family"),
        ]
    for given, words in wrong:
        with pytest.raises(ModelError, match=words):
            doctor.check(profile_of(**models, **given, judges=judges))


def test_an_option_that_a_generator_does_not_know_is_refused_before_anything_is_made(
    monkeypatch: pytest.MonkeyPatch, clip_folder: Path
) -> None:
    monkeypatch.setattr(generators, "missing", lambda model, revision="": None)
    with pytest.raises(ModelError, match="the generator of 'endpoint:x' knows no adapters: leave it out"):
        doctor.check(profile_of(model="endpoint:x", adapters=["a"], judges={"clip": {"model": str(clip_folder)}}))
