"""What is asked of a server that draws and what comes back, as plain frozen values."""

from __future__ import annotations

import dataclasses

from datagen.llm.messages import Usage

STAGE = "images"


@dataclasses.dataclass(frozen=True)
class Drawing:
    """One picture to draw, of `width` × `height` pixels. It holds all that decides it, but for the model.

    `sample` distinguishes repetitions of one seed; `stage` is for the accounts.
    """

    text: str
    negative: str
    seed: int
    steps: int
    guidance: float
    width: int
    height: int
    sample: int = 0
    stage: str = STAGE

    @property
    def size(self) -> str:
        """As OpenAI writes it."""
        return f"{self.width}x{self.height}"


@dataclasses.dataclass(frozen=True)
class Drawn:
    """What came back: an encoded `picture` that can be decoded, or `error` and none.

    An error begins with "refused: " or "unreadable: ". `untold` are the parts of the drawing that the server was not
    told since it does not take them, `told` those that it was; `further` counts the pictures that nobody asked for.
    `usage` is what this call cost now: nothing if `cached`.
    """

    picture: bytes | None = None
    model: str = ""
    request_id: str = ""
    usage: Usage = Usage()
    cached: bool = False
    error: str | None = None
    told: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()
    further: int = 0
