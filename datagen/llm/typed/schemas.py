"""What a reply must look like: for a server as a JSON schema, for a model in words.

The schema keeps to what every server with structured output takes, which is what OpenAI's strict mode takes: all
fields required, none added, no bounds. Bounds are stated in words and checked by pydantic when the reply is read; only
our own llama.cpp is sent them too, whose grammar then ends a text that a small model would never end.
"""

from __future__ import annotations

import functools
import json
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]

_LENGTHS = ("minLength", "maxLength", "minItems", "maxItems")
DEPTH = 5  # how far types within types are described in words; a type may hold itself


@functools.lru_cache(maxsize=256)
def schema_of(reply: type[BaseModel], bounds: bool = False) -> Schema:
    """The strict JSON schema of a type (OpenAI, "Structured Outputs": supported schemas); shared: not to be changed.

    TypeError for what strict mode cannot say: a root that is not an object, free-form dicts, tuples, untyped fields.
    """
    whole = reply.model_json_schema()
    known = whole.get("$defs", {})
    root = _strict(_target(whole, known) if "$ref" in whole else whole, reply.__name__, bounds)
    if root.get("type") != "object":
        raise TypeError(f"{reply.__name__} is not a JSON object: wrap it in a model with a field")
    if known:
        root["$defs"] = {name: _strict(part, f"{reply.__name__}.{name}", bounds) for name, part in known.items()}
    return root


def _target(part: Schema, known: dict[str, Schema]) -> Schema:
    """What a $ref points to."""
    return known[part["$ref"].rpartition("/")[2]]


def _strict(part: Schema, where: str, bounds: bool) -> Schema:
    """A schema with only the keywords that strict mode takes, and lengths if `bounds`; `where` names it in errors."""
    if "$ref" in part:
        return {"$ref": part["$ref"]}  # which takes no other keywords
    if len(part.get("allOf", ())) == 1:
        return _strict(part["allOf"][0], where, bounds)
    strict: Schema = {name: part[name] for name in _LENGTHS if bounds and name in part}
    if described := "; ".join(filter(None, [part.get("description"), _bounds(part)])):
        strict["description"] = described
    if variants := part.get("anyOf") or part.get("oneOf"):
        return strict | {"anyOf": [_strict(variant, where, bounds) for variant in variants]}
    if "const" in part or "enum" in part:
        values = part.get("enum", [part.get("const")])
        return strict | ({"type": part["type"]} if "type" in part else {}) | {"enum": values}
    kind = part.get("type")
    if kind == "object" and "properties" in part and not part.get("additionalProperties"):
        fields = {name: _strict(field, f"{where}.{name}", bounds) for name, field in part["properties"].items()}
        strict |= {"properties": fields, "required": list(fields), "additionalProperties": False}
    elif kind == "array" and part.get("items"):
        strict["items"] = _strict(part["items"], f"{where}[]", bounds)
    elif kind not in ("string", "integer", "number", "boolean", "null"):
        raise TypeError(f"{where}: a strict JSON schema has no free-form dicts, tuples or untyped values ({part})")
    return {"type": kind, **strict}


def _bounds(part: Schema) -> str:
    """The bounds of a value in words, "" if it has none."""
    said = []
    for unit, low, high in (("characters", "minLength", "maxLength"), ("entries", "minItems", "maxItems")):
        if low in part and high in part:
            said.append(f"{part[low]} to {part[high]} {unit}")
        elif high in part:
            said.append(f"at most {part[high]} {unit}")
        elif low in part:
            said.append(f"at least {part[low]} {unit}")
    numbers = {"minimum": "at least", "maximum": "at most", "exclusiveMinimum": "above", "exclusiveMaximum": "below"}
    said += [f"{words} {part[name]}" for name, words in numbers.items() if name in part]
    if "multipleOf" in part:
        said.append(f"a multiple of {part['multipleOf']}")
    if "pattern" in part:
        said.append(f"matches {part['pattern']}")
    if part.get("uniqueItems"):
        said.append("no two alike")
    return ", ".join(said)


@functools.lru_cache(maxsize=256)
def in_words(reply: type[BaseModel]) -> str:
    """The instruction that makes a model reply with this type where the server cannot make it.

    It shows the object with its values described, not the schema: small models answer a schema with the schema.
    """
    schema = schema_of(reply)
    return (
        "Reply with one JSON object and nothing else: no explanation and no code fence. It has exactly these fields, "
        f"with real values in the place of what stands in <>:\n{_words(schema, schema.get('$defs', {}), '', DEPTH)}"
    )


def _words(part: Schema, known: dict[str, Schema], indent: str, depth: int) -> str:
    if "$ref" in part:
        return _words(_target(part, known), known, indent, depth - 1) if depth else "<the same again, or nothing>"
    inner = indent + "  "
    if "properties" in part:
        fields = (f"{inner}{json.dumps(n)}: {_words(p, known, inner, depth)}" for n, p in part["properties"].items())
        return "{\n" + ",\n".join(fields) + f"\n{indent}}}"
    note = f": {part['description']}" if "description" in part else ""
    if part.get("type") == "array":
        return f"[{_words(part['items'], known, indent, depth)}, <and so on{note}>]"
    if "anyOf" in part:
        return " or ".join(_words(variant, known, indent, depth) for variant in part["anyOf"])
    if "enum" in part:
        return " or ".join(json.dumps(value, ensure_ascii=False) for value in part["enum"])
    simple = {
        "boolean": "true or false",
        "null": "null",
        "integer": f"<whole number{note}>",
        "number": f"<number{note}>",
    }
    return simple.get(part["type"], f'"<text{note}>"')
