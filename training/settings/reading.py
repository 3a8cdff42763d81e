"""From what was given to checked settings; whatever is wrong becomes one line.

Values are known by the key of their option and remember what their giver calls them: `--lr`, `--set optimizer.lr` or
`own.toml: optimizer.lr`. TrainingError says what was given, what is accepted, and the nearest known name.
"""

from __future__ import annotations

import difflib
import functools
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from training.errors import TrainingError, one_line
from training.settings.fields import Group, Option, groups

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

CONFIGS = Path(__file__).parents[1] / "configs"
# Names of the version before; they work until the next one.
RENAMED = {"keep": "leak_penalty", "at_once": "max_principles", "anchor": "uncond_share"}

Model = TypeVar("Model")


class Given(NamedTuple):
    """A value, and what whoever gave it calls it."""

    value: Any
    said: str


Values = dict[str, Given]  # by the key of the option


def from_file(name: str, known: Sequence[Option]) -> Values:
    """The settings of a TOML file, or of a named config. Raises TrainingError."""
    path = Path(name) if name.endswith(".toml") else CONFIGS / f"{name}.toml"
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        named = ", ".join(sorted(p.stem for p in CONFIGS.glob("*.toml")))
        raise TrainingError(f"no config {name!r}: give a .toml file, or one of {named}") from error
    except (ValueError, RecursionError) as error:
        raise TrainingError(f"{path} is not TOML: {one_line(error)}") from error
    found: Values = {}
    for key, value in _keys(tables):
        said = f"{path}: {key}"
        _put(found, find(key, known, said), Given(value, said))
    return found


def _put(found: Values, option: Option, given: Given) -> None:
    """Keep a value that a file or --set gives. Raises TrainingError for what no option of that kind can be.

    Likewise for a second value of one option, with its group or without.
    """
    if option.key in found:
        raise TrainingError(f"{given.said} is given more than once, and takes one value: it is {option.key}")
    for value in given.value if isinstance(given.value, list) else [given.value]:
        if isinstance(value, bool) and option.is_number:
            raise TrainingError(f"{given.said}: {str(value).lower()} is not a number")
        if isinstance(value, str) and "\0" in value:  # which no path may hold
            raise TrainingError(f"{given.said}: it holds a null character")
    found[option.key] = given


def _keys(tables: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Keys with their table's name before them, where they stand in one."""
    for name, value in tables.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{key}", inner) for key, inner in value.items())
        else:
            yield name, value


def from_overrides(overrides: Iterable[str], known: Sequence[Option]) -> Values:
    """The settings of `--set group.key=value`; values are TOML, and what is not is a text. Raises TrainingError."""
    found: Values = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        key = key.strip()
        if not equals or not key:
            raise TrainingError(f"--set {override!r}: give group.key=value, for example --set {known[-1].key}=1")
        try:
            value: object = tomllib.loads(f"value = {text}")["value"]
        except ValueError:  # no TOML, or a number of thousands of digits
            value = text
        _put(found, find(key, known, f"--set {key}"), Given(value, f"--set {key}"))
    return found


def find(key: str, known: Sequence[Option], said: str) -> Option:
    """The option of a key with or without its group: no two options of a program have the same name."""
    group, _, name = key.rpartition(".")
    name = renamed(name)
    named = [option for option in known if option.name == name]
    for option in named:
        if group in ("", option.group):
            return option
    names = [option.key if group else option.name for option in named or known]
    raise TrainingError(f"{said} is an unknown setting; {nearest(f'{group}.{name}' if group else name, names)}")


def renamed(name: str, joint: str = "_") -> str:
    """Today's name for one of the version before, with a line on stderr; with "-" for `joint`, of a flag."""
    new = RENAMED.get(name.removeprefix("--").replace(joint, "_"))
    if new is None:
        return name
    new = f"--{new.replace('_', '-')}" if name.startswith("--") else new
    print(f"note: {name} is now called {new}; the old name goes with the next version", file=sys.stderr)
    return new


def nearest(given: str, known: Iterable[str]) -> str:
    """The nearest known name, or all of them."""
    names = list(known)
    near = difflib.get_close_matches(given, names, 1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"


def check(model: type[Model], values: Values, group: str = "", **tables: dict[str, Any]) -> Model:
    """The settings, or one group of them, from the values; `tables` are groups as they are. Raises TrainingError."""
    from pydantic import ValidationError

    kind: type = model
    for name, _ in () if group else groups(model):
        tables.setdefault(name, {})  # so that what is missing is a setting, not a group
    for key, given in values.items():
        outer, _, name = key.partition(".")
        tables.setdefault(outer, {})[name] = given.value
    try:
        return cast(Model, _checker(kind).validate_python(tables.get(group, {}) if group else tables))
    except ValidationError as error:
        raise TrainingError(_explain(error, values, f"{group}." if group else "")) from error


def as_json(settings: Group, but: Set[str] = frozenset()) -> dict[str, Any]:
    """Settings as JSON has them, groups as tables, without those groups and fields that are named by `but`."""
    kind: type = type(settings)
    return cast(dict[str, Any], _checker(kind).dump_python(settings, mode="json", exclude=set(but)))


@functools.cache
def _checker(model: type) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter  # only where there are values: it takes longer to load than --help to show

    return TypeAdapter(model)


def _explain(error: ValidationError, values: Values, prefix: str) -> str:
    """The first problem in one line: what it is called, what was given, what is accepted."""
    first = error.errors(include_url=False)[0]
    key = prefix + ".".join(str(part) for part in first["loc"][: 1 if prefix else 2])
    said, given = values[key].said if key in values else _flag(key), repr(first["input"])
    given = given if len(given) <= 60 else f"{given[:57]}..."
    match first["type"]:
        case "missing":
            return f"{said} is missing (see --help)"
        case "value_error":
            return ": ".join(part for part in (said, first["msg"].removeprefix("Value error, ")) if part)
        case _:
            return f"{said} is {given}: {first['msg'].replace('Input', 'it').replace('Tuple', 'it')}"


def _flag(key: str) -> str:
    name = key.partition(".")[2]
    return f"--{name.replace('_', '-')}" if name else ""
