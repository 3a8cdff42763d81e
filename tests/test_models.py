"""Where a model lies, whether it is whole, and what it needs: found without loading or downloading anything."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import misfits
import pytest

from datagen import models, recipe, world
from datagen.errors import ModelError
from datagen.models import Missing, Needs
from datagen.weights import hub


@pytest.fixture
def folder(sd15_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sd15_folder, tmp_path / "model"))


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    import diffusers

    def download(*_: object, **options: object) -> str:
        assert options["local_files_only"], "a download was asked for"
        raise OSError("not cached")

    monkeypatch.setattr(diffusers.DiffusionPipeline, "download", download)


@pytest.fixture
def snapshot(sd15_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the cache of the hub holds of some/model at its branch main and as revision v1."""
    import huggingface_hub

    repository = tmp_path / "cache" / "models--some--model"
    shutil.copytree(sd15_folder, repository / "snapshots" / "0123abc")
    (repository / "refs").mkdir()
    for name in ("main", "v1"):
        (repository / "refs" / name).write_text("0123abc")
    look = huggingface_hub.try_to_load_from_cache
    monkeypatch.setattr(
        huggingface_hub, "try_to_load_from_cache", lambda *a, **k: look(*a, **k, cache_dir=repository.parent)
    )
    return repository / "snapshots" / "0123abc"


def test_a_whole_model_misses_nothing_and_is_found(folder: Path) -> None:
    assert models.missing("embedded") is None and models.missing(str(folder)) is None
    assert models.find("embedded").folder == world.PIPELINE and models.find("embedded").name == "embedded"
    found = models.find(str(folder))
    assert (found.folder, found.name) == (folder, "model")


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no index": (lambda f: (f / "model_index.json").unlink(), "is not a diffusers folder, it has no model_index.json"),
    "index no JSON": (lambda f: (f / "model_index.json").write_text("{"), "model_index.json is not JSON"),
    "one part": (lambda f: [p.unlink() for p in f.glob("vae/*.safetensors")], "vae has no weights"),
    "a part's folder": (lambda f: shutil.rmtree(f / "text_encoder"), "has no text_encoder"),
    "a pickle": (
        lambda f: [p.rename(p.with_suffix(".bin")) for p in f.glob("unet/*.safetensors")],
        "a pickle can run",
    ),
    "another name": (
        lambda f: [p.rename(p.with_name("unet-ema.safetensors")) for p in f.glob("unet/*.safetensors")],
        "weights are expected in model.safetensors (transformers) or diffusion_pytorch_model.safetensors",
    ),
    "a dangling link": (
        lambda f: [(p.unlink(), p.symlink_to(f / "nothing")) for p in f.glob("unet/*.safetensors")],
        "cannot be read: No such file",
    ),
    "no tokenizer": (lambda f: shutil.rmtree(f / "tokenizer"), "has no tokenizer with tokenizer.json or vocab.json"),
    "an empty tokenizer": (
        lambda f: [p.unlink() for p in f.glob("tokenizer/*") if p.name in ("tokenizer.json", "vocab.json")],
        "has no tokenizer with",
    ),
    "no scheduler": (lambda f: shutil.rmtree(f / "scheduler"), "scheduler_config.json cannot be read"),
    "a U-Net for inpainting": (
        lambda f: misfits.reset(f / "unet/config.json", in_channels=9),
        "reads 9 channels and gives 4, the VAE's latents have 4",
    ),
    "another pipeline": (lambda f: misfits.reset(f / "model_index.json", _class_name="FluxPipeline"), "FluxPipeline"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_missing_is_said_alike_before_and_while_finding(folder: Path, damage: str) -> None:
    harm, message = DAMAGE[damage]
    harm(folder)
    missing = models.missing(str(folder))
    assert missing is not None and message in missing.reason and not missing.downloadable
    with pytest.raises(ModelError) as caught:
        models.find(str(folder))
    assert str(caught.value) == missing.reason and "\n" not in missing.reason


def test_sharded_weights_are_whole_when_every_shard_is_there(folder: Path) -> None:
    (weights,) = (folder / "unet").glob("*.safetensors")
    shards = [weights.with_name(f"{weights.stem}-0000{k}-of-00002.safetensors") for k in (1, 2)]
    weights.rename(shards[0])
    index = {"weight_map": {"a": shards[0].name, "b": shards[1].name}}
    weights.with_suffix(".safetensors.index.json").write_text(json.dumps(index))
    missing = models.missing(str(folder))
    assert missing is not None and f"lacks {shards[1].name}, 1 of 2 files" in missing.reason
    shutil.copy(shards[0], shards[1])
    assert models.missing(str(folder)) is None


def test_a_model_that_is_there_as_a_variant_alone_is_whole(folder: Path) -> None:
    for path in folder.glob("*/*.safetensors"):
        path.rename(path.with_suffix(".fp16.safetensors"))
    assert models.missing(str(folder)) is None and models.find(str(folder)).folder == folder


@pytest.mark.parametrize(
    ("name", "reason"),
    [("model.safetensors", "is cut short or no safetensors file"), ("model.ckpt", r"from_single_file\(FILE\)")],
)
def test_one_file_that_is_none_is_told_so_and_a_pickle_what_makes_safetensors_of_it(
    name: str, reason: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(b"x")
    missing = models.missing(str(tmp_path / name))
    assert missing is not None and re.search(reason, missing.reason)
    with pytest.raises(ModelError, match=reason):
        models.find_vae(str(tmp_path / name))


def test_a_vae_is_found_alone_or_in_a_model_and_known_by_its_weights(folder: Path, tmp_path: Path) -> None:
    alone = Path(shutil.copytree(folder / "vae", tmp_path / "my-vae"))
    one, other = models.find_vae(str(alone)), models.find_vae(str(folder))
    assert (one.folder, one.name) == (alone, "my-vae") and (other.folder, other.name) == (folder / "vae", "model")
    assert one.revision == other.revision and len(one.revision) == 16
    misfits.rewrite(alone, lambda tensors: {name: value + 1 for name, value in tensors.items()})
    assert models.find_vae(str(alone)).revision != other.revision
    with pytest.raises(ModelError, match="there is no folder /no/where"):
        models.find_vae("/no/where")
    with pytest.raises(ModelError, match="has no weights"):
        models.find_vae(str(folder / "tokenizer"))


def test_a_vae_of_the_hub_is_taken_from_the_cache(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    snapshot = Path(shutil.copytree(folder / "vae", tmp_path / "snapshots" / "0123abc"))
    seen: list[tuple[str, bool]] = []

    def download(name: str, *, local_files_only: bool, **_: object) -> str:
        seen.append((name, local_files_only))
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    found = models.find_vae("someone/a-vae")
    assert (found.folder, found.name, found.revision) == (snapshot, "someone/a-vae", "0123abc")
    assert seen == [("someone/a-vae", True)]
    monkeypatch.setattr(hub, "unreachable", lambda: "no network")
    for path in snapshot.glob("*.safetensors"):
        path.unlink()
    with pytest.raises(ModelError, match="the VAE someone/a-vae is neither .* cannot be downloaded: no network;"):
        models.find_vae("someone/a-vae")


@pytest.mark.parametrize("name", ["/no/where", "no:where", "~nobody/at-all", ".hidden/x"])
def test_a_name_that_is_neither_a_folder_nor_a_hub_id(name: str) -> None:
    missing = models.missing(name)
    assert missing is not None and not missing.downloadable
    assert missing.reason.startswith(f"there is no folder {name}")
    assert missing.reason.endswith("hub id such as owner/name, or embedded")
    assert models.tokenizer(name) is None and models.needs(name) is None


def test_a_folder_may_be_given_from_the_home_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    assert models.missing("~/model") is None and models.find("~/model").folder == folder
    assert models.find_vae("~/model").folder == folder / "vae"
    missing = models.missing("~/modle")
    assert missing is not None and f"there is no folder ~/modle ({folder.parent}/modle);" in missing.reason


def test_a_hub_id_that_is_not_cached_may_be_downloaded(snapshot: Path) -> None:
    assert models.missing("nobody/has-this") == Missing("not in the Hugging Face cache", downloadable=True)
    assert models.missing("some/model", "v2") == Missing("not in the Hugging Face cache", downloadable=True)
    assert models.tokenizer("nobody/has-this") is None


def test_a_hub_id_is_looked_for_in_the_cache(snapshot: Path) -> None:
    assert models.missing("some/model") is None and models.missing("some/model", "v1") is None
    assert models.tokenizer("some/model") == snapshot / "tokenizer"
    shutil.rmtree(snapshot / "vae")
    assert models.missing("some/model") == Missing("incomplete in the Hugging Face cache: no vae", downloadable=True)
    (snapshot / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    missing = models.missing("some/model")
    assert missing is not None and "is a FluxPipeline" in missing.reason and not missing.downloadable


def test_tokenizers_are_found_by_their_vocabulary(sdxl_folder: Path, tmp_path: Path) -> None:
    assert models.tokenizer("embedded") == world.PIPELINE / "tokenizer"
    assert models.tokenizer("embedded", part="tokenizer_2") is None
    assert models.tokenizer(str(sdxl_folder), part="tokenizer_2") == sdxl_folder / "tokenizer_2"
    (tmp_path / "tokenizer").mkdir()
    assert models.tokenizer(str(tmp_path)) is None


@pytest.mark.parametrize("name", recipe.names())
def test_the_recipes_agree_with_the_table(name: str) -> None:
    loaded = recipe.load(name, [])
    for profile in loaded.profiles.values():
        needs = models.table()[profile.model]
        assert (profile.width, profile.height, profile.scheduler) == (needs.side, needs.side, needs.scheduler)
        assert loaded.license_of(profile) == needs.license
        for other in profile.other_models:
            assert models.table()[other].license == needs.license


def test_a_model_of_the_table_is_known_before_it_is_here() -> None:
    needs = models.needs("stabilityai/stable-diffusion-xl-base-1.0")
    assert needs is not None and needs.entry == "stabilityai/stable-diffusion-xl-base-1.0"
    assert (needs.gpu_gib, needs.side, needs.vae) == (12, 1024, "madebyollin/sdxl-vae-fp16-fix")
    assert models.needs("nobody/has-this") is None


def resized(folder: Path, latents: int) -> str:
    config = json.loads((folder / "unet" / "config.json").read_text())
    (folder / "unet" / "config.json").write_text(json.dumps({**config, "sample_size": latents}))
    return str(folder)


def test_a_folder_needs_what_an_entry_of_its_pipeline_and_size_does(folder: Path, sdxl_folder: Path) -> None:
    def entry(model: str) -> str | None:
        needs = models.needs(model)
        return None if needs is None else needs.entry

    assert entry(str(folder)) == "embedded"  # 8 latents of 8 pixels
    assert entry(resized(folder, 64)) == "stable-diffusion-v1-5/stable-diffusion-v1-5"
    assert entry(resized(folder, 96)) == "stabilityai/stable-diffusion-2-1"
    assert entry(resized(folder, 80)) is None
    assert entry(str(sdxl_folder)) is None  # no XL of 64 pixels
    (folder / "vae" / "config.json").unlink()
    assert entry(resized(folder, 64)) is None


def test_what_is_cached_is_matched_like_a_folder(snapshot: Path) -> None:
    assert models.needs("some/model") == models.table()["embedded"]


GOOD = 'side = 64\ngpu_gib = 0\nlicense = "cc0-1.0"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"[models.x]\n{GOOD}gpu_gb = 3", r'\[models."x"\] gpu_gb: .*; did you mean \'gpu_gib\'\?'),
        (f'[models.x]\n{GOOD}entry = "y"', r'\[models."x"\] entry: '),
        (f'[models.x]\n{GOOD}scheduler = "pndm"', "scheduler: Input should be 'ddim', 'dpm"),
        (f'[models.x]\n{GOOD}steps = "30"', "steps: Input should be a valid integer"),
        ('[models.x]\nside = 64\ngpu_gib = -1\nlicense = "l"', "gpu_gib: Input should be greater"),
        ("[models.x]\nside = 64\ngpu_gib = 0", "license: Field required"),
        (f"[model.x]\n{GOOD}", "needs .* tables and nothing else"),
        (f"[models.x]\n{GOOD}[other]\n", "needs .* tables and nothing else"),
        ("models = 3", "needs .* tables and nothing else"),
        ("[models", "cannot be read"),
    ],
)
def test_the_table_is_read_strictly(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "models.toml").write_text(text)
    with pytest.raises(ModelError, match=message) as caught:
        models.read_table(tmp_path / "models.toml")
    assert "\n" not in str(caught.value)


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text(f'[models."me/mine"]\n{GOOD}seconds = {{ A100 = 1 }}\n')
    values: dict[str, Any] = {"side": 64, "gpu_gib": 0, "license": "cc0-1.0", "seconds": {"A100": 1.0}}
    expected = Needs(**values).model_copy(update={"entry": "me/mine"})
    assert models.read_table(tmp_path / "models.toml") == {"me/mine": expected}
