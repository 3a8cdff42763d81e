"""ImageReward: a BLIP that learnt from what people preferred (Xu et al. 2023, arXiv 2304.05977)."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from datagen import judges
from datagen.judges import jury, views
from datagen.judges.backbones import rows
from datagen.judges.networks import imagereward_files
from datagen.weights.published import File

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from datagen.judges.networks.imagereward import Scorer

VERSION = "1"
SAFE = "ImageReward.safetensors"
WEIGHTS = File(
    "imagereward",
    "THUDM/ImageReward on the Hugging Face hub (with med_config.json, and vocab.txt of bert-base-uncased)",
    "ImageReward.pt",
    also=(SAFE,),
)
CHUNK = 16  # pairs of image and text that are scored at a time; features of an image are 0.8 MB


class Options(rows.Options):
    """`weights` is the file or its folder, "embedded" the embedded jury's, "" where `datagen doctor` looks. A pickle
    needs its `sha256`, 16 digits of it at least; safetensors do not. `vocabulary` is the folder of bert-base-uncased's
    tokenizer, "" the weights' own.
    """

    weights: str = ""
    sha256: str = Field(default="", pattern=r"^([0-9a-fA-F]{16,64})?$")
    vocabulary: str = ""


class Judge:
    """About -2.3 to 2.1 with the published weights; texts are cut to 35 tokens. It never abstains."""

    name = "imagereward"
    scale = 1.0  # it was trained so that the sigmoid of the difference is the chance to be preferred

    def __init__(self, options: Options) -> None:
        embedded = options.weights == jury.EMBEDDED
        self.facts = judges.Facts(
            code_license="Apache-2.0",
            weights_license=jury.LICENSE if embedded else "Apache-2.0",
            reference="image-reward 1.5 (ImageReward-v1.0)",
            judges_world_only=embedded,
        )
        vocabulary = Path(options.vocabulary).expanduser() if options.vocabulary else None
        file = jury.folder(self.name) / SAFE if embedded else WEIGHTS.find(options.weights)
        self._precision = options.precision
        self._source = imagereward_files.find(file, vocabulary, options.sha256)
        self.needs = views.clip_torchvision(self._source.config.vision.image_size)

    @functools.cached_property
    def version(self) -> str:
        """Ours and the weights'."""
        return f"{VERSION}:{self._source.identity}{rows.suffix(self._precision)}"

    @functools.cached_property
    def _scorer(self) -> Scorer:
        import torch

        from datagen.judges.networks import imagereward

        device = "cuda" if torch.cuda.is_available() else "cpu"
        return imagereward.load(self._source, device, self._precision)

    def score(self, images: Sequence[NDArray[Any]], prompts: Sequence[str]) -> judges.Scores:
        """(N,) float64. The image tower sees each image once, whatever the number of its texts."""
        import numpy as np
        import torch

        unique, places = judges.distinct(images)
        if not unique:
            return np.zeros(0)
        features = self._scorer.encode(torch.from_numpy(views.normalise(unique, self.needs)))
        found = [
            self._scorer.score(features[places[start : start + CHUNK]], prompts[start : start + CHUNK])
            for start in range(0, len(prompts), CHUNK)
        ]
        return torch.cat(found).double().numpy()
