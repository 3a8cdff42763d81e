"""The routes of the service: /score, /health, /rewards and /metrics, JSON but for the last, which Prometheus reads."""

from __future__ import annotations

import asyncio
import bisect
import collections
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from aiohttp import web
from aiohttp.typedefs import Middleware

from datagen.commands.serve import wire
from datagen.commands.serve.batches import Batches, Full
from datagen.errors import one_line
from datagen.judges import Judge

MOST_BYTES = 256 << 20  # of a body
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # upper bounds of the histogram
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Counters:
    """What /metrics tells."""

    def __init__(self) -> None:
        self.replies = collections.Counter[int]()  # by HTTP status
        self.scores = collections.Counter[str]()  # by judge
        self.errors = collections.Counter[str]()
        self.batches = self.batched = 0
        self.seconds = [0] * (len(SECONDS) + 1)
        self.total_s = 0.0

    def batch(self, size: int) -> None:
        """Count a batch."""
        self.batches += 1
        self.batched += size

    def took(self, seconds: float) -> None:
        """Count a request that was scored."""
        self.seconds[bisect.bisect_left(SECONDS, seconds)] += 1
        self.total_s += seconds

    def text(self, waiting: int) -> str:
        """All of it, as Prometheus reads it."""
        lines = ["# TYPE datagen_replies_total counter"]
        lines += [f'datagen_replies_total{{status="{status}"}} {n}' for status, n in sorted(self.replies.items())]
        for kind, counts in (("scores", self.scores), ("errors", self.errors)):
            lines.append(f"# TYPE datagen_{kind}_total counter")
            lines += [f'datagen_{kind}_total{{judge="{name}"}} {n}' for name, n in sorted(counts.items())]
        lines += ["# TYPE datagen_batches_total counter", f"datagen_batches_total {self.batches}"]
        lines += ["# TYPE datagen_batched_images_total counter", f"datagen_batched_images_total {self.batched}"]
        lines += ["# TYPE datagen_waiting_images gauge", f"datagen_waiting_images {waiting}"]
        lines.append("# TYPE datagen_score_seconds histogram")
        under = 0
        for bound, count in zip((*map(str, SECONDS), "+Inf"), self.seconds, strict=True):
            under += count
            lines.append(f'datagen_score_seconds_bucket{{le="{bound}"}} {under}')
        lines += [f"datagen_score_seconds_sum {self.total_s:.6f}", f"datagen_score_seconds_count {under}"]
        return "\n".join(lines) + "\n"


def application(judges: Sequence[Judge]) -> web.Application:
    """The service of some judges, which are loaded."""
    counters, names = Counters(), [judge.name for judge in judges]
    batches = Batches(judges, told=counters.batch)

    async def score(request: web.Request) -> web.Response:
        if request.content_type != "application/json":
            return _refused(415, "send JSON, with the header Content-Type: application/json")
        begun = time.perf_counter()
        try:
            items = wire.read(await request.read(), names)
            said = await batches.score(items)
        except wire.Malformed as error:
            return _refused(400, str(error))
        except Full:
            return _refused(503, f"{batches.waiting} images wait already: send this again later", {"Retry-After": "1"})
        for item, answer in zip(items, said, strict=True):
            for name in item.judges:
                (counters.errors if isinstance(answer[name], str) else counters.scores)[name] += 1
        counters.took(time.perf_counter() - begun)
        return web.Response(body=wire.answered(items, said, judges), content_type="application/json")

    async def health(request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "rewards": {name: ["ready"] for name in names}})

    async def rewards(request: web.Request) -> web.Response:
        return web.json_response({"rewards": names})

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(text=counters.text(batches.waiting))

    async def judging(app: web.Application) -> AsyncIterator[None]:
        work = asyncio.create_task(batches.run())
        yield
        work.cancel()
        batches.close()

    app = web.Application(client_max_size=MOST_BYTES, middlewares=[_counted(counters)])
    app.cleanup_ctx.append(judging)
    app.add_routes([web.post("/score", score), web.get("/health", health)])
    app.add_routes([web.get("/rewards", rewards), web.get("/metrics", metrics)])
    return app


def _refused(status: int, why: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status, body=json.dumps({"error": why}).encode(), content_type="application/json", headers=headers
    )


def _counted(counters: Counters) -> Middleware:
    """Counts replies, and words what aiohttp itself refuses as the rest is worded."""

    @web.middleware
    async def counted(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            reply = await handler(request)
        except web.HTTPException as error:
            there = "there are /score (POST), /health, /rewards and /metrics"
            large = f"a body has at most {MOST_BYTES >> 20} MiB"
            why = large if error.status == 413 else f"{error.reason}: {there}"
            reply = _refused(error.status, why)
        except Exception as error:  # a fault of ours; its client sees that there are no scores, and the others go on
            reply = _refused(500, f"{type(error).__name__}: {one_line(error)}")
        counters.replies[reply.status] += 1
        return reply

    return counted
