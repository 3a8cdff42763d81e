"""What a generator is given and returns, and what its file must define."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from datagen.models import Missing, Needs

if TYPE_CHECKING:
    from PIL import Image


class ModelChoice(Protocol):
    """The part of a profile that decides which generator is loaded."""

    @property
    def model(self) -> str:
        """ "embedded", a diffusers folder or a hub id; "NAME:REST" is the model REST of the generator NAME."""

    @property
    def revision(self) -> str:
        """The hub revision, "" for the default one."""

    @property
    def scheduler(self) -> str:
        """One of recipe.SCHEDULERS; "model" is the one that the model comes with."""

    @property
    def precision(self) -> str:
        """One of recipe.PRECISIONS; "auto" is what the generator takes on this machine."""

    @property
    def vae(self) -> str:
        """A VAE in the place of the model's own, "" for that. The rest of recipe.OPTIONS is given likewise."""


@dataclasses.dataclass(frozen=True)
class Request:
    """One image to make; `width` and `height` in pixels.

    `batch_size` is of the batch that it is to be made in, as a row of it says; 0: whatever the generator takes here.
    `principle` is what a value encoder reads, "" for an image without; read by none that has no such encoder.
    """

    text: str
    negative: str
    seed: int
    steps: int
    guidance: float
    width: int
    height: int
    batch_size: int = 0
    principle: str = ""


class ContentError(Exception):
    """Why there is no image for a request; it becomes the `error` of the row."""


class NoPicture(ContentError):
    """That what was drawn shows nothing: all black, of one colour, NaN. Another seed may give a picture."""


@dataclasses.dataclass(frozen=True)
class Means:
    """What an image was made with besides its request: all that it takes to make it again.

    `scheduler` is diffusers' class, `scheduler_config` a JSON object of all its settings, `dtype` the weights' type as
    torch calls it, `batch_size` the images of the batch (a matrix product's kernels, and so the last bits, follow its
    shape), `software` the libraries and the device. `empty_negative` is what stands for an empty negative prompt:
    "text", the empty text encoded, "zeros", or "" where a generator knows no such thing. `unread` are the tokens of
    the request's text beyond what the model reads, `negative_unread` those of its negative: all where guidance is off.
    `vae` is NAME@REVISION of one in the place of the model's own, `options` a JSON object of the profile's keys by
    which the sampling is not as ever, and of the `principle` that steered it, `notes` what else a user should know of
    the weights.
    """

    scheduler: str = ""
    scheduler_config: str = "{}"
    adapter: str = ""
    dtype: str = ""
    batch_size: int = 1
    software: str = ""
    empty_negative: str = ""
    unread: int = 0
    negative_unread: int = 0
    vae: str = ""
    options: str = "{}"
    notes: str = ""


@dataclasses.dataclass(frozen=True)
class Bill:
    """What one picture costs at most where a server draws it, in dollars; None if it has no price."""

    dollars: float | None


class Generator(Protocol):
    """A loaded model; `name`, `revision` and `means` go into every row it makes."""

    name: str
    revision: str
    # Optional attribute `server`: one that has a server draw is connected to it before it is asked (`server.connected`
    # with the run's LlmOptions). Optional `draws_again`: False if an equal request may give another picture.

    def means(self, request: Request) -> Means:
        """What the image of a request is made with: what it was made with, where `generate` has just yielded it."""

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Image.Image | ContentError]]:
        """The place of a request and its RGB picture or ContentError, each request once, as they are done."""


class GeneratorFile(Protocol):
    """The functions of a generator's file; of a model "NAME:REST" they are given REST."""

    def load(self, model: str, revision: str, scheduler: str, **wanted: Any) -> Generator:
        """The model; asked for once per process. ModelError if this machine cannot serve it.

        What else a profile sets (recipe.OPTIONS) comes by its name; it is refused if there is no such parameter.
        """

    def missing(self, model: str, revision: str) -> Missing | None:
        """Why `load` would fail or download, None if all is here. Loads and downloads nothing."""

    def needs(self, model: str, revision: str) -> Needs | None:
        """GPU memory, seconds and the like of the model, None if that is not known."""

    # Optional `check(request, model, revision, scheduler, **wanted)`: ModelError for what of a profile does not fit a
    # model that is here, found without reading its weights. It is asked before anything is made.
    # Optional `bill(model, width, height) -> Bill`: of one that has a server draw, which nothing is tried with.
