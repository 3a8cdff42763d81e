"""A server with a vision-language model that sees one thing: how red a picture is. Its faults can be chosen.

It speaks OpenAI's chat completions over HTTP on the loopback, with log-probabilities unless told otherwise, and
counts what it was asked.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import io
import json
import math
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

# text and the pictures' reds → the answer's places, each token → probability
Answers = Callable[[str, list[float]], list[dict[str, float]]]


@dataclasses.dataclass
class Stub:
    """What the server does; `refuses` is the body of a 400 to requests that ask for log-probabilities."""

    answers: Answers
    logprobs: bool = True
    refuses: str = ""
    asked: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    url: str = ""

    def reply(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and JSON of a request."""
        self.asked.append(body)
        if self.refuses and "logprobs" in body:
            return 400, {"error": {"message": self.refuses, "type": "invalid_request_error"}}
        content = body["messages"][-1]["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        text = next(part["text"] for part in parts if part["type"] == "text")
        reds = [red_of(part["image_url"]["url"]) for part in parts if part["type"] == "image_url"]
        places = self.answers(text, reds)
        said = "".join(max(place, key=lambda token: place[token]) for place in places)
        choice: dict[str, Any] = {
            "index": 0, "message": {"role": "assistant", "content": said},
            "finish_reason": "length" if body.get("max_tokens") == 1 else "stop",
        }  # fmt: skip
        if self.logprobs and body.get("logprobs"):
            choice["logprobs"] = {"content": [_listed(place, body["top_logprobs"]) for place in places]}
        usage = {"prompt_tokens": 100 * len(reds) + 10, "completion_tokens": len(places), "total_tokens": 0}
        return 200, {"id": "1", "model": "stub", "choices": [choice], "usage": usage}


def red_of(url: str) -> float:
    """How red the picture of a data URL is, 0 to 1."""
    data = base64.b64decode(url.partition(",")[2])
    pixel: Any = Image.open(io.BytesIO(data), formats=["PNG", "JPEG"]).convert("RGB").resize((1, 1)).getpixel((0, 0))
    return float(pixel[0]) / 255


def text_of(words: str) -> list[dict[str, float]]:
    """A whole text as the certain answer."""
    return [{word: 1.0} for word in re.findall(r"\s*\S+", words)]


def _listed(place: dict[str, float], top: int) -> dict[str, Any]:
    ranked = sorted(place.items(), key=lambda item: -item[1])
    entries = [{"token": token, "logprob": math.log(p) if p else -9999.0} for token, p in ranked]
    return {**entries[0], "top_logprobs": entries[:top]}


@contextlib.contextmanager
def serving(stub: Stub) -> Iterator[Stub]:
    """The stub on a free port of the loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer = stub.reply(body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    stub.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
