"""A vision-language model behind an OpenAI-compatible server, as judges ask it: images, templates, read answers.

The server is the one that the environment names, and its calls are on the run's account like a writer's. A judge that
asks one has an attribute `server`, which is connected before the judge is asked (`panel.connected`). What is read from
an answer is a probability; where the server gives no log-probabilities the text counts, which is said in `notes`.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from datagen.errors import ModelError
from datagen.judges import Failed, Options, distinct
from datagen.llm import LlmOptions
from datagen.llm.messages import Ask, Message, Reply, Request
from datagen.recipe import PROMPTS
from datagen.records import content_id
from datagen.text.templates import Template, problems_of

if TYPE_CHECKING:
    from PIL import Image

STAGE = "judge"
TOP = 20  # log-probabilities of one token, the most that OpenAI's and vLLM's servers give
JPEG_QUALITY = 95
LIKELY = 0.5
PATCH = 28  # pixels
UNSHADED = "the server gives no log-probabilities: answers are read from their text, without shades"
BOUNDED = "an answer of which only one side is listed: the other is taken to be as likely as it can be"


class ServerOptions(Options):
    """Which model is asked, and how images are sent. Server and key come from the environment, as a writer's do.

    `template` is a file in the place of the one in prompts/templates/judges. `parameters` go into the body of every
    call as they are: chat_template_kwargs.enable_thinking = false for a model that thinks.
    """

    model: str = ""  # "" takes DATAGEN_LLM_MODEL
    side: int = Field(default=1024, ge=32, le=8192)  # pixels of the longer side at most
    format: Literal["jpeg", "png"] = "jpeg"
    detail: Literal["", "low", "high", "auto"] = ""  # OpenAI's word for how closely images are looked at
    template: str = ""
    parameters: dict[str, Any] = {}

    def __hash__(self) -> int:
        return hash(self.model)  # options can be hashed, and parameters are a table


class Server:
    """Asks a model about images while it is connected. `notes` is what is to be said of its answers so far.

    For estimates: `calls` an image and text, and the tokens of an answer.
    """

    def __init__(self, options: ServerOptions, *, calls: int = 1, answer_tokens: int = 1) -> None:
        self._options, self.calls, self.answer_tokens = options, calls, answer_tokens
        self._ask: Ask | None = None
        self.notes: set[str] = set()

    @contextlib.contextmanager
    def connected(self, llm: LlmOptions) -> Iterator[None]:
        """Open the client; EndpointError if the environment names no server that can be asked."""
        from datagen.llm.access import connect

        with connect(self._options.model, llm, self._options.parameters, fallback=False) as self._ask:
            try:
                yield
            finally:
                self._ask = None

    def model(self) -> tuple[str, str]:
        """The base URL and the model that would be asked; "" for what the environment does not name."""
        from datagen.llm import environment

        return environment.named(self._options.model)

    def image_tokens(self, width: int, height: int) -> int:
        """About what one image counts: OpenAI's 85 at low detail, else a token for 28×28 pixels, as in Qwen2-VL."""
        if self._options.detail == "low":
            return 85
        scale = min(1.0, self._options.side / max(width, height))
        return math.ceil(width * scale / PATCH) * math.ceil(height * scale / PATCH)

    def identity(self, template: Template) -> str:
        """What decides its answers, for a judge's version."""
        return (
            f"{self.model()[1]}:{content_id(template.text, self._options.model_dump(exclude={'template', 'model'}))}"
        )

    def ask(
        self,
        images: Sequence[Sequence[Image.Image]],
        texts: Sequence[str],
        *,
        max_tokens: int = 1,
        logprobs: bool = True,
        reply: Any = None,
        sample: int = 0,
    ) -> list[Reply]:
        """One reply a text, about the images that go with it; each is encoded once."""
        if self._ask is None:
            raise ModelError("a judge that asks a server was asked outside of a run: it is not connected")
        unique, places = distinct(image for some in images for image in some)
        encoded = [_encoded(image, self._options.side, self._options.format) for image in unique]
        at = iter(places)
        requests = [
            Request(
                (Message("user", text, tuple(encoded[next(at)] for _ in some), self._options.detail if some else ""),),
                reply,
                STAGE,
                sample,
                temperature=0.0,
                max_tokens=max_tokens,
                top_logprobs=TOP if logprobs else 0,
            )
            for some, text in zip(images, texts, strict=True)
        ]
        return self._ask(requests)

    def choice(self, reply: Reply, options: Mapping[str, float]) -> float | Failed:
        """The mean of the options' values by their probabilities, where they are said.

        That is the first place of the answer at which they are likely, else where they are likeliest. Capitals, spaces
        and punctuation around an option do not matter, and its variants' probabilities add up.
        """
        if reply.error is not None:
            return Failed(reply.error)
        places = [(_found(place, options), _least(place)) for place in reply.logprobs if place]
        likely = (entry for entry in places if math.fsum(entry[0].values()) >= LIKELY)
        where = next(likely, max(places, key=lambda entry: math.fsum(entry[0].values()), default=None))
        if where is not None and where[0]:
            return self._mean(*where, options)
        if not reply.logprobs:
            self.notes.add(UNSHADED)
        words = [_plain(word) for word in re.split(r"[\s:{}]+", reply.text)]
        said = next((word for word in words if word in options), None)
        return (
            Failed(f"unreadable: none of {', '.join(options)}: {reply.text[:80]!r}") if said is None else options[said]
        )

    def _mean(self, found: dict[str, float], least: float, options: Mapping[str, float]) -> float:
        """Of two options of which one is not listed, that one is taken to be as likely as it can be."""
        if len(options) == 2 and len(found) == 1:
            self.notes.add(BOUNDED)
            found |= {name: least for name in options if name not in found}
        total = math.fsum(found.values())
        if total == 0:
            return math.fsum(options[name] for name in found) / len(found)
        return math.fsum(options[name] * p for name, p in found.items()) / total


class Asker:
    """A judge that asks a server by one template, whose version names both."""

    def __init__(self, ours: str, server: Server, template: Template) -> None:
        self._ours, self.server, self._template = ours, server, template

    @property
    def version(self) -> str:
        """Ours, the model's name and what it is asked with."""
        return f"{self._ours}:{self.server.identity(self._template)}"


def template(name: str, given: str, variables: frozenset[str] = frozenset({"prompt"})) -> Template:
    """The template of prompts/templates/judges, or the file that was given in its place. Raises ModelError."""
    path = Path(given).expanduser() if given else PROMPTS / "templates" / "judges" / f"{name}.md"
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"the template {path} cannot be read: {error}") from error
    if problems := problems_of(text, variables):
        raise ModelError(f"the template {path} {'; '.join(problems)}; write a dollar sign as $$")
    return Template(text.strip(), content_id(text))


def _found(place: Mapping[str, float], options: Mapping[str, float]) -> dict[str, float]:
    """The probabilities of the options at one place of an answer, those of their variants added up."""
    found: dict[str, float] = {}
    for token, value in place.items():
        if (name := _plain(token)) in options:
            found[name] = found.get(name, 0.0) + math.exp(value)
    return found


def _least(place: Mapping[str, float]) -> float:
    """The most that a token which is not listed can have: as much as the last that is, or what is left."""
    listed = [math.exp(value) for value in place.values()]
    return max(0.0, min(min(listed), 1 - math.fsum(listed)))


def _plain(token: str) -> str:
    """A token without what surrounds the word: spaces, also as tokenizers write them, and punctuation."""
    return re.sub(r"^[\W_ĠĊ▁]+|[\W_]+$", "", token).casefold()


def _encoded(image: Image.Image, side: int, format: str) -> bytes:
    """The image as a file, its longer side brought down to `side`."""
    picture = image
    if max(image.size) > side:
        picture = image.copy()
        picture.thumbnail((side, side))
    file = io.BytesIO()
    if format == "png":
        picture.save(file, "PNG")
    else:
        picture.save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()
