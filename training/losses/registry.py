"""The table of losses: name → function, what it needs, its options with their bounds, its default settings.

The trainer asks the table before it starts, so that a loss and data that do not fit are refused in one line. Whatever
a loss declares is read here off the function itself and its decorator; nothing here imports torch or, before there
are values to check, pydantic.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt

from training.losses.inputs import Outcome, as_float64

Part = Literal["unet", "value-encoder"]
Amount = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]


class Need(enum.Enum):
    """What a loss cannot do without, besides the errors of both images of a pair."""

    REFERENCE = "the errors of a frozen reference"
    PROBABILITY = "the probability that each label is right"
    REWARD_GAP = "the calibrated rewards of both images"
    CAPTIONS = "a caption of its own for each image of a pair"
    SINGLE_IMAGES = "single images labelled desirable or not"
    LISTS = "ranked lists of images"
    SIMILARITIES = "CLIP similarities of the predicted image to an aligned and a violating description"


@dataclasses.dataclass(frozen=True)
class Loss:
    """A registered loss: the function, its options, what it needs, whether uncertain labels matter to it, defaults.

    `options` is a frozen dataclass, made from the function's keyword-only arguments, that pydantic can check.
    `part` is the only part that it can train, None for any. `embedded` and each of `published` are settings and
    options by name: for the embedded model, and as published for a way of training, "sd15" or "sdxl" for the whole
    U-Net, "sd15-lora", "sdxl-value-encoder" and their like for others.
    """

    function: Callable[..., Outcome]
    options: type
    needs: frozenset[Need]
    soft: bool
    part: Part | None
    embedded: Mapping[str, Any]
    published: Mapping[str, Mapping[str, Any]]

    @property
    def option_names(self) -> tuple[str, ...]:
        """What its options are called."""
        return tuple(field.name for field in dataclasses.fields(self.options))

    @property
    def needs_reference(self) -> bool:
        """Whether it reads the reference's errors."""
        return Need.REFERENCE in self.needs


LOSSES: dict[str, Loss] = {}


def loss(
    *needs: Need,
    soft: bool = False,
    part: Part | None = None,
    check: Callable[..., None] | None = None,
    embedded: Mapping[str, Any] | None = None,
    published: Mapping[str, Mapping[str, Any]] | None = None,
) -> Callable[[Callable[..., Outcome]], Callable[..., Outcome]]:
    """Register the decorated function under its own name; it is given its inputs in float64.

    Its keyword-only arguments are its options: a plain float is a number of at least 0, other bounds stand in the
    annotation (`Annotated[float, Interval(ge=0, lt=0.5)]`), a choice is a `Literal`. `check` is given all options and
    raises ValueError for values that do not go together. The registered function refuses bad options with ValueError.
    """

    def register(function: Callable[..., Outcome]) -> Callable[..., Outcome]:
        options = _options(function, check)

        @functools.wraps(function)
        def exact(inputs: Any, **given: float | str) -> Outcome:
            return function(as_float64(inputs), **vars(_checker(options).validate_python(given)))

        LOSSES[function.__name__] = Loss(
            exact, options, frozenset(needs), soft, part, dict(embedded or {}), dict(published or {})
        )
        return exact

    return register


def _options(function: Callable[..., Outcome], check: Callable[..., None] | None) -> type:
    """The dataclass of a function's keyword-only arguments; `check` looks at all of them together."""
    hints = typing.get_type_hints(function, include_extras=True)
    fields = [
        (p.name, Amount if hints[p.name] is float else hints[p.name], dataclasses.field(default=p.default))
        for p in inspect.signature(function).parameters.values()
        if p.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    body: dict[str, Any] = {"__pydantic_config__": {"extra": "forbid", "allow_inf_nan": False}}
    if check:
        body["__post_init__"] = lambda self: check(**vars(self))
    return dataclasses.make_dataclass(
        f"{function.__name__} options", fields, namespace=body, frozen=True, kw_only=True
    )


@functools.cache
def _checker(options: type) -> Any:
    from pydantic import TypeAdapter  # only where there are values: it takes longer to load than --help to show

    return TypeAdapter(options)
