"""What is asked of a language model and what comes back, as plain frozen values.

A `Request` holds all that decides its reply and nothing else, so that it can be the key of a cache; `stage` is the one
exception, there for the accounts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from pydantic import BaseModel


@dataclasses.dataclass(frozen=True)
class Message:
    """One message of a conversation; `images` are encoded files (PNG, JPEG, WebP), sent before the text.

    `detail` is OpenAI's word for how closely images are looked at: low, high or auto; "" leaves it to the server.
    """

    role: Literal["system", "user", "assistant"]
    text: str
    images: tuple[bytes, ...] = ()
    detail: str = ""


@dataclasses.dataclass(frozen=True)
class Request:
    """One call. `reply` is the type the answer must have, None for free text; `sample` distinguishes repetitions.

    With `top_logprobs` the log-probabilities of so many tokens come back for each place of the answer, and an answer
    that is cut off counts.
    """

    messages: tuple[Message, ...]
    reply: type[BaseModel] | None = None
    stage: str = ""
    sample: int = 0
    temperature: float = 1.0
    max_tokens: int = 1024
    top_logprobs: int = 0


@dataclasses.dataclass(frozen=True)
class Usage:
    """What a call used, in tokens, and cost, in US dollars (0 where the model has no price)."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0


@dataclasses.dataclass(frozen=True)
class Reply:
    """What came back: `value` of the asked type (the text itself if none was asked), or `error` and no value.

    An error is content that failed and begins with "refused: ", "unreadable: " or "cut off: ". `usage` is what this
    call cost now: nothing if `cached`; a correction round is included. `left_out` counts the entries of its lists that
    could not be used. `logprobs` has for each place of the answer token → log-probability; () if none came.
    """

    value: BaseModel | str | None
    text: str
    model: str
    request_id: str = ""
    usage: Usage = Usage()
    cached: bool = False
    error: str | None = None
    left_out: int = 0
    logprobs: tuple[Mapping[str, float], ...] = ()


Ask = Callable[[Sequence[Request]], list[Reply]]  # one reply per request, in order
