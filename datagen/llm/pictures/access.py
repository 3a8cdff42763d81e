"""From the environment (DATAGEN_IMAGES_*) to a function that has pictures drawn, on the accounts of one run."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from datagen.errors import EndpointError, UserError
from datagen.llm import LEDGER, LlmOptions, environment
from datagen.llm.endpoint import Endpoint
from datagen.llm.pictures.messages import Drawing, Drawn

if TYPE_CHECKING:
    from datagen.llm.accounts.prices import Price

IMAGES = "DATAGEN_IMAGES"
# A picture takes a server far longer than a text, and more of them at once only wait there.
DEFAULTS = Endpoint("", "gpt-image-1", concurrency=32, timeout=300.0)

Draw = Callable[[Sequence[Drawing]], Iterator[tuple[int, Drawn]]]  # (index, what came), as it comes


def endpoint(model: str, parameters: Mapping[str, Any] | None = None) -> Endpoint:
    """The server that the environment names, and the model to ask there; EndpointError if it cannot be asked."""
    found = environment.from_environment(model, IMAGES, DEFAULTS)
    if not found.base_url.startswith(("http://", "https://")):
        raise EndpointError(
            f"{IMAGES}_BASE_URL (or OPENAI_BASE_URL) is {found.address!r}, which draws nothing: accepted is "
            "http(s)://host:port/v1"
        )
    return dataclasses.replace(found, parameters=dict(parameters or {}))


def named(model: str) -> tuple[str, Price | None]:
    """The model that would be asked, and its price on the server that the environment names; nothing is checked."""
    from datagen.llm.accounts.prices import Prices

    address, name = environment.named(model, IMAGES)
    return name, Prices.load(base_url=address).of(name)


@contextlib.contextmanager
def connect(model: str, options: LlmOptions, parameters: Mapping[str, Any] | None = None) -> Iterator[Draw]:
    """Has the model draw while it is open; EndpointError if the environment names no server that can be asked."""
    from datagen.llm.accounts.cache import Cache, default_path
    from datagen.llm.accounts.money import Budget, Ledger, Prices
    from datagen.llm.accounts.prices import HOW_TO_PRICE_PICTURES
    from datagen.llm.client import Connection
    from datagen.llm.pictures.kept import Kept, default_folder
    from datagen.llm.pictures.service import Drawer
    from datagen.llm.pictures.transport import PictureTransport

    asked, kept = endpoint(model, parameters), Kept(default_folder())
    with (
        contextlib.closing(Cache(default_path())) as cache,
        contextlib.closing(Ledger(options.folder / LEDGER)) as ledger,
    ):
        budget = None
        if options.max_cost is not None:
            prices = Prices.load(base_url=asked.base_url)
            priced = prices.of(asked.model)
            if priced is None or priced.picture is None:
                raise UserError(
                    f"--max-cost needs what a picture by {asked.model!r} costs, and no price table has it: "
                    f"{HOW_TO_PRICE_PICTURES}"
                )
            budget = Budget(ledger, prices, asked.model, options.max_cost)
        with Connection(
            lambda served, say: Drawer(served, say, kept),
            lambda served: PictureTransport(served, kept),
            asked, cache, ledger, budget, options.say,
        ) as connection:  # fmt: skip
            yield connection.stream
