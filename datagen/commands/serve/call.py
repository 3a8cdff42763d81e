"""One call of `datagen serve`: judges are loaded and tried first, and only then is there anything to connect to."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from datagen.errors import InputError, ModelError, one_line
from datagen.judges import Judge, panel
from datagen.judges.panel import Question
from datagen.llm import LlmOptions
from datagen.recipe import JudgeChoice

if TYPE_CHECKING:
    from aiohttp import web

LOOPBACK = "127.0.0.1"  # alone: who can ask judges can have the machine decode what he likes


@dataclasses.dataclass(frozen=True)
class Options:
    """Where to listen (port 0: any that is free), and the folder and the limit of what judges of a server spend."""

    port: int = 8080
    out: Path | None = None
    max_cost: float | None = None


def serve(choices: Sequence[JudgeChoice], options: Options, say: Callable[[str], None]) -> None:
    """Answer until SIGINT or SIGTERM, and then what was asked before it.

    Raises ModelError for judges that cannot score single images, InputError for a port that is taken.
    """
    judges = panel.load(choices)
    for judge in judges:
        if not hasattr(judge, "score"):
            raise ModelError(f"the judge {judge.name} scores no image by itself: name another")
    if panel.servers(judges) and options.out is None:
        raise InputError("these judges ask a server: give --out, the folder that keeps what they spend")
    with panel.connected(judges, LlmOptions(options.out or Path(), options.max_cost, say=say)):
        for judge in judges:
            _try(judge, say)
        from datagen.commands.serve.app import application  # here, as the command line needs no web server

        asyncio.run(_listen(application(judges), options.port, say))


def _try(judge: Judge, say: Callable[[str], None]) -> None:
    """Have a judge load its networks, so that the first client need not wait; ModelError if it cannot judge here."""
    if panel.servers([judge]):
        return  # each answer is paid for
    from PIL import Image

    say(f"{judge.name}: loading")
    try:
        (answer,) = panel.ask([judge], [Question(Image.new("RGB", (64, 64), "gray"), ("a gray square",))])
    except ModelError:
        raise
    except Exception as error:  # whatever its own code raises
        raise ModelError(f"the judge {judge.name} fails: {type(error).__name__}: {one_line(error)}") from error
    if (why := answer.error_of(judge.name)) is not None:
        raise ModelError(f"the judge {judge.name} cannot judge a gray square: {why}")


async def _listen(app: web.Application, port: int, say: Callable[[str], None]) -> None:
    from aiohttp import web

    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, LOOPBACK, port).start()
        except OSError as error:
            raise InputError(
                f"cannot listen on {LOOPBACK}:{port} ({error.strerror or error}): give another --port, or 0 for any"
            ) from error
        say(f"serving on http://{runner.addresses[0][0]}:{runner.addresses[0][1]}")
        await ended.wait()
        say("ending: what was asked is answered first")
    finally:
        with contextlib.suppress(OSError):
            await runner.cleanup()
