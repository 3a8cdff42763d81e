"""HPSv2 and HPSv2.1: what people prefer of a prompt, by a CLIP ViT-H/14 (Wu et al. 2023, arXiv 2306.09341)."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field

from datagen import judges
from datagen.judges import jury, views
from datagen.judges.backbones import rows
from datagen.judges.backbones.open_clip import OpenClip
from datagen.judges.vectors import cosines
from datagen.weights import checkpoint, clip
from datagen.weights.published import File

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from datagen.judges.views import View

VERSION = "1"
ARCHITECTURE = "ViT-H-14"  # with GELU
WEIGHTS = {
    "2.0": File("hpsv2", "the hub's xswu/HPSv2", "HPS_v2_compressed.pt"),
    "2.1": File("hpsv2", "the hub's xswu/HPSv2", "HPS_v2.1_compressed.pt"),
}


class Options(rows.Options):
    """`version` is 2.0 or 2.1, whose scores cannot be compared; `weights` is the published file of that version.

    The file is a pickle: `sha256` is the one that its page on the hub shows, or its first 16 digits. In its place
    `weights` may be safetensors with the same tensors, an open_clip folder, or "embedded", the embedded jury's.
    `legacy_no_antialias` resizes as torchvision did before 0.17.
    """

    version: Annotated[Literal["2.0", "2.1"], BeforeValidator(str)] = "2.1"
    weights: str = ""
    sha256: str = Field(default="", pattern=r"^([0-9a-fA-F]{16,64})?$")
    legacy_no_antialias: bool = False


class Letterboxed(OpenClip):
    """A CLIP that sees all of a picture, between black bars; its embeddings are no other view's."""

    def __init__(self, source: clip.Source, precision: rows.Precision, *, antialias: bool) -> None:
        super().__init__(source, precision)
        self._antialias = antialias

    @functools.cached_property
    def identity(self) -> str:
        """The model's, and what it sees."""
        seen = f":letterbox{'' if self._antialias else '-no-antialias'}"
        return self.source.identity + seen + rows.suffix(self._precision)

    @functools.cached_property
    def view(self) -> View:
        """As long as the model's pictures are wide."""
        size = self._loaded[0].visual.image_size
        side = size[0] if isinstance(size, tuple | list) else size
        return views.letterbox_float(int(side), legacy_no_antialias=not self._antialias)


class Judge:
    """The cosine, about 0.15 to 0.35; only scores of one text and one version can be compared."""

    name = "hpsv2"
    facts = judges.Facts(
        code_license="Apache-2.0",
        weights_license="Apache-2.0, as its repository",
        reference="hpsv2 1.2 (fp32; torchvision 0.17 or later unless legacy_no_antialias)",
    )

    def __init__(self, options: Options) -> None:
        embedded = options.weights == jury.EMBEDDED
        # Its own P(a beats b) is the softmax of its logits, 100 times the cosines; the embedded one is less sharp.
        self.scale = 20.0 if embedded else 100.0
        self.facts = jury.facts(self.facts) if embedded else self.facts
        self._release = options.version
        self.needs = _find(options)

    @functools.cached_property
    def version(self) -> str:
        """Ours, the release's and the weights'."""
        return f"{VERSION}:{self._release}:{self.needs.identity}"

    def score(self, images: NDArray[np.float32], prompts: Sequence[str]) -> judges.Scores:
        """(N,) float64. Texts are cut to 77 tokens; it never abstains."""
        return cosines(images, self.needs.texts(prompts))


@functools.lru_cache(maxsize=4)
def _find(options: Options) -> Letterboxed:
    """The model of the given weights, the same for who asks again. Loads nothing."""
    weights, made = options.weights, functools.partial(Letterboxed, antialias=not options.legacy_no_antialias)
    if weights == jury.EMBEDDED:
        return made(clip.find(weights, jury.folder("hpsv2")), options.precision)
    if weights and (Path(weights).expanduser() / clip.FILES[0]).is_file():
        return made(clip.find(weights), options.precision)
    path = WEIGHTS[options.version].find(weights)
    checkpoint.check(path, options.sha256)
    source = clip.Source(f"hpsv{options.version}", ARCHITECTURE, checkpoint=path, sha256=options.sha256)
    return made(source, options.precision)
