"""From completions to the reply of a request, with at most one correction round: the same online and by batches.

Nothing here sends. Whoever asks has a `Completion`, learns from `finish` whether a second one is wanted, and hands out
the reply that the two make.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from datagen.llm.messages import Reply, Request, Usage
from datagen.llm.typed import structured
from datagen.llm.typed.reading import logprobs_of, read
from datagen.llm.words import line


@dataclasses.dataclass(frozen=True)
class Completion:
    """What a server answered to a request, and what that cost now: nothing if it was `cached`.

    `problem` instead of a body where the server will not answer; it begins as the errors of a `Reply` do.
    """

    body: dict[str, Any] = dataclasses.field(default_factory=dict)
    usage: Usage = Usage()
    cached: bool = False
    problem: str | None = None


def finish(request: Request, completion: Completion, model: str) -> tuple[Reply, Request | None]:
    """The reply that a completion makes, and the request of its correction round; None if there should be none.

    A typed reply that is unreadable or cut off is worth a second try, one that declines is not. `model` is what was
    asked for, where the completion does not name itself.
    """
    if completion.problem is not None:
        return Reply(None, "", model, error=completion.problem), None
    parsed = read(completion.body, request)
    reply = Reply(
        parsed.value,
        parsed.text,
        line(str(completion.body.get("model") or model)),
        line(str(completion.body.get("id") or "")),
        completion.usage,
        completion.cached,
        parsed.error,
        parsed.left_out,
        logprobs_of(completion.body) if request.top_logprobs else (),
    )
    if parsed.error is None or parsed.error.startswith("refused: ") or request.reply is None:
        return reply, None
    return reply, structured.correction(request, parsed.text, parsed.error)


def corrected(request: Request, reply: Reply, completion: Completion) -> Reply:
    """The reply after its correction round: what the second completion says, at the cost of both."""
    if completion.problem is not None:
        return reply
    second, _ = finish(request, completion, reply.model)
    first, more = reply.usage, second.usage
    usage = Usage(
        first.input_tokens + more.input_tokens, first.output_tokens + more.output_tokens, first.cost + more.cost
    )
    return dataclasses.replace(second, usage=usage, cached=reply.cached and second.cached)


def rejected(code: str, words: str) -> str:
    """The problem of a request that the server rejects, by the code of its error: content, or anything else."""
    refused = "content" in code and ("filter" in code or "policy" in code)
    return f"{'refused' if refused else 'unreadable'}: {words}"
