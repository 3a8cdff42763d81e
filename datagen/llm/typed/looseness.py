"""Reads a value that is not quite of the asked type where there is one way alone to read it.

A wrapper, a field too many or in another spelling, a null where nothing is meant, an unusable entry in a list whose
entries do not depend on each other (`INDEPENDENT`): none of these makes a reply mean something else. What is left out
of a list is counted.
"""

from __future__ import annotations

import functools
from typing import Any, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError

from datagen.llm.typed.repair import plain

# For `json_schema_extra` of a list field: an entry that is no use is left out, and so are those beyond its length.
INDEPENDENT: dict[str, Any] = {"independent": True}
Schema = dict[str, Any]
DEPTH = 8


def read(value: Any, reply: type[BaseModel]) -> tuple[BaseModel, int]:
    """The value in the asked type, and how many entries of its lists were left out. ValidationError if it is none."""
    try:
        return reply.model_validate_json(plain(value)), 0
    except ValidationError:
        schema = _schema(reply)
        value = _loosened(value, schema, schema.get("$defs", {}), DEPTH)
    try:
        return reply.model_validate_json(plain(value)), 0
    except ValidationError:
        whole, left_out = _without(value, reply)
        if not left_out:
            raise
        return reply.model_validate_json(plain(whole)), left_out


@functools.lru_cache(maxsize=256)
def _schema(reply: type[BaseModel]) -> Schema:
    whole = reply.model_json_schema()
    return {**_resolved(whole, whole.get("$defs", {})), "$defs": whole.get("$defs", {})}


def _resolved(part: Schema, known: Schema) -> Schema:
    while "$ref" in part:
        part = known[part["$ref"].rpartition("/")[2]]
    return part


def _loosened(value: Any, part: Schema, known: Schema, depth: int) -> Any:
    """The value as the schema has it, as far as that is beyond doubt; else as it is."""
    part = _resolved(part, known)
    if depth == 0:
        return value
    match part.get("type"):
        case "object" if "properties" in part:
            return _object(value, part, known, depth)
        case "array" if isinstance(value, list):
            kind = part.get("items", {})
            return [None if entry is None else _loosened(entry, kind, known, depth - 1) for entry in value]
        case "array" if isinstance(value, dict) and value and all(key.isdecimal() for key in value):
            return _loosened(list(value.values()), part, known, depth)
        case "string" if "enum" not in part:
            return _text(value, may_be_empty=part.get("minLength", 0) == 0)
    return value


def _text(value: Any, *, may_be_empty: bool) -> Any:
    """A text that stands alone in a list or an object; where nothing may be said, a null or several short ones."""
    if isinstance(value, dict | list) and len(value) == 1:
        (inner,) = value.values() if isinstance(value, dict) else value
        return inner if isinstance(inner, str) else value
    if may_be_empty and value is None:
        return ""
    if may_be_empty and isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        return ", ".join(value)
    return value


def _object(value: Any, part: Schema, known: Schema, depth: int) -> Any:
    fields: Schema = part["properties"]
    if isinstance(value, list):
        if len(value) == 1 and isinstance(value[0], dict):
            value = value[0]
        elif len(fields) == 1 and next(iter(fields.values())).get("type") == "array":
            value = {next(iter(fields)): value}
    if not isinstance(value, dict):
        return value
    names = _names(value, fields)
    if names is None:
        return value
    if not names:  # a wrapper: {"response": {…}}
        inner = [entry for entry in value.values() if isinstance(entry, dict | list) and entry]
        return _object(inner[0], part, known, depth - 1) if len(inner) == 1 and depth > 1 else value
    return {name: _loosened(value[key], fields[name], known, depth - 1) for name, key in names.items()}


def _names(value: dict[str, Any], fields: Schema) -> dict[str, str] | None:
    """Field → key; a field too many is none of them. None if two keys may be the same field."""
    found: dict[str, str] = {}
    for key in value:
        name = key if key in fields else _plain_name(key)
        if name in fields and key not in fields and name in value:
            return None
        if name in found:
            return None
        if name in fields:
            found[name] = key
    return found


def _plain_name(key: str) -> str:
    """A field's name in another case, or with spaces, dots or hyphens: "Chosen Negative"."""
    return "_".join("".join(c if c.isalnum() else " " for c in key.lower()).split())


def _without(value: Any, reply: type[BaseModel]) -> tuple[Any, int]:
    """The value without the unusable entries of its independent lists, and how many those are."""
    if not isinstance(value, dict):
        return value, 0
    whole, left_out = dict(value), 0
    for name, (entry_type, most) in _independent(reply).items():
        entries = whole.get(name)
        if isinstance(entries, list):
            kept = [entry for entry in entries if _fits(entry, entry_type)][:most]
            left_out += len(entries) - len(kept)
            whole[name] = kept
    return whole, left_out


@functools.lru_cache(maxsize=256)
def _independent(reply: type[BaseModel]) -> dict[str, tuple[TypeAdapter[Any], int | None]]:
    """Of each independent list: the type of its entries, and the most that it may hold."""
    lists = {}
    for name, field in reply.model_fields.items():
        if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("independent"):
            most = next((rule.max_length for rule in field.metadata if hasattr(rule, "max_length")), None)
            lists[name] = TypeAdapter[Any](get_args(field.annotation)[0]), most
    return lists


def _fits(entry: Any, entry_type: TypeAdapter[Any]) -> bool:
    try:
        entry_type.validate_json(plain(entry))
    except ValidationError:
        return False
    return True
