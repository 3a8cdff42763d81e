"""How servers want the parts of a drawing to be put: the ways of saying each, in the order in which they are tried.

A way that a server rejects is not taken again; the last way of a part is not to say it. Whatever stands in the model's
name (`endpoint:MODEL?quality=low`) is the user's own, and never left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from datagen.llm.pictures.messages import Drawing

Way = Callable[[Drawing], dict[str, Any]]
NARROW = 2**31  # a seed that some servers hold in 32 bits

_WAYS: dict[str, tuple[Way, ...]] = {
    "size": (lambda of: {"size": of.size}, lambda of: {"width": of.width, "height": of.height}),
    "seed": (lambda of: {"seed": of.seed}, lambda of: {"seed": of.seed % NARROW}),
    "negative prompt": (lambda of: {"negative_prompt": of.negative} if of.negative else {},),
    "steps": (lambda of: {"num_inference_steps": of.steps}, lambda of: {"steps": of.steps}),
    "guidance": (lambda of: {"guidance_scale": of.guidance}, lambda of: {"cfg_scale": of.guidance}),
    "form": (lambda of: {"response_format": "b64_json"}, lambda of: {"response_format": "base64"}),
    "format": (lambda of: {"output_format": "png"},),
}
PARTS = ("size", "seed", "negative prompt", "steps", "guidance")  # those that decide a picture
# What the model's name may not set, since a recipe does, or the client counts on it.
OURS = {
    "model", "prompt", "n", "stream", "response_format", "seed", "negative_prompt", "num_inference_steps",
    "guidance_scale",
}  # fmt: skip
# OpenAI's own models take none of what diffusion has: they are not asked to find out.
_OPENAI = re.compile(r"(?:gpt-image|chatgpt-image|dall-e)")
_FREE = ("seed", "negative prompt", "steps", "guidance")

_NOT_TAKEN = re.compile(
    r"un\w*(?:supported|recogni[sz]ed|known|expected)|not (?:supported|permitted|allowed|accepted|a valid)"
    "|extra|forbidden"
)
_OF_VALUE = re.compile(r"\bvalues?\b|must be|not one of|should be|(?:less|greater) than|at (?:most|least)|range")
_EXAMPLE = Drawing("", "-", 0, 1, 1.0, 8, 8)


class Spellings:
    """What one server takes, as far as is known; `lessons` counts what was learnt.

    The user says the parameters `own`; a part that one of them belongs to is not said once more.
    """

    def __init__(self, model: str, own: Iterable[str] = ()) -> None:
        self._at = dict.fromkeys(_WAYS, 0)
        self.lessons = 0
        away = {part for part, ways in _WAYS.items() if any(way(_EXAMPLE).keys() & set(own) for way in ways)}
        if _OPENAI.match(model):
            away |= {*_FREE, "format" if model.startswith("dall-e") else "form"}
        self._at |= {part: len(_WAYS[part]) for part in away}

    def body(self, drawing: Drawing) -> dict[str, Any]:
        """The parts of a drawing as this server takes them."""
        said: dict[str, Any] = {}
        for part, ways in _WAYS.items():
            if self._at[part] < len(ways):
                said |= ways[self._at[part]](drawing)
        return said

    def learn(self, words: str, sent: dict[str, Any]) -> tuple[str, str]:
        """The part of a drawing that a rejection in these words objects to, and what follows from that, in words.

        Nothing follows from a size, steps or a guidance that are out of the server's bounds: they are the recipe's.
        ("", "") if nothing that was sent is named.
        """
        for part, ways in _WAYS.items():
            at = self._at[part]
            names = [name for name in ways[at](_EXAMPLE) if name in sent] if at < len(ways) else []
            if not any(named(name, words) for name in names):
                continue
            is_unknown = _NOT_TAKEN.search(words) and not _OF_VALUE.search(words)
            if part in ("size", "steps", "guidance") and not is_unknown:
                return part, ""
            if part == "negative prompt" and not is_unknown:  # this one's words, or its length
                continue
            later = list(range(at + 1, len(ways)))
            if is_unknown:  # another value under the same name is as unknown
                later = [way for way in later if not ways[way](_EXAMPLE).keys() & set(names)]
            self._at[part] = next(iter(later), len(ways))
            self.lessons += 1
            rest = ways[self._at[part]](_EXAMPLE) if later else {}
            then = f"it is sent as {', '.join(rest)}" if rest else "pictures are drawn without"
            return part, f"does not take {', '.join(names)}: {then}"
        return "", ""


def named(name: str, words: str) -> bool:
    """Whether a server's words name a parameter."""
    return re.search(rf"(?<![\w-]){re.escape(name.lower())}(?![\w-])", words) is not None


def told(names: list[str]) -> tuple[str, ...]:
    """The parts of a drawing that a body with parameters of these names says."""
    known = set(names)
    return tuple(part for part in PARTS if any(known & way(_EXAMPLE).keys() for way in _WAYS[part]))
