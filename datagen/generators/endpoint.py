"""Any model behind a server with OpenAI's `/images/generations`: `endpoint:NAME` or `endpoint:NAME?quality=low`.

Server and key come from the environment (DATAGEN_IMAGES_*, `datagen.llm.pictures`); what stands behind the question
mark goes into each call as it is. What the server cannot be held to stands in the row: which parts of a request it was
not told, whether one seed gives one picture, and its pictures' true size. Such a picture cannot be drawn again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import re
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from datagen.errors import EndpointError, ModelError
from datagen.generators.protocol import Bill, ContentError, Means, Request
from datagen.images.decode import Unreadable, decode
from datagen.images.kinds import HEAD, kind_of
from datagen.llm import LlmOptions
from datagen.llm.pictures import access
from datagen.llm.pictures.messages import Drawing, Drawn
from datagen.llm.pictures.spellings import OURS
from datagen.models import Missing, Needs

if TYPE_CHECKING:
    from PIL import Image

FICKLE = "the server draws another picture when given the same seed"
PROBE = Drawing("a chair", "", 0, 1, 1.0, 8, 8, stage="probe")
_PARAMETER = re.compile(r"[A-Za-z_]\w{0,63}")


class Endpoint:
    """A model that a server draws with, while it is connected to it."""

    revision = ""
    draws_again = False  # the same picture, whatever is sent

    def __init__(self, model: str, parameters: dict[str, Any], unheard: tuple[str, ...] = ()) -> None:
        query = "&".join(f"{name}={_written(value)}" for name, value in parameters.items())
        shown = access.named(model)[0]
        self.name = f"endpoint:{shown}{'?' if query else ''}{query}"
        self.server = Server(model, parameters)
        self._unheard = unheard  # settings of the profile that no server is told
        self._keeps_seeds: bool | None = None  # not known yet
        self._means: dict[Request, Means] = {}

    def means(self, request: Request) -> Means:
        """What the server said of the picture of a request that was just drawn, and what it was not told."""
        return self._means.pop(request, Means(software="endpoint"))

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[int, Image.Image | ContentError]]:
        """All at once, as they come; until it is known what the server makes of a seed, one by one."""
        drawings = [
            Drawing(
                request.text, request.negative, request.seed, request.steps, request.guidance,
                request.width, request.height,
            )
            for request in requests
        ]  # fmt: skip
        first = 0
        while first < len(drawings) and self._keeps_seeds is None:
            ((_, drawn),) = self.server.draw(drawings[first : first + 1])
            if drawn.error is None:
                self._keeps_seeds = "seed" not in drawn.told or self._is_same(drawings[first])
            yield first, self._picture(requests[first], drawn)
            first += 1
        for place, drawn in self.server.draw(drawings[first:]) if first < len(drawings) else ():
            yield first + place, self._picture(requests[first + place], drawn)

    def _is_same(self, like: Drawing) -> bool:
        """Whether two pictures of one seed are equal; not, if one does not come. They are bought once for all runs."""
        probe = dataclasses.replace(
            PROBE, steps=like.steps, guidance=like.guidance, width=like.width, height=like.height
        )
        pair = dict(self.server.draw([probe, dataclasses.replace(probe, sample=1)]))
        one, other = (pair[place].picture for place in range(2))
        return one is not None and other is not None and decode(one).tobytes() == decode(other).tobytes()

    def _picture(self, request: Request, drawn: Drawn) -> Image.Image | ContentError:
        if drawn.picture is None:
            return ContentError(drawn.error or "unreadable: no picture came")
        try:
            picture = decode(drawn.picture)
        except Unreadable as error:
            return ContentError(f"unreadable: {error}")
        if not picture.getbbox():
            return ContentError("refused: the server gave an all black picture, as some do for what they filter")
        of = [f"endpoint, {kind_of(drawn.picture[:HEAD])}"]
        of += [f"model {drawn.model}"] if drawn.model else []
        of += [f"request {drawn.request_id}"] if drawn.request_id else []
        notes = "; ".join(note.replace(";", ",") for note in self._notes(request, drawn, picture.size))
        self._means[request] = Means(software=", ".join(of), notes=notes)
        return picture

    def _notes(self, request: Request, drawn: Drawn, size: tuple[int, int]) -> Iterator[str]:
        if drawn.untold:
            yield f"the server takes no {', '.join(drawn.untold)}"
        if "seed" in drawn.told and not self._keeps_seeds:
            yield FICKLE
        if heard := [part for part in drawn.told if part not in ("size", "seed")]:
            yield f"the server was told {', '.join(heard)}, and nothing shows whether it heeds them"
        if self._unheard:
            yield f"the server's own {' and '.join(self._unheard)}"
        if size != (request.width, request.height):
            asked = self.server.parameters.get("size", f"{request.width}x{request.height}")
            yield f"drawn in {size[0]}x{size[1]} pixels where {asked} was asked for"
        if drawn.further:
            yield f"{drawn.further} more came than the one that was asked for, and were left out"


class Server:
    """Has a model draw while it is connected; `datagen.llm.pictures.access` says how."""

    def __init__(self, model: str, parameters: dict[str, Any]) -> None:
        self.model, self.parameters = model, parameters
        self._draw: access.Draw | None = None

    @contextlib.contextmanager
    def connected(self, llm: LlmOptions) -> Iterator[None]:
        """Open the client; EndpointError if the environment names no server that can be asked."""
        with access.connect(self.model, llm, self.parameters) as self._draw:
            try:
                yield
            finally:
                self._draw = None

    def draw(self, drawings: Sequence[Drawing]) -> Iterator[tuple[int, Drawn]]:
        """(index, what came) as it comes."""
        if self._draw is None:
            raise ModelError("an image server was asked outside of a run: it is not connected")
        return self._draw(drawings)


def load(model: str, revision: str, scheduler: str, precision: str = "auto") -> Endpoint:
    """The model of that name on the server that the environment names; nothing is asked yet."""
    name, parameters = _parsed(model)
    if revision:
        raise ModelError(f"endpoint:{model} has no revision of ours: leave out {revision!r}")
    _refuse(name, parameters)
    unheard = (("scheduler",) if scheduler != "model" else ()) + (("precision",) if precision != "auto" else ())
    return Endpoint(name, parameters, unheard)


def missing(model: str, revision: str) -> Missing | None:
    """Why the server cannot be asked, as far as the environment tells; it is not contacted."""
    try:
        _refuse(*_parsed(model))
    except ModelError as error:
        return Missing(str(error))
    return None


def needs(model: str, revision: str) -> Needs | None:
    """Not known: what it was made for, and under which licence its pictures stand, is the server's affair."""
    return None


def bill(model: str, width: int, height: int) -> Bill:
    """What a picture costs by the price tables."""
    name, parameters = _parsed(model)
    _, price = access.named(name)
    if price is None or price.picture is None:
        return Bill(None)
    size = str(parameters.get("size", f"{width}x{height}"))
    return Bill(price.question("") + price.drawn(str(parameters.get("quality", "")), size))


def _refuse(name: str, parameters: dict[str, Any]) -> None:
    try:
        access.endpoint(name, parameters)
    except EndpointError as error:
        raise ModelError(str(error)) from error


@functools.cache
def _parsed(model: str) -> tuple[str, dict[str, Any]]:
    """The name before the question mark, and the parameters behind it, each JSON or a text. ModelError."""
    name, mark, query = model.partition("?")
    parameters: dict[str, Any] = {}
    for pair in query.split("&") if mark else []:
        key, sign, text = pair.partition("=")
        value = urllib.parse.unquote(text)
        if not (sign and value and _PARAMETER.fullmatch(key)) or key in parameters:
            raise ModelError(f"endpoint:{model}: {pair!r} is no parameter: endpoint:NAME?quality=low&size=1536x1024")
        if key in OURS:
            raise ModelError(f"endpoint:{model}: {key} may not stand here, as the recipe or the client decides it")
        parameters[key] = _value(value)
    return name.strip(), parameters


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return text
    return value


def _written(value: Any) -> str:
    """A parameter's value as it may stand in a name; a text that JSON would read as something else in quotes."""
    text = value if isinstance(value, str) and _value(value) == value else json.dumps(value)
    return urllib.parse.quote(text, safe="/:,{}[]\"' .")
