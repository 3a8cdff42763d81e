"""What settings are declared with: the base of every group, kinds of values with their bounds, the list of options.

A group is a frozen pydantic model whose docstring, one line, is its heading; a field's description is its help.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic.fields import FieldInfo


@dataclasses.dataclass(frozen=True)
class Shown:
    """In an annotation: how --help and the docs write the value."""

    value: str


MOST = 10**9  # of anything that is counted: products of two such numbers are still numbers of 64 bits
Count = Annotated[int, Field(ge=1, le=MOST)]
Natural = Annotated[int, Field(ge=0, le=MOST)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]  # torch takes no more
Amount = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


def _at_home(given: str) -> str:
    try:
        return str(Path(given).expanduser()) if given.startswith("~") else given
    except RuntimeError as error:
        raise ValueError(f"{given!r} is in nobody's home folder") from error


Place = Annotated[str, AfterValidator(_at_home)]  # a path, or the id of something on a hub
Folder = Annotated[Place, Shown("DIR")]
File = Annotated[Place, Shown("FILE")]
Texts = Annotated[tuple[str, ...], Shown("TEXT")]


class Group(BaseModel):
    """Settings that belong together; also the base of a program's settings, whose fields are groups."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_not_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation in (int, float):
            raise ValueError(f"{str(value).lower()} is not a number")
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _no_null(cls, value: Any) -> Any:
        if isinstance(value, str) and "\0" in value:  # which no path may hold
            raise ValueError("it holds a null character")
        return value


@dataclasses.dataclass(frozen=True)
class Option:
    """One setting as it is shown and typed: the flag `--name`, the key `group.name` of TOML files and of --set.

    `value` is how its value is written (`N`, `a|b`, `DIR`; "" for a switch), `bounds` which numbers are accepted,
    `default` what it is when not given, "" where it has none or that depends.
    """

    group: str
    name: str
    heading: str
    help: str
    value: str
    bounds: str
    default: str
    is_switch: bool
    is_list: bool

    @property
    def key(self) -> str:
        """The name with its group."""
        return f"{self.group}.{self.name}"

    @property
    def flag(self) -> str:
        """The name on the command line."""
        return f"--{self.name.replace('_', '-')}"


def of_groups(settings: type[BaseModel]) -> Iterator[Option]:
    """The options of a program's settings, group by group."""
    for group, held in settings.model_fields.items():
        if isinstance(held.annotation, type) and issubclass(held.annotation, Group):
            yield from of_group(group, held.annotation, (held.annotation.__doc__ or "").rstrip("."))


def of_group(group: str, model: type[BaseModel], heading: str) -> Iterator[Option]:
    """The options of one group."""
    for name, field in model.model_fields.items():
        yield Option(
            group=group,
            name=name,
            heading=heading,
            help=field.description or "",
            value=_value(field),
            bounds=_bounds(field),
            default=_default(field),
            is_switch=field.annotation is bool,
            is_list=typing.get_origin(field.annotation) is tuple,
        )


def _value(field: FieldInfo) -> str:
    shown = [part.value for part in field.metadata if isinstance(part, Shown)]
    if shown:
        return shown[0]
    if typing.get_origin(field.annotation) is typing.Literal:
        return "|".join(word for word in typing.get_args(field.annotation) if word)
    return next((word for kind, word in ((bool, ""), (int, "N"), (float, "X")) if field.annotation is kind), "TEXT")


def _bounds(field: FieldInfo) -> str:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    limits = [(sign, getattr(part, name, None)) for part in field.metadata for name, sign in signs.items()]
    return ", ".join(f"{sign} {_number(limit)}" for sign, limit in limits if limit not in (None, MOST))


def _number(limit: float) -> str:
    """A limit in figures, a power of two as such."""
    power = int(limit).bit_length() - 1
    return f"2^{power}" if power > 16 and limit == 2**power else f"{limit:g}"


def _default(field: FieldInfo) -> str:
    if field.is_required() or field.default in ("", (), None) or field.annotation is bool:
        return ""
    return " ".join(map(str, field.default)) if isinstance(field.default, tuple) else str(field.default)
