"""A picture drawn again from all that its row says, and how near it comes to the one that is kept.

What cannot be drawn again is a ModelError, a row that holds what no row of ours does an InputError.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from datagen import generators, safety
from datagen.errors import DatagenError, InputError, ModelError, one_line
from datagen.generators import assembly, kept
from datagen.generators.engine.sampling import Options
from datagen.generators.protocol import ContentError, Generator, Request
from datagen.images import encode
from datagen.images.decode import Unreadable, decode
from datagen.images.kinds import kind_of
from datagen.recipe import Profile
from datagen.records import Image

if TYPE_CHECKING:
    from PIL import Image as Pillow

NEAR = 2  # of 255: other batches, versions and devices may round so far apart
MOST_BATCH, MOST_STEPS, MOST_SIDE = 64, 1000, 4096  # beyond these a row is none of ours
KINDS = {"WebP": "webp", "PNG": "png", "JPEG": "jpeg"}  # of files → as a recipe calls them
PRECISIONS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


@dataclasses.dataclass(frozen=True)
class Replayed:
    """A picture drawn again. `identical` are the bytes of its file; `largest` is the greatest difference of a value.

    Of 255, and None where the sizes differ; `share` is how many values differ. `before` and `now` are what drew the
    picture and what draws it here.
    """

    picture: Pillow.Image
    identical: bool
    largest: int | None
    share: float
    before: str
    now: str

    @property
    def is_near(self) -> bool:
        """Whether it is the same picture but for the rounding of other libraries, devices and batches."""
        return self.identical or (self.largest is not None and self.largest <= NEAR)


def replay(row: Image, profile: Profile, as_is: bool = False) -> Replayed:
    """Draw the image of a row again; `profile` says where its model and its VAE are.

    With `as_is` it is the one that the row was drawn by, so that it is taken as it is where it still means the same.
    """
    refuse(row)
    generator = _generator(row, profile, as_is)
    request = dataclasses.replace(_request(row), batch_size=row.batch_size)
    try:
        (picture,) = generators.in_order(generator, [request])
    except DatagenError:
        raise
    except Exception as error:  # no memory left, or whatever a generator of another package raises
        raise ModelError(f"{row.generator} cannot draw {row.image_id} here: {one_line(error)}") from error
    if isinstance(picture, ContentError):
        raise ModelError(f"{row.generator} draws no picture of {row.image_id} here: {picture}")
    return _compared(row, picture, generator.means(request).software)


def refuse(row: Image) -> None:
    """Raise for a row of which nothing can be drawn again, whatever there is on this machine."""
    if row.image is None:
        why = f" ({row.error})" if row.error else ""
        raise InputError(f"there is no image {row.image_id}{why}: there is nothing to compare with")
    if reason := safety.refusal(row.text) or safety.length_refusal(row.negative):
        raise InputError(f"the text of {row.image_id} is not drawn: {reason}")
    if not row.scheduler and row.software.startswith("endpoint"):
        raise ModelError(f"{row.image_id} was drawn by {row.generator}, a server that promises no picture twice")
    sides, counts = (row.width, row.height), (row.steps, row.batch_size)
    if not all(8 <= side <= MOST_SIDE for side in sides) or not all(
        1 <= count <= most for count, most in zip(counts, (MOST_STEPS, MOST_BATCH), strict=True)
    ):
        size = "{}×{}".format(*sides)
        raise InputError(
            f"the row of {row.image_id} says {size} pixels, {row.steps} steps, batches of {row.batch_size}"
        )
    if not 0 <= row.seed < 2**63 or not 0 <= row.guidance < 1e6:
        raise InputError(f"the row of {row.image_id} says seed {row.seed} and guidance {row.guidance}")


def _generator(row: Image, profile: Profile, as_is: bool) -> Generator:
    """The generator that the row was drawn by; ModelError if that is not here."""
    if as_is or generators.is_own(profile.model):
        generator = generators.load(profile)
        if generators.is_own(profile.model) or not list(_differences(row, generator)):
            _refuse_other(row, generator)
            return generator
    precision = PRECISIONS.get(row.dtype, "auto")
    vae = (profile.vae or row.vae.partition("@")[0]) if row.vae else assembly.OWN
    how = {"scheduler": _scheduler(row), "precision": precision, "vae": vae, **_sampling(row)}
    own = profile.model_copy(update=how)
    try:
        generator = generators.load(own)
    except DatagenError:
        raise
    except Exception as error:  # settings of a scheduler that it does not know
        raise ModelError(f"{row.generator} with the settings of {row.image_id}: {one_line(error)}") from error
    _refuse_other(row, generator)
    if different := next(_differences(row, generator), ""):
        raise ModelError(f"{row.image_id} cannot be drawn again here: {different}")
    return generator


def _refuse_other(row: Image, generator: Generator) -> None:
    """ModelError for another model than the row's, and for one that draws no picture twice."""
    if not getattr(generator, "draws_again", True):
        raise ModelError(f"{row.image_id} was drawn by {row.generator}, which promises no picture twice")
    here, there = _named(generator.name, generator.revision), _named(row.generator, row.generator_revision)
    if here != there:
        raise ModelError(f"{row.image_id} was drawn by {there}, and here is {here}: --model names where the other is")


def _named(name: str, revision: str) -> str:
    return f"{name} at {revision}" if revision else name


def _differences(row: Image, generator: Generator) -> Iterator[str]:
    """What a generator draws with otherwise than the row was drawn."""
    means = generator.means(_request(row))
    for what, before, now in (
        ("scheduler", row.scheduler, means.scheduler),
        ("settings of the scheduler", _settings(row.scheduler_config), _settings(means.scheduler_config)),
        ("precision", row.dtype, means.dtype),
        ("VAE", row.vae, means.vae),
        ("adapter", row.adapter, means.adapter),
        ("sampling", _settings(row.options), _settings(means.options)),
    ):
        if isinstance(before, dict) and isinstance(now, dict):
            # A setting that only one version of a class knows has no other value to differ from.
            known = before.keys() & now.keys() if what != "sampling" else before.keys() | now.keys()
            names = sorted(name for name in known if before.get(name) != now.get(name))
            before, now = ({name: values.get(name) for name in names} for values in (before, now))
        if before != now:
            yield f"its {what} was {before or 'none'}, and here is {now or 'none'}"


def _request(row: Image) -> Request:
    """What the generator was asked for."""
    options = _settings(row.options)
    principle = options.get("principle", "") if isinstance(options, dict) else ""
    if not isinstance(principle, str):
        raise InputError(f"the row of {row.image_id} holds a principle in its options that is no text")
    return Request(
        row.text, row.negative, row.seed, row.steps, row.guidance, row.width, row.height, principle=principle
    )


def _sampling(row: Image) -> dict[str, Any]:
    """What of a profile the row's options say, by its names there; InputError for values that no profile has."""
    options = _settings(row.options)
    if not isinstance(options, dict):
        raise InputError(f"the row of {row.image_id} holds options that are not a JSON object")
    found = {field.name: options[field.name] for field in dataclasses.fields(Options) if field.name in options}
    for name, value in found.items():
        try:
            TypeAdapter(Profile.model_fields[name].rebuild_annotation()).validate_python(value, strict=True)
        except ValidationError as error:
            why = error.errors()[0]["msg"]
            raise InputError(f"the row of {row.image_id} says {name} = {value!r} in its options: {why}") from error
    return found


def _settings(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _scheduler(row: Image) -> str:
    """The row's scheduler as generators take it; InputError for what is none."""
    import diffusers

    kind = getattr(diffusers, row.scheduler, None) if row.scheduler.isidentifier() else None
    if not (isinstance(kind, type) and issubclass(kind, diffusers.SchedulerMixin)):
        raise InputError(f"the row of {row.image_id} names the scheduler {row.scheduler!r}, which diffusers has not")
    if not isinstance(_settings(row.scheduler_config), dict):
        raise InputError(f"the row of {row.image_id} holds settings of its scheduler that are not a JSON object")
    return f"{row.scheduler} {row.scheduler_config}"


def _compared(row: Image, picture: Pillow.Image, software: str) -> Replayed:
    """Set a picture against the one that is kept, as a file of the same kind."""
    stored = row.image or b""
    kind = KINDS.get(kind_of(stored) or "", "png")
    files = [kept.file_of(row, picture, kind, metadata=metadata) for metadata in (False, True)]
    now = "; ".join(filter(None, (software, encode.software(kind))))
    if stored in files:
        return Replayed(picture, True, 0, 0.0, row.software, now)
    try:
        one, other = (np.asarray(decode(data)).astype(np.int16) for data in (stored, files[0]))
    except Unreadable as error:
        raise InputError(f"the image {row.image_id} cannot be read: {error}") from error
    if one.shape != other.shape:
        return Replayed(picture, False, None, 1.0, row.software, now)
    apart = np.abs(one - other)
    return Replayed(picture, False, int(apart.max()), float((apart > 0).mean()), row.software, now)
