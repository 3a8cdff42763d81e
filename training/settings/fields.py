"""What settings are declared with: the base of every group, kinds of values with their bounds, the list of options.

A group's docstring, one line, is its heading; a field's description is its help. Nothing here imports pydantic, which
checks the values: it takes longer to load than to show --help or to find a typo.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt, Interval


@dataclasses.dataclass(frozen=True)
class Shown:
    """In an annotation: how --help and the docs write the value."""

    value: str


@dataclasses.dataclass(frozen=True)
class Made:
    """In an annotation: makes the value of what was given, `raw` or of the right type; ValueError says why not."""

    by: Callable[[Any], Any]
    raw: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        from pydantic_core import core_schema

        if self.raw:
            return core_schema.no_info_before_validator_function(self.by, handler(source))
        return core_schema.no_info_after_validator_function(self.by, handler(source))


MOST = 10**9  # of anything that is counted: products of two such numbers are still numbers of 64 bits
Count = Annotated[int, Interval(ge=1, le=MOST)]
Natural = Annotated[int, Interval(ge=0, le=MOST)]
Seed = Annotated[int, Interval(ge=0, lt=2**63)]  # torch takes no more
Amount = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]
Share = Annotated[float, Interval(ge=0, lt=1)]


def _at_home(given: str) -> str:
    try:
        return str(Path(given).expanduser()) if given.startswith("~") else given
    except RuntimeError as error:
        raise ValueError(f"{given!r} is in nobody's home folder") from error


def _not_empty(given: str) -> str:
    if not given.strip():  # as of a variable that is not set
        raise ValueError("it is empty: give a path or a name")
    return given


Place = Annotated[str, Made(_at_home)]  # a path, or the id of something on a hub
Needed = Annotated[Place, Made(_not_empty)]  # one that cannot be left out
Folder = Annotated[Place, Shown("DIR")]
File = Annotated[Place, Shown("FILE")]
Texts = Annotated[tuple[str, ...], Shown("TEXT")]


def Field(*, default: Any = dataclasses.MISSING, description: str) -> Any:
    """A setting: what it is when nobody gives it, and its help."""
    return dataclasses.field(default=default, metadata={"description": description})


@typing.dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(Field,))
class Group:
    """Settings that belong together, a frozen dataclass; also the base of a program's, whose fields are groups."""

    __pydantic_config__: typing.ClassVar = {"extra": "forbid", "allow_inf_nan": False}

    def __init_subclass__(cls) -> None:
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)


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
    is_number: bool

    @property
    def key(self) -> str:
        """The name with its group."""
        return f"{self.group}.{self.name}"

    @property
    def flag(self) -> str:
        """The name on the command line."""
        return f"--{self.name.replace('_', '-')}"


def of_groups(settings: type[Group]) -> Iterator[Option]:
    """The options of a program's settings, group by group."""
    for group, model in groups(settings):
        yield from of_group(group, model, (model.__doc__ or "").rstrip("."))


def groups(settings: type) -> Iterator[tuple[str, type[Group]]]:
    """The groups of a program's settings, by name."""
    for name, kind in typing.get_type_hints(settings).items():
        if isinstance(kind, type) and issubclass(kind, Group):
            yield name, kind


def of_group(group: str, model: type, heading: str) -> Iterator[Option]:
    """The options of one group, or of a loss."""
    hints = typing.get_type_hints(model, include_extras=True)
    for field in dataclasses.fields(model):
        kind, *notes = typing.get_args(hints[field.name]) if _is_annotated(hints[field.name]) else [hints[field.name]]
        yield Option(
            group=group,
            name=field.name,
            heading=heading,
            help=field.metadata.get("description", ""),
            value=_value(kind, notes),
            bounds=_bounds(notes),
            default=_default(kind, field.default),
            is_switch=kind is bool,
            is_list=typing.get_origin(kind) is tuple,
            is_number=_plain(typing.get_args(kind)[0] if typing.get_origin(kind) is tuple else kind) in (int, float),
        )


def _is_annotated(kind: Any) -> bool:
    return typing.get_origin(kind) is Annotated


def _plain(kind: Any) -> Any:
    return typing.get_args(kind)[0] if _is_annotated(kind) else kind


def _value(kind: Any, notes: list[Any]) -> str:
    shown = [note.value for note in notes if isinstance(note, Shown)]
    if shown:
        return shown[0]
    if typing.get_origin(kind) is typing.Literal:
        return "|".join(word for word in typing.get_args(kind) if word)
    return next((word for known, word in ((bool, ""), (int, "N"), (float, "X")) if kind is known), "TEXT")


def _bounds(notes: list[Any]) -> str:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    limits = [(sign, getattr(note, name, None)) for note in notes for name, sign in signs.items()]
    return ", ".join(f"{sign} {_number(limit)}" for sign, limit in limits if limit not in (None, MOST))


def _number(limit: float) -> str:
    """A limit in figures, a power of two as such."""
    power = int(limit).bit_length() - 1
    return f"2^{power}" if power > 16 and limit == 2**power else f"{limit:g}"


def _default(kind: Any, default: Any) -> str:
    if default in (dataclasses.MISSING, "", (), None) or kind is bool:
        return ""
    return " ".join(map(str, default)) if isinstance(default, tuple) else str(default)
