"""OpenAI's Files and Batches API on loopback, in a process of its own: answers every line, and counts what it bills.

`BatchStub` starts and stops it. `stats()` tells what was handed in and paid for; `change()` sets what goes wrong next.
"""

from __future__ import annotations

import email.parser
import email.policy
import json
import subprocess
import sys
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

KEY = "stub-key"
INPUT_TOKENS, OUTPUT_TOKENS = 100, 50  # of every line


class Books:
    """Everything the server holds."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.paid: dict[str, int] = {}  # custom_id → how often it was answered
        self.hits: dict[str, int] = {}
        self.faults: dict[str, Any] = {
            "polls": 1,  # a batch is done at its so-manieth retrieval
            "fail": 0,  # so many requests of any kind get a 500
            "lose_create": 0,  # so many submissions arrive, and their answer does not
            "lines_failing": 0,  # of the next batch, so many lines fail with 500
            "lines_rejected": 0,  # … with 400
            "expire_after": 0,  # the next batch expires after so many lines
            "status": "",  # the next batch ends so, with nothing
            "content": "",  # of every reply; a JSON object with the line's mark if empty
            "finish": "stop",  # of a reply with that content
            "corrects": True,  # a correction round gets another reply
            "no_batches": False,
            "hidden_lists": 0,  # so many lists do not show the newest batch yet
        }


BOOKS = Books()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def reply(self, value: Any, status: int = 200, raw: bytes | None = None) -> None:
        body = json.dumps(value).encode() if raw is None else raw
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def fault(self, name: str) -> int:
        """Use one of a fault's times up; 0 if there are none left."""
        left = int(BOOKS.faults[name])
        BOOKS.faults[name] = max(0, left - 1)
        return left

    def refused(self) -> bool:
        if self.path in ("/stats", "/change"):
            return False
        name = f"{self.command} {self.path.partition('?')[0].split('/')[2]}"
        BOOKS.hits[name] = BOOKS.hits.get(name, 0) + 1
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            given = str(self.headers.get("Authorization")).removeprefix("Bearer ")
            self.reply({"error": {"message": f"Incorrect API key provided: {given}"}}, 401)
        elif BOOKS.faults["no_batches"]:
            self.reply({"error": {"message": "Not Found"}}, 404)
        elif self.fault("fail"):
            self.reply({"error": {"message": "The server had an error."}}, 500)
        else:
            return False
        return True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.refused():
            return
        if self.path == "/change":
            BOOKS.faults |= json.loads(body)
            self.reply({})
        elif self.path == "/v1/files":
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
            content = next(part for part in form.iter_parts() if part.get_filename())
            assert "batch" in [part.get_content().strip() for part in form.iter_parts() if not part.get_filename()]
            name = f"file-{len(BOOKS.files)}"
            BOOKS.files[name] = content.get_payload(decode=True)
            self.reply(self.file(name))
        elif self.path == "/v1/batches":
            self.create(json.loads(body))

    def file(self, name: str) -> dict[str, Any]:
        size = len(BOOKS.files[name])
        return {
            "id": name,
            "object": "file",
            "bytes": size,
            "created_at": 1,
            "filename": "f",
            "purpose": "batch",
            "status": "processed",
        }

    def create(self, asked: dict[str, Any]) -> None:
        name = f"batch_{len(BOOKS.batches)}"
        assert asked["endpoint"] == "/v1/chat/completions" and asked["completion_window"] == "24h"
        lines = [json.loads(line) for line in BOOKS.files[asked["input_file_id"]].splitlines()]
        assert len({line["custom_id"] for line in lines}) == len(lines)
        batch = {
            "id": name, "object": "batch", "endpoint": asked["endpoint"], "completion_window": "24h", "errors": None,
            "created_at": int(time.time()), "input_file_id": asked["input_file_id"], "status": "validating",
            "metadata": asked["metadata"], "output_file_id": None, "error_file_id": None,
            "request_counts": {"total": len(lines), "completed": 0, "failed": 0}, "polled": 0,
        }  # fmt: skip
        BOOKS.batches[name] = batch
        if self.fault("lose_create"):
            self.close_connection = True
            self.connection.shutdown(2)
            return
        self.reply(batch)

    def do_GET(self) -> None:
        if self.refused():
            return
        path, _, query = self.path.partition("?")
        if path == "/stats":
            self.reply(
                {"batches": len(BOOKS.batches), "files": len(BOOKS.files), "paid": BOOKS.paid, "hits": BOOKS.hits}
            )
        elif path == "/v1/batches":
            found = sorted(BOOKS.batches.values(), key=lambda batch: -int(batch["id"].split("_")[1]))
            found = found[1:] if self.fault("hidden_lists") else found
            start = next((i + 1 for i, batch in enumerate(found) if f"after={batch['id']}" in query), 0)
            self.reply({"object": "list", "data": found[start : start + 2], "has_more": len(found) > start + 2})
        elif path.startswith("/v1/batches/"):
            batch = BOOKS.batches[path.rpartition("/")[2]]
            batch["polled"] += 1
            if batch["status"] in ("validating", "in_progress"):
                self.work(batch)
            self.reply(batch)
        elif path.endswith("/content"):
            self.reply(None, raw=BOOKS.files[path.split("/")[3]])

    def work(self, batch: dict[str, Any]) -> None:
        """Do a batch whose time has come."""
        if batch["polled"] < BOOKS.faults["polls"]:
            batch["status"] = "in_progress"
            return
        if BOOKS.faults["status"]:
            batch["status"], BOOKS.faults["status"] = BOOKS.faults["status"], ""
            batch["errors"] = {
                "object": "list",
                "data": [{"code": "token_limit_exceeded", "message": "Too many tokens."}],
            }
            return
        lines = [json.loads(line) for line in BOOKS.files[batch["input_file_id"]].splitlines()]
        done, failed = [], []
        limit, BOOKS.faults["expire_after"] = BOOKS.faults["expire_after"] or len(lines), 0
        for number, line in enumerate(lines):
            if number >= limit:
                failed.append(
                    {
                        "id": "x",
                        "custom_id": line["custom_id"],
                        "response": None,
                        "error": {
                            "code": "batch_expired",
                            "message": "This request could not be executed before the completion window expired.",
                        },
                    }
                )
            elif code := 500 * bool(self.fault("lines_failing")) or 400 * bool(self.fault("lines_rejected")):
                error = {"code": "content_policy_violation" if code == 400 else "server_error", "message": "No."}
                failed.append(
                    {
                        "id": "x",
                        "custom_id": line["custom_id"],
                        "response": {"status_code": code, "body": {"error": error}},
                        "error": None,
                    }
                )
            else:
                done.append(self.answer(line))
        batch["status"] = "expired" if limit < len(lines) else "completed"
        batch["request_counts"] = {"total": len(lines), "completed": len(done), "failed": len(failed)}
        for field, rows in (("output_file_id", done), ("error_file_id", failed)):
            if rows:
                batch[field] = f"file-{len(BOOKS.files)}"
                BOOKS.files[batch[field]] = "".join(json.dumps(row) + "\n" for row in rows).encode()

    def answer(self, line: dict[str, Any]) -> dict[str, Any]:
        BOOKS.paid[line["custom_id"]] = BOOKS.paid.get(line["custom_id"], 0) + 1
        last = line["body"]["messages"][-1]["content"]
        said = json.dumps({"text": f"re: {last[:40]}"})
        finish, again = "stop", len(line["body"]["messages"]) > 2  # a correction round has more messages
        if BOOKS.faults["content"] and not (again and BOOKS.faults["corrects"]):
            said, finish = BOOKS.faults["content"], BOOKS.faults["finish"]
        body = {
            "id": f"chatcmpl-{line['custom_id'][:8]}", "object": "chat.completion", "created": 1,
            "model": line["body"]["model"],
            "choices": [
                {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": said}},
            ],
            "usage": {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS, "total_tokens": 150},
        }  # fmt: skip
        return {
            "id": "x",
            "custom_id": line["custom_id"],
            "response": {"status_code": 200, "request_id": "r", "body": body},
            "error": None,
        }


class BatchStub:
    """The server in a process of its own, which outlives whoever asks it."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.address = f"http://127.0.0.1:{int(self.process.stdout.readline())}"
        self.base_url = f"{self.address}/v1"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def stats(self) -> dict[str, Any]:
        """How many batches and files there are, how often each line was paid for, and what was called."""
        with urllib.request.urlopen(f"{self.address}/stats") as answer:
            return dict(json.load(answer))

    def change(self, **faults: Any) -> None:
        """Behave otherwise from now on."""
        urllib.request.urlopen(f"{self.address}/change", json.dumps(faults).encode()).close()


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()
