"""The page of a review on loopback. Who does not know the token in the address sees nothing; nor does another site.

Only 127.0.0.1 is listened on. Host and Origin are checked, so that no other page in the same browser can ask or answer
by a name that leads here. The page loads nothing from anywhere else.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from datagen.errors import DatagenError, InputError, one_line
from datagen.review import page, pictures
from datagen.review.outcome import Outcome
from datagen.review.session import Session

HOST = "127.0.0.1"
MOST = 10_000  # bytes of a request
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """A session as a web application; `finish` makes of its answers what they come to."""

    def __init__(self, session: Session, name: str, finish: Callable[[], Outcome]) -> None:
        self.token = secrets.token_urlsafe(24)
        self._session, self._finish = session, finish
        self._page = page.render(name)
        self._outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._busy = asyncio.Lock()  # one thing after the other; what it does is done in a thread
        self._closing = False
        self.address = ""

    async def serve(self, port: int, ready: Callable[[str], None]) -> Outcome:
        """Listen on a port, any free one for 0, until the review is finished; `ready` is told the address."""
        app = web.Application(middlewares=[self._guard], client_max_size=MOST)
        base = "/{token}"
        app.add_routes(
            [
                web.get(base + "/", self._show),
                web.get(base + "/state", self._state),
                web.get(base + "/picture/{pair}/{side:left|right}", self._picture),
                web.post(base + "/answer", self._answer),
                web.post(base + "/undo", self._undo),
                web.post(base + "/finish", self._end),
            ]
        )
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=5)
        await runner.setup()
        try:
            try:
                site = web.TCPSite(runner, HOST, port)
                await site.start()
            except OSError as error:
                why = f"port {port} of {HOST} cannot be had ({os.strerror(error.errno or 0)})"
                raise InputError(f"{why}: give another --port, or none") from error
            where = runner.addresses[0]
            self.address = f"http://{where[0]}:{where[1]}"
            ready(f"{self.address}/{self.token}/")
            return await self._outcome
        finally:
            await runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse who should not ask; whatever goes wrong is one line of JSON."""
        if why := self._refused(request):
            return _answered({"error": why}, 403)
        try:
            response = await handler(request)
        except web.HTTPException as error:
            return _answered({"error": error.reason}, error.status)
        except DatagenError as error:
            return _answered({"error": " ".join(str(error).split())}, 409)
        except Exception as error:  # of a library: said on the page, and the review goes on
            return _answered({"error": f"this failed: {one_line(error)}"}, 500)
        response.headers.update(page.HEADERS)
        return response

    def _refused(self, request: web.Request) -> str:
        """Why a request is not answered; "" if it is."""
        port = self.address.rpartition(":")[2]
        hosts = {f"{name}:{port}" for name in (HOST, "localhost")} | ({HOST, "localhost"} if port == "80" else set())
        origins = {f"http://{host}" for host in hosts}
        if request.headers.get("Host") not in hosts:
            return "this is not the address that datagen review printed"
        if request.headers.get("Origin", next(iter(origins))) not in origins:
            return "another site asks"
        given, rest = (*request.path.split("/", 2)[1:], "", "")[:2]
        # Whoever follows a link to the page itself, from a terminal in a browser as well, only opens it.
        follows = not rest and request.headers.get("Sec-Fetch-Mode") == "navigate"
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin") and not follows:
            return "another site asks"
        if not hmac.compare_digest(given.encode(), self.token.encode()):
            return "open the address that datagen review printed: it ends with a token"
        return ""

    async def _show(self, request: web.Request) -> web.Response:
        return web.Response(text=self._page.text, content_type="text/html", headers={page.POLICY: self._page.policy})

    async def _state(self, request: web.Request) -> web.Response:
        return await self._told(lambda: None)

    async def _answer(self, request: web.Request) -> web.Response:
        given = await _json(request)
        self._refuse_closing()
        return await self._told(lambda: self._session.answer(str(given.get("pair")), str(given.get("answer"))))

    async def _undo(self, request: web.Request) -> web.Response:
        await _json(request)
        self._refuse_closing()
        return await self._told(self._session.undo)

    def _refuse_closing(self) -> None:
        if self._closing:
            raise InputError("the review is being finished")

    async def _told(self, act: Callable[[], None]) -> web.Response:
        """Do something, and tell how things stand then."""

        def work() -> dict[str, Any]:
            act()
            return self._session.state()

        async with self._busy:
            return _answered(await asyncio.to_thread(work))

    async def _picture(self, request: web.Request) -> web.Response:
        pair = self._session.pairs.get(request.match_info["pair"])
        if pair is None:
            raise web.HTTPNotFound
        async with self._busy:
            left, right = await asyncio.to_thread(self._session.pictures, pair)
        shown = left if request.match_info["side"] == "left" else right
        if shown.error:
            return web.Response(status=204)
        return web.Response(body=shown.data, content_type=pictures.TYPE)

    async def _end(self, request: web.Request) -> web.StreamResponse:
        """Finish, answer with the outcome, and let the server end once that is sent."""
        await _json(request)
        self._refuse_closing()
        async with self._busy:
            self._closing = True
            try:
                outcome = await asyncio.to_thread(self._finish)
            except BaseException:
                self._closing = False
                raise
        response = _answered(outcome.told())
        response.headers.update(page.HEADERS)
        await response.prepare(request)
        await response.write_eof()
        if not self._outcome.done():
            self._outcome.set_result(outcome)
        return response


def _answered(told: dict[str, Any], status: int = 200) -> web.Response:
    return web.json_response(told, status=status, headers=page.HEADERS)


async def _json(request: web.Request) -> dict[str, Any]:
    """What was sent; InputError for anything but an object of JSON, sent as such."""
    if request.content_type != "application/json":
        raise InputError("send JSON")
    try:
        given = await request.json()
    except ValueError as error:
        raise InputError(f"this is no JSON: {one_line(error)}") from error
    if not isinstance(given, dict):
        raise InputError("send an object of JSON")
    return given
