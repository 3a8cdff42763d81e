"""What trainers that cannot be installed beside us read of an export, by their own code in a checkout of each.

A reader puts the checkout on the import path, with stand-ins for what its files import and reading does not use, and
gives each pair of train as its id, its prompt, and both pictures, the preferred one first. What is refused, it raises.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image

Pairs = Iterator[tuple[str, str, Any, Any]]  # id, prompt, pictures as arrays or as PIL has them


def _simpletuner(checkout: Path, folder: Path) -> Pairs:
    """The backends as it checks them, its list of files, its path of a partner, and its captions."""
    sys.path.insert(0, str(checkout))
    from simpletuner.helpers.data_backend.config import create_backend_config  # type: ignore[import-not-found]
    from simpletuner.helpers.data_backend.local import LocalDataBackend  # type: ignore[import-not-found]
    from simpletuner.helpers.metadata.utils.duplicator import DatasetDuplicator  # type: ignore[import-not-found]
    from simpletuner.helpers.prompts import PromptHandler  # type: ignore[import-not-found]

    with contextlib.chdir(folder):
        given = json.loads(Path("multidatabackend.json").read_text(encoding="utf-8-sig"))
        for one in given:
            create_backend_config(one, {}).validate({})
        chosen, rejected, _ = given
        assert rejected["source_dataset_id"] == chosen["id"] and chosen["conditioning_data"] == [rejected["id"]]
        source, target = (one["instance_data_dir"] for one in (chosen, rejected))
        backend = LocalDataBackend(None, chosen["id"])
        for _, _, files in backend.list_files([], source):
            for path in files:
                partner = DatasetDuplicator._translate_conditioning_path(path, source, target, None)
                how = {"use_captions": True, "prepend_instance_prompt": False, "data_backend": backend}
                said = PromptHandler.magic_prompt(path, caption_strategy=chosen["caption_strategy"], **how)
                yield Path(path).stem, said, *map(backend.read_image, (path, partner))


def _sd_scripts(checkout: Path, folder: Path) -> Pairs:
    """The set that its own configuration makes, put into buckets, and pictures as it loads them."""
    import transformers

    transformers.CLIPFeatureExtractor = transformers.CLIPImageProcessor  # of older ones
    sys.path.insert(0, str(checkout))
    from library import config_util, train_util  # type: ignore[import-not-found]

    with contextlib.chdir(folder):
        sanitizer = config_util.ConfigSanitizer(True, True, False, True)
        asked = config_util.load_user_config("dataset.toml")
        plan = config_util.BlueprintGenerator(sanitizer).generate(asked, argparse.Namespace())
        group, _ = config_util.generate_dataset_group_by_blueprint(plan.dataset_group)
        (dataset,) = group.datasets
        for chosen, rejected in dataset.image_data.values():
            paths = (chosen.absolute_path, rejected.absolute_path)
            yield Path(paths[0]).stem, chosen.caption, *map(train_util.load_image, paths)


def _onetrainer(checkout: Path, folder: Path) -> Pairs:
    """Which pictures its patterns take for preferred ones, and which partner they find of each."""
    sys.path.insert(0, str(checkout))
    from modules.util import dpo_pattern_util, path_util  # type: ignore[import-not-found]

    patterns, concept = ("chosen/{}", "rejected/{}"), str(folder / "train")
    dpo_pattern_util.validate_dpo_patterns(*patterns)
    index = dpo_pattern_util.build_rejected_index(concept, True)
    for root, files in path_util.walk_skipping_dotted(concept, True):
        for path in (Path(root, name) for name in files):
            if not path_util.is_supported_image_extension(path.suffix):
                continue
            if stem := dpo_pattern_util.match_chosen(patterns[0], concept, str(path)):
                partner = dpo_pattern_util.resolve_rejected(patterns[1], concept, stem, path.suffix, index)
                yield stem, path.with_suffix(".txt").read_text(encoding="utf-8-sig"), _opened(path), _opened(partner)


def _flow_factory(checkout: Path, folder: Path) -> Pairs:
    """Records of its strict schema; and the prompts of test, which its older reader wants."""
    sys.path.insert(0, str(checkout / "src"))
    from flow_factory.data_utils.dataset import GeneralDataset  # type: ignore[import-not-found]
    from flow_factory.data_utils.schema import normalize_v2_record  # type: ignore[import-not-found]

    test = GeneralDataset(str(folder), split="test", enable_preprocess=False).processed_dataset
    assert all(isinstance(prompt, str) for prompt in test["prompt"])
    for line in (folder / "train.jsonl").read_text(encoding="utf-8-sig").splitlines():
        made = normalize_v2_record(json.loads(line), dataset_dir=folder)
        sides = [side.media[0].path for side in (made.supervision.chosen, made.supervision.rejected)]
        yield json.loads(made.metadata_json)["pair_id"], made.model_input.prompt, *map(_opened, sides)


def _verl_omni(checkout: Path, folder: Path) -> Pairs:
    """Its dataset, of what the code in the README of the export makes of it with the functions of its own script."""
    import torch

    from datagen.export.verl_omni import ABOUT

    sys.path.insert(0, str(checkout / "examples" / "dpo_trainer" / "data_process"))
    _stand_in("omegaconf", DictConfig=dict)
    _stand_in("verl.utils.dataset.rl_dataset", collate_fn=None)
    encoded = folder.with_name(f"{folder.name}-encoded")
    encoded.mkdir()
    code = ABOUT.loads.replace("FOLDER", str(folder)).replace("ENCODED", str(encoded)).replace("cuda", "cpu")
    exec(code, _names())
    path = checkout / "verl_omni" / "utils" / "dataset" / "offline_dpo_dataset.py"
    spec = importlib.util.spec_from_file_location("offline_dpo_dataset", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def tokens(text: str, **how: Any) -> dict[str, Any]:
        return {"input_ids": torch.ones(1, 3, dtype=torch.long)}

    tokens.pad_token_id = 0  # type: ignore[attr-defined]
    how = type("Config", (dict,), {"max_prompt_length": 8})()
    rows = module.OfflineDPODataset(sorted(map(str, encoded.glob("train-*.parquet"))), tokens, config=how)
    for one in (rows[number] for number in range(len(rows))):
        better, worse = module.expand_offline_dpo_features([one])
        assert better["is_chosen"] and better["latents_clean"].shape == worse["latents_clean"].shape
        yield one["uid"], one["raw_prompt"], _opened(better["image_path"]), _opened(worse["image_path"])


def _names() -> dict[str, Any]:
    """What the README's code takes as given, with a model of nearly no size in the place of Stable Diffusion 3."""
    import pandas
    import torch
    from diffusers import AutoencoderKL
    from diffusers.image_processor import VaeImageProcessor

    def encode_prompt(**how: Any) -> tuple[torch.Tensor, ...]:
        return torch.zeros(1, 4, 8), torch.zeros(1, 4, 8), torch.zeros(1, 8), torch.zeros(1, 8)

    vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, shift_factor=0.0)
    pipe = types.SimpleNamespace(vae=vae, image_processor=VaeImageProcessor(vae_scale_factor=1))
    pipe.encode_prompt, pipe.to = encode_prompt, lambda device: pipe
    model = types.SimpleNamespace(from_pretrained=lambda name: pipe)
    names = {"Path": Path, "Image": Image, "SimpleNamespace": types.SimpleNamespace, "pandas": pandas}
    return names | {"StableDiffusion3Pipeline": model, "MODEL": "tiny", "WIDTH": 64, "HEIGHT": 64}


def _stand_in(name: str, **members: Any) -> None:
    """A module, and those above it, that holds no more than this."""
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        sys.modules.setdefault(".".join(parts[:depth]), types.ModuleType(".".join(parts[:depth])))
    vars(sys.modules[name]).update(members)


def _opened(path: str | Path) -> Image.Image:
    with Image.open(path, formats=["WEBP", "PNG", "JPEG"]) as picture:
        picture.load()
        return picture


READERS: dict[str, tuple[str, Callable[[Path, Path], Pairs], str]] = {
    "simpletuner": (
        "simpletuner",
        _simpletuner,
        "its checks of a backend, files, partners, captions, pictures",
    ),
    "sd-scripts": ("kohya", _sd_scripts, "its dataset of a configuration, of pull request 1427"),
    "onetrainer": ("onetrainer", _onetrainer, "its patterns of pairs, of pull request 1403"),
    "flow-factory": ("flow_factory", _flow_factory, "its schema of records, and its reader of prompts for test"),
    "verl-omni": ("verl_omni", _verl_omni, "its OfflineDPODataset, with latents by the code in the README"),
}
