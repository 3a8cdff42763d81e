"""Judges: what says how well a picture fits a text. The folder is the registry: one file per judge.

Each file has a class `Judge` and, where the judge has options, a class `Options` that it is made with; `protocol.py`
says what it must have.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from datagen.errors import DatagenError, ModelError, nearest, one_line
from datagen.judges.protocol import Facts, Failed, Judge, Options
from datagen.registry import Registry

if TYPE_CHECKING:
    from datagen.judges.protocol import Scores as Scores

__all__ = ["JUDGES", "METHODS", "Facts", "Failed", "Judge", "Options", "distinct", "load", "reads_text"]

NOT_JUDGES = ("asking", "headed", "panel", "protocol", "vectors")  # files that lie among them
JUDGES = Registry(__name__, "judge", ModelError, not_entries=NOT_JUDGES, group="datagen.judges")
# What a judge must have, by type, and what it means.
REQUIRED: dict[str, tuple[type | tuple[type, ...], str]] = {
    "name": (str, "the name that its rows carry"),
    "version": (str, "raised when its scores change"),
    "facts": (Facts, "a judges.Facts"),
    "scale": ((int, float), "log-odds of a label per unit of score, positive"),
}
# What it may be asked, and how many arguments that takes; one of them at least.
METHODS = {"score": 2, "compare": 3, "answer": 2}
Thing = TypeVar("Thing")


def load(name: str, options: Mapping[str, Any]) -> Judge:
    """The judge of a file of the folder, of an entry point or of a dotted module; made once per process.

    ModelError if no judge has that name, if its file is incomplete, or for options that it does not have.
    """
    return _load_once(name, json.dumps(options, sort_keys=True, default=str))


def reads_text(name: str) -> bool:
    """Whether a judge reads prompts, as far as its class tells before one is made; those that only then know may."""
    try:
        facts = JUDGES.module(name).Judge.facts
    except Exception:  # making it says what is wrong
        return True
    return not isinstance(facts, Facts) or facts.reads_text


@functools.lru_cache(maxsize=8)
def _load_once(name: str, options: str) -> Judge:
    try:
        module = JUDGES.module(name)
        judge: Judge = _make(name, module, json.loads(options))
    except DatagenError:
        raise
    except Exception as error:  # somebody else's file may raise anything when it is imported or its judge is made
        raise ModelError(f"the judge {name} cannot be loaded: {type(error).__name__}: {one_line(error)}") from error
    _refuse_incomplete(name, judge)
    return judge


def _make(name: str, module: ModuleType, given: Mapping[str, Any]) -> Any:
    """A judge from its file, with its options if it has any."""
    if not inspect.isclass(getattr(module, "Judge", None)):
        raise ModelError(
            f"{module.__name__} is not a judge: it has no class Judge; {nearest(name, JUDGES.names())}; "
            "CONTRIBUTING.md shows one"
        )
    kind = getattr(module, "Options", None)
    if kind is None:
        if given:
            raise ModelError(f"the judge {name} has no options, but {', '.join(sorted(given))} was given")
        return module.Judge()
    if not (inspect.isclass(kind) and issubclass(kind, Options)):
        raise ModelError(f"the judge {name} is incomplete: its Options must be a class made from judges.Options")
    try:
        options = kind.model_validate(given)
    except ValidationError as error:
        raise ModelError(f"the judge {name}: {_explain(error, kind)}") from error
    return module.Judge(options)


def _explain(error: ValidationError, kind: type[Options]) -> str:
    """The first problem with a judge's options in one line."""
    first = error.errors(include_url=False)[0]
    option, given = ".".join(str(part) for part in first["loc"]), repr(first["input"])[:60]
    match first["type"]:
        case "extra_forbidden":
            return f"unknown option {option!r}: {nearest(option, kind.model_fields)}"
        case "missing":
            return f"option {option} is missing"
        case _:
            return f"option {option} is {given}: {first['msg'].replace('Input', 'it')}"


def _refuse_incomplete(name: str, judge: Judge) -> None:
    """ModelError for a judge that the stages could not use."""
    for fact, (kind, meaning) in REQUIRED.items():
        value = inspect.getattr_static(judge, fact, None)  # a property is not computed: a version may read weights
        if not (isinstance(value, kind) or hasattr(value, "__get__")):
            problem = "has no" if value is None else f"has {value!r} as"
            raise ModelError(f"the judge {name} is incomplete: it {problem} {fact} ({meaning})")
    if not judge.scale > 0:
        raise ModelError(f"the judge {name} is incomplete: it has {judge.scale!r} as scale ({REQUIRED['scale'][1]})")
    if "." not in name and judge.name != name:
        raise ModelError(f"the judge {name} calls itself {judge.name!r}: give it the name of its file")
    able = [method for method in METHODS if callable(getattr(judge, method, None))]
    if not able:
        raise ModelError(f"the judge {name} is incomplete: it has none of {', '.join(METHODS)}")
    for method in able:
        try:
            inspect.signature(getattr(judge, method)).bind(*[()] * METHODS[method])
        except TypeError as error:
            raise ModelError(f"the judge {name} is incomplete: its {method} takes other arguments: {error}") from error


def distinct(things: Iterable[Thing]) -> tuple[list[Thing], list[int]]:
    """The images without repetitions of the same object, and for each given one its place among them."""
    places: dict[int, int] = {}
    unique: list[Thing] = []
    order = []
    for thing in things:
        if id(thing) not in places:
            places[id(thing)] = len(unique)
            unique.append(thing)
        order.append(places[id(thing)])
    return unique, order
