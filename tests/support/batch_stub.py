"""OpenAI's Files and Batches API on loopback, in a process of its own: answers every line, and counts what it bills.

`BatchStub` starts and stops it. `stats()` tells what was handed in and paid for; `change()` sets what goes wrong next.
"""

from __future__ import annotations

import dataclasses
import json
import time
import urllib.request
from pathlib import Path
from typing import Any

from aiohttp import web

from benchmarks.support import stub_server
from benchmarks.support.stub_server import KEY as KEY
from benchmarks.support.stub_server import error
from datagen.llm.providers import mock

INPUT_TOKENS, OUTPUT_TOKENS = 100, 50  # of every line


@dataclasses.dataclass
class BatchFaults:
    """What goes wrong; a number says how often, and is counted down."""

    polls: int = 1  # a batch is done at its n-th retrieval
    fail: int = 0  # so many requests of any kind get a 500
    lose_create: int = 0  # so many submissions arrive, and their answer does not
    lines_failing: int = 0  # of the next batch, so many lines fail with 500
    lines_rejected: int = 0  # … with 400
    expire_after: int = 0  # the next batch expires after so many lines
    status: str = ""  # the next batch ends so, with nothing
    content: str = ""  # of every reply; a JSON object with the line's mark if empty
    finish: str = "stop"  # finish_reason of a reply with that content
    corrects: bool = True  # a correction round gets another reply
    no_batches: bool = False
    room: int = 0  # a batch of more lines fails, as its tokens are too many; -1: every one does
    string_errors: int = 0  # of the next batch, so many lines fail with a text in the place of an error
    odd_lines: int = 0  # … are answered with something else than an object
    no_choices: int = 0  # … are answered, and paid, without choices
    no_usage: int = 0  # … do not say what they used
    cut: int = 0  # so many downloads break off half-way
    hidden_lists: int = 0  # so many lists do not show the newest batch yet


class BatchServer(stub_server.Server):
    """Holds files and batches; a batch is worked on when it is asked for."""

    faults: BatchFaults

    def __init__(self, faults: BatchFaults) -> None:
        super().__init__(faults)
        self._begin()

    def _begin(self) -> None:
        self._files: dict[str, bytes] = {}
        self._batches: dict[str, dict[str, Any]] = {}
        self._paid: dict[str, int] = {}  # custom_id → how often it was answered

    def app(self) -> web.Application:
        app = super().app()
        app.middlewares.append(self._gate)
        app.router.add_post("/reset", self._reset)
        app.router.add_post("/v1/files", self._upload)
        app.router.add_get("/v1/files/{name}/content", self._content)
        app.router.add_post("/v1/batches", self._create)
        app.router.add_get("/v1/batches", self._list)
        app.router.add_get("/v1/batches/{name}", self._retrieve)
        return app

    def stats(self) -> dict[str, Any]:
        return {
            "batches": len(self._batches), "files": len(self._files), "paid": self._paid, "hits": dict(self.counts),
        }  # fmt: skip

    def _use(self, fault: str) -> int:
        """Use one of a fault's times up; 0 if there are none left."""
        left = int(getattr(self.faults, fault))
        setattr(self.faults, fault, max(0, left - 1))
        return left

    @web.middleware
    async def _gate(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.path.startswith("/v1/"):
            self.counts[f"{request.method} {request.path.split('/')[2]}"] += 1
            if (given := request.headers.get("Authorization", "")) != f"Bearer {KEY}":
                return error(401, f"Incorrect API key provided: {given.removeprefix('Bearer ')}", "invalid_api_key")
            if self.faults.no_batches:
                return error(404, "Not Found", "not_found")
            if self._use("fail"):
                return error(500, "The server had an error.", "server_error")
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _reset(self, request: web.Request) -> web.Response:
        self.faults = BatchFaults()
        self.counts.clear()
        self._begin()
        return web.json_response({})

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        file = form["file"]
        assert isinstance(file, web.FileField) and form["purpose"] == "batch"
        name = f"file-{len(self._files)}"
        self._files[name] = file.file.read()
        shown = {"id": name, "object": "file", "bytes": len(self._files[name]), "created_at": 1, "filename": "f"}
        return web.json_response({**shown, "purpose": "batch", "status": "processed"})

    async def _content(self, request: web.Request) -> web.StreamResponse:
        data = self._files[request.match_info["name"]]
        if not self._use("cut"):
            return web.Response(body=data)
        response = web.StreamResponse(headers={"Content-Length": str(len(data))})
        await response.prepare(request)
        await response.write(data[: len(data) // 2])
        assert request.transport is not None
        request.transport.abort()
        return response

    async def _create(self, request: web.Request) -> web.Response:
        asked = await request.json()
        assert asked["endpoint"] == "/v1/chat/completions" and asked["completion_window"] == "24h"
        lines = [json.loads(line) for line in self._files[asked["input_file_id"]].splitlines()]
        assert len({line["custom_id"] for line in lines}) == len(lines)
        name = f"batch_{len(self._batches)}"
        batch = {
            "id": name, "object": "batch", "endpoint": asked["endpoint"], "completion_window": "24h", "errors": None,
            "created_at": int(time.time()), "input_file_id": asked["input_file_id"], "status": "validating",
            "metadata": asked["metadata"], "output_file_id": None, "error_file_id": None,
            "request_counts": {"total": len(lines), "completed": 0, "failed": 0}, "polled": 0,
        }  # fmt: skip
        self._batches[name] = batch
        if self._use("lose_create"):
            assert request.transport is not None
            request.transport.abort()
        return web.json_response(batch)

    async def _list(self, request: web.Request) -> web.Response:
        found = sorted(self._batches.values(), key=lambda batch: -int(batch["id"].split("_")[1]))
        found = found[1:] if self._use("hidden_lists") else found
        after = request.query.get("after")
        start = next((i + 1 for i, batch in enumerate(found) if after == batch["id"]), 0)
        data = found[start : start + 2]
        return web.json_response({"object": "list", "data": data, "has_more": len(found) > start + 2})

    async def _retrieve(self, request: web.Request) -> web.Response:
        batch = self._batches[request.match_info["name"]]
        batch["polled"] += 1
        if batch["status"] in ("validating", "in_progress"):
            self._work(batch)
        return web.json_response(batch)

    def _work(self, batch: dict[str, Any]) -> None:
        """Do a batch whose time has come."""
        if batch["polled"] < self.faults.polls:
            batch["status"] = "in_progress"
            return
        if self.faults.status:
            batch["status"], self.faults.status = self.faults.status, ""
            trouble = {"code": "internal_error", "message": "The batch was lost."}
            batch["errors"] = {"object": "list", "data": [trouble]}
            return
        lines = [json.loads(line) for line in self._files[batch["input_file_id"]].splitlines()]
        if self.faults.room and len(lines) > self.faults.room:
            words = "Enqueued token limit reached for stub-model. Limit: 90,000 enqueued tokens."
            batch["status"] = "failed"
            batch["errors"] = {"object": "list", "data": [{"code": "token_limit_exceeded", "message": words}]}
            return
        done, failed = [], []
        limit, self.faults.expire_after = self.faults.expire_after or len(lines), 0
        for number, line in enumerate(lines):
            if problem := self._problem(expired=number >= limit):
                failed.append({"id": "x", "custom_id": line["custom_id"], **problem})
            else:
                done.append(self._answer(line))
        batch["status"] = "expired" if limit < len(lines) else "completed"
        batch["request_counts"] = {"total": len(lines), "completed": len(done), "failed": len(failed)}
        for field, rows in (("output_file_id", done), ("error_file_id", failed)):
            if rows:
                batch[field] = f"file-{len(self._files)}"
                self._files[batch[field]] = "".join(json.dumps(row) + "\n" for row in rows).encode()

    def _problem(self, *, expired: bool) -> dict[str, Any] | None:
        """Why the next line gets no answer, None if it gets one."""
        if expired:
            words = "This request could not be executed before the completion window expired."
            return {"response": None, "error": {"code": "batch_expired", "message": words}}
        if self._use("string_errors"):
            return {"response": {"status_code": 500, "body": {"error": "internal server error"}}, "error": None}
        if self._use("odd_lines"):
            return {"response": "lost", "error": "batch_expired"}
        if code := 500 * bool(self._use("lines_failing")) or 400 * bool(self._use("lines_rejected")):
            name = "content_policy_violation" if code == 400 else "server_error"
            body = {"error": {"code": name, "message": "No."}}
            return {"response": {"status_code": code, "body": body}, "error": None}
        return None

    def _answer(self, line: dict[str, Any]) -> dict[str, Any]:
        name, asked = line["custom_id"], line["body"]
        self._paid[name] = self._paid.get(name, 0) + 1
        said, finish = json.dumps({"text": f"re: {asked['messages'][-1]['content'][:40]}"}), "stop"
        again = len(asked["messages"]) > 2  # a correction round
        if self.faults.content and not (again and self.faults.corrects):
            said, finish = self.faults.content, self.faults.finish
        body = mock.completion(asked, said)
        body["choices"][0]["finish_reason"] = finish
        body["usage"] = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS}
        if self._use("no_usage"):
            del body["usage"]
        if self._use("no_choices"):
            del body["choices"]
        response = {"status_code": 200, "request_id": "r", "body": body}
        return {"id": "x", "custom_id": name, "response": response, "error": None}


class BatchStub(stub_server.Stub):
    """The server in a process of its own, which outlives whoever asks it."""

    program = Path(__file__)

    def reset(self) -> None:
        """Be as one just started: that takes a second, and tests are many."""
        urllib.request.urlopen(f"{self.address}/reset", b"").close()


if __name__ == "__main__":
    stub_server.main(lambda faults, log, seed: BatchServer(BatchFaults(**faults)))
