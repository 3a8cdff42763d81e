"""What a server's answer means: the completion that came, or the exception that says what to do about it.

Nothing of an answer is trusted: whatever bytes come under whatever status, the outcome is a dict with the list that
was asked for, or one of the exceptions of datagen/llm/providers and datagen/errors. The key never stands in a message.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from datagen.errors import EndpointError, RequestRejected
from datagen.llm.endpoint import Endpoint
from datagen.llm.providers import RetryableError, ServerRefusal, UnusableAnswer
from datagen.llm.wire import waits
from datagen.llm.words import line

ABOUT = 4000  # characters of a refusal that are searched for what it objects to
_NO_CREDIT = {
    "insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "budget_exceeded",
    "insufficient_credits", "insufficient_user_quota", "credit_limit_exceeded",
}  # fmt: skip
_LOADING = re.compile(r"\bload(?:ing|ed) (?:the )?model|model [^.]{0,80}(?:is )?(?:currently |still )?loading", re.I)
_WRONG_KEY = re.compile(
    r"API_KEY_INVALID|\bapi[ _-]?key (?:is )?(?:not valid|not found|invalid|expired|missing)", re.I
)
# "The response was filtered", "The input was flagged", "blocked by our content policy".
_MODERATED = re.compile(r"content[ _]?(?:filter|policy|management)|moderat|\bflagged\b|safety (?:system|polic)", re.I)


@dataclasses.dataclass(frozen=True)
class Kind:
    """What is asked of a server: the path below its base URL, how an answer is called, and the list in it."""

    path: str
    name: str
    entries: str

    @property
    def article(self) -> str:
        """The name with its article."""
        return f"{'an' if self.name[0] in 'aeiou' else 'a'} {self.name}"


CHAT = Kind("chat/completions", "chat completion", "choices")


class Answers:
    """Reads the answers of one server; `via` says in words through which proxy they came, "" for none."""

    def __init__(self, endpoint: Endpoint, via: str = "", kind: Kind = CHAT) -> None:
        self._endpoint, self._via, self._kind = endpoint, via, kind
        self._url = f"{endpoint.address}/{kind.path}"
        self._variables = endpoint.variables

    def read(self, status: int, headers: Mapping[str, str], content: bytes) -> dict[str, Any]:
        """The completion; RetryableError, UnusableAnswer, ServerRefusal, EndpointError or RequestRejected."""
        if status == 200 or (200 < status < 300 and content.strip()):
            return self._completion(headers, content)
        if status == 400 and self._kind == CHAT and (written := _failed_generation(content)) is not None:
            return written
        self._refused(status, headers, content)

    def words(self, text: str) -> str:
        """A server's words as one short line without the key."""
        return line(text, *self._endpoint.secrets())

    @property
    def where(self) -> str:
        """The server, for a message."""
        return f"{self._endpoint.address}{self._via}"

    def _completion(self, headers: Mapping[str, str], content: bytes) -> dict[str, Any]:
        kind = headers.get("Content-Type", "").lower()
        try:
            text = _decoded(content, kind)
            streamed = "event-stream" in kind or text.lstrip().startswith(("data:", "event:", ":"))
            answer = _events(text) if streamed else json.loads(text.removeprefix("\ufeff"))
        except UnicodeDecodeError as error:
            raise UnusableAnswer("a reply in no known encoding (not UTF-8)") from error
        except (ValueError, RecursionError) as error:
            if "html" in kind or content.lstrip()[:1] == b"<":
                raise UnusableAnswer("a web page in the place of a reply", verdict=self._page(200)) from error
            raise UnusableAnswer("a reply that is not JSON") from error
        entries = answer.get(self._kind.entries) if isinstance(answer, dict) else None
        if not isinstance(answer, dict) or not isinstance(entries, list):
            message, _ = error_of(answer)
            if message:
                raise UnusableAnswer(f"an error under HTTP 200: {self.words(message)}", answer)
            raise UnusableAnswer(
                f"an answer without {self._kind.entries}, which is no {self._kind.name}",
                answer,
                f"{self._url} answers, but not with {self._kind.article}{self._via}; check {self._variables}_BASE_URL "
                "(it usually ends in /v1)",
            )
        if not entries or not isinstance(entries[0], dict):
            raise UnusableAnswer(f"{self._kind.article} whose list of {self._kind.entries} is empty", answer)
        return _with_cost(answer, headers)

    def _refused(self, status: int, headers: Mapping[str, str], content: bytes) -> NoReturn:
        """Raise what an HTTP status other than 200 means."""
        about = content[:ABOUT].decode("utf-8", "replace")
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        message, code = error_of(answer)
        html = answer is None and content.lstrip()[:1] == b"<"
        said = message or ("" if html else about)
        words = f": {self.words(said)}" if said.strip() else ""
        sent = status in (408, 502, 504) or (isinstance(answer, dict) and isinstance(answer.get("usage"), dict))
        moderated = code == "content_filter" or bool(_MODERATED.search(f"{code} {about}"))
        if code in _NO_CREDIT or status == 402:
            raise EndpointError(f"the account at {self.where} has no credit left (HTTP {status}{words})")
        if (status in (408, 409, 425, 429) or status >= 500) and "response_format" not in message:
            # These say that no reply was made; a gateway's 502 or 504 hides what the server behind it did.
            raise RetryableError(
                f"HTTP {status}{words}",
                sent=sent,
                busy=status == 429,
                loading=status == 503 and bool(_LOADING.search(about)),
                retry_after=waits.asked(headers, answer),
            )
        if status == 407:
            raise EndpointError(f"the proxy wants a name and a password (HTTP 407){self._via}")
        if (status in (401, 403) and not moderated) or (status == 400 and _WRONG_KEY.search(about)):
            self._no_access(status, words, html)
        if html or 300 <= status < 400 or status == 204:
            raise ServerRefusal(self._page(status))
        if status == 404:
            raise ServerRefusal(
                f"{self._url} does not know the model {self._endpoint.model!r}, or nothing is there "
                f"(HTTP 404{words}){self._via}; check {self._variables}_MODEL and {self._variables}_BASE_URL (it "
                "usually ends in /v1)"
            )
        raise RequestRejected(
            f"{self.where} rejects the request (HTTP {status}{words})",
            "content_filter" if moderated else code,
            about,
            sent or moderated,  # a filter reads what it refuses, and some servers charge for that
        )

    def _no_access(self, status: int, words: str, html: bool) -> NoReturn:
        refused = "access" if status == 403 else "the key"
        page = " with a web page" if html else words
        raise ServerRefusal(
            f"{self.where} refuses {refused} (HTTP {status}{page}); check OPENAI_API_KEY or {self._variables}_API_KEY"
        )

    def _page(self, status: int) -> str:
        return (
            f"{self._url} answers with a web page or a redirect (HTTP {status}){self._via}, not with "
            f"{self._kind.article}; check {self._variables}_BASE_URL (it usually ends in /v1)"
        )


def error_of(answer: Any) -> tuple[str, str]:
    """The message and the code of an error object in one of the shapes that servers use; "" for what it lacks.

    Google gives a list with one error in it; the code is OpenAI's `code`, or its `type` where the code says nothing.
    """
    if isinstance(answer, list):
        answer = answer[0] if answer else None
    error = answer.get("error", answer) if isinstance(answer, dict) else None
    if isinstance(error, str):
        return error, ""
    if not isinstance(error, dict):
        return "", ""
    message = error.get("message") or error.get("detail") or ""
    names = [name for name in (error.get("code"), error.get("type"), error.get("status")) if isinstance(name, str)]
    code = next((name for name in names if name in _NO_CREDIT or name == "content_filter"), "")
    return message if isinstance(message, str) else json.dumps(message), code or next(iter(names), "")


def _failed_generation(content: bytes) -> dict[str, Any] | None:
    """What a model wrote that its server (Groq) found to be no JSON: a paid reply, to be read as any other."""
    try:
        error = json.loads(content)["error"]
        text = error["failed_generation"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return None
    if not isinstance(text, str) or not text.strip():
        return None
    return {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}


def _with_cost(answer: dict[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
    """The completion with the cost that a gateway (LiteLLM) tells in a header alone, among its usage."""
    usage = answer.get("usage")
    try:
        cost = float(headers.get("x-litellm-response-cost", ""))
    except ValueError:
        return answer
    return {**answer, "usage": {**usage, "cost": cost}} if isinstance(usage, dict) and "cost" not in usage else answer


def _decoded(content: bytes, kind: str) -> str:
    """The text of an answer: UTF-8, as JSON is whatever its Content-Type names; else in the encoding named there.

    UnicodeDecodeError if it is neither.
    """
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        found = re.search(r"charset=\"?([\w-]+)", kind)
        try:
            return content.decode(found[1] if found else "utf-8")
        except (LookupError, UnicodeError):  # "undefined" and its like are encodings to Python
            pass
        raise


def _events(text: str) -> dict[str, Any]:
    """The completion that a stream of server-sent events adds up to, which some gateways send unasked.

    ValueError if one of its events is not JSON, or if there is none.
    """
    whole: dict[str, Any] = {}
    content: list[str] = []
    last: dict[str, Any] = {}
    for row in re.split(r"\r\n|\r|\n", text):  # and at nothing else that may stand in a text
        data = row.removeprefix("data:").strip()
        if not row.startswith("data:") or data == "[DONE]":
            continue
        event = json.loads(data)
        if not isinstance(event, dict):
            raise ValueError("an event that is no object")
        whole |= {name: part for name, part in event.items() if part is not None and name != "choices"}
        choices = event.get("choices")
        for choice in choices if isinstance(choices, list) else []:
            if isinstance(choice, dict) and choice.get("index", 0) == 0:
                content += _pieces(choice.get("delta") or choice.get("message"))
                last = choice if choice.get("finish_reason") else last
    if "error" in whole and not content:
        return whole
    if not content and not last and not whole:
        raise ValueError("a stream without an event")
    message = {"role": "assistant", "content": "".join(content)}
    # A stream that broke off says no reason for its end.
    return {**whole, "choices": [{"index": 0, "message": message, "finish_reason": last.get("finish_reason")}]}


def _pieces(delta: Any) -> list[str]:
    """What one event adds to a reply: its text, the texts of its parts, or arguments of a tool that it calls."""
    content = delta.get("content") if isinstance(delta, dict) else None
    parts = content if isinstance(content, list) else [content]
    calls = delta.get("tool_calls") if isinstance(delta, dict) else None
    for call in calls if isinstance(calls, list) else []:
        function = call.get("function") if isinstance(call, dict) else None
        parts = [*parts, function.get("arguments") if isinstance(function, dict) else None]
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    return [text for text in texts if isinstance(text, str)]
