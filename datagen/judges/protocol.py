"""What a judge is given and returns, what it says about itself, and what the networks behind several judges are.

A judge has one or more of three methods: `score` an image against a text, `compare` two images, `answer` a question
about an image. Whatever it says depends on the image and the text alone, never on the batch. NaN abstains; nobody
guesses, and a judge that fails is an error and never a score.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from datagen.judges.views import View

    Scores = NDArray[np.floating[Any]]


class Options(BaseModel):
    """Base of a judge's own options, which recipes and `--set JUDGE.OPTION=VALUE` give; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Failed(str):
    """Why a judge could say nothing of one image, in the place of a number: a row's error, and tried again."""


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a judge says about itself; `datagen doctor` prints it.

    `reference` is the implementation whose scores it equals, with its version; "" for one of our own.
    """

    code_license: str
    weights_license: str = ""  # "" where there are no weights
    reference: str = ""
    categories: tuple[str, ...] = ()  # of the K columns of a judge that gives several scores; () for one score
    higher_is_better: bool = True  # False: of a harm
    reads_text: bool = True  # False: a score is of the image alone, as an aesthetic one
    absolute: bool = False  # whether a score is a share, 0…1, that can be compared with a limit
    metric: bool = True  # whether evaluation may report it
    dear: bool = False  # an answer costs so much that it is asked about few texts only
    judges_world_only: bool = False  # it knows the embedded model's images, and what it says of others means nothing


class Backbone(Protocol):
    """A network that embeds images and texts, which several judges may share; it is loaded when first asked."""

    @property
    def identity(self) -> str:
        """Tells its weights apart, on every machine."""

    @property
    def view(self) -> View | None:
        """What it reads of an image; None: the image itself."""

    def images(self, views: Sequence[Any], /) -> NDArray[np.float32]:
        """(N, D) embeddings as the network gives them, not of length 1, of at least one image."""

    def texts(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """(N, D) embeddings of texts, not of length 1; each is embedded once a process, and long ones are cut."""


class Judge(Protocol):
    """A judge. Making one is cheap: it refuses what it can see is missing, and loads its model when first asked."""

    @property
    def name(self) -> str:
        """The name that its rows carry: the file's, or any for a module from elsewhere."""

    @property
    def version(self) -> str:
        """Raised when scores change; names the weights where there are several."""

    @property
    def facts(self) -> Facts:
        """What it says about itself."""

    @property
    def scale(self) -> float:
        """Log-odds of a label per unit of score, positive; also where lower scores are better."""

    # Optional attribute `server`, an `asking.Server`: a judge that asks one is connected to it before it is asked.
    # Optional attribute `needs`: a View, whose pixels the methods are given, or a Backbone, whose embeddings; without
    # it they are given the images. The backbone of a judge that reads text also tells whether a wording is one of its
    # prompt (`labels.wordings`), by texts alone. And one or more of these methods, images first:
    #
    # score(images, prompts) -> (N,) or, with categories, (N, K) floats
    # compare(first, second, prompts) -> (N,) floats, the probability that the first beats the second; an image's place
    #     counts for such a judge, so it is asked in both orders and both answers are kept
    # answer(images, questions) -> (N,) floats, the probability of "yes"
    #
    # Of an image that it could say nothing of, a judge may give a Failed in the place of the number.
