"""What a token or a picture costs, and the most that a request can cost.

Prices come from prompts/prices.toml, each with its source and date; a user's own table ($DATAGEN_PRICES) takes
precedence. Servers on this machine cost nothing unless the user's table says otherwise. A model without a price is
None here, never a guess.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from datagen.errors import UserError
from datagen.llm.accounts import told
from datagen.llm.messages import Request, Usage
from datagen.llm.providers import is_here
from datagen.llm.typed.schemas import in_words, schema_of
from datagen.recipe import PROMPTS

HOW_TO_PRICE = 'set DATAGEN_PRICES to a TOML file with [models."NAME"] input = 0.25, output = 2.0 (dollars a million)'
HOW_TO_PRICE_PICTURES = 'set DATAGEN_PRICES to a TOML file with [models."NAME"] picture = 0.04 (dollars for one)'

# No byte-level BPE makes more tokens of a text than it has UTF-8 bytes. Around it a server writes roles, separators
# and its own words about a schema or an image.
MESSAGE_TOKENS = 32
REQUEST_TOKENS = 1024


_Dollars = Annotated[float, Field(ge=0)]


class Price(BaseModel):
    """Dollars for a million tokens. `batch` is the share of it that the Batch API takes.

    `image_tokens` is the most that one image can count, whatever its size; the default is the most of any model whose
    rule is published (GPT-4o mini: 2,833 and eight tiles of 5,667). `cached` is the price of input that the server
    had read before; the full one where it is not given.

    `picture` is for models that draw: dollars for one picture, or a table of them by quality, size, or both ("low",
    "1024x1536", "high 1024x1536"). Where tokens have a price as well, it is the most that a picture's tokens come to.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    picture: _Dollars | Annotated[dict[str, _Dollars], Field(min_length=1)] | None = None
    cached: float | None = Field(default=None, ge=0)
    batch: float = Field(default=1.0, ge=0, le=1)
    image_tokens: int = Field(default=48_169, ge=0)
    source: str = ""
    date: datetime.date | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_pictures(cls, values: Any) -> Any:
        """Tokens cost nothing where only pictures have a price."""
        return {"input": 0.0, "output": 0.0, **values} if isinstance(values, dict) and "picture" in values else values

    def cost(self, input_tokens: int, output_tokens: int, batch: bool = False, cached: int = 0) -> float:
        """Dollars for that many tokens, of whose input `cached` were cached, which a batch takes no notice of."""
        less = 0.0 if self.cached is None or batch else cached * (self.input - self.cached)
        full = (input_tokens * self.input - less + output_tokens * self.output) / 1e6
        return full * self.batch if batch else full

    def most(self, request: Request, batch: bool = False) -> float:
        """The dollars that a request can cost at most; a correction round is a request of its own."""
        tokens = sum(MESSAGE_TOKENS + _bytes(message.text) for message in request.messages)
        tokens += self.image_tokens * sum(len(message.images) for message in request.messages)
        if request.reply is not None:
            tokens += _schema_bytes(request.reply)
        return self.cost(REQUEST_TOKENS + tokens, request.max_tokens, batch)

    def question(self, *texts: str) -> float:
        """The dollars that a picture's texts can cost at most."""
        return self.cost(REQUEST_TOKENS + sum(MESSAGE_TOKENS + _bytes(text) for text in texts), 0)

    def drawn(self, quality: str, size: str) -> float:
        """The dollars that a picture can cost at most; "" for what was not asked, and left to the server. 0: unknown.

        Of a table those prices count that nothing asked contradicts, all of it if none is left.
        """
        if not isinstance(self.picture, dict):
            return self.picture or 0.0
        open_ = {"", "auto"}

        def fits(name: str) -> bool:
            asked = [size if _SIZE.fullmatch(word) else quality for word in name.split()]
            return all(one in open_ or one == word for one, word in zip(asked, name.split(), strict=True))

        return max([cost for name, cost in self.picture.items() if fits(name)] or self.picture.values())


_SIZE = re.compile(r"\d+x\d+")
FREE = Price(input=0, output=0, picture=0, source="a server on this machine")


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


@functools.lru_cache(maxsize=256)
def _schema_bytes(reply: type[BaseModel]) -> int:
    """Of a type as a server is given it: in response_format, or in words; not both, but which is not known here."""
    return len(json.dumps(schema_of(reply))) + _bytes(in_words(reply))


@dataclasses.dataclass(frozen=True)
class Prices:
    """Model → price, for one server."""

    published: dict[str, Price]
    given: dict[str, Price]  # by the user; these hold on any server
    free: bool = False  # the server is on this machine

    @classmethod
    def load(cls, override: Path | None = None, base_url: str = "") -> Prices:
        """The published table and the user's: `override`, else $DATAGEN_PRICES. UserError if one cannot be read."""
        if override is None and (named := os.environ.get("DATAGEN_PRICES")):
            override = Path(named).expanduser()
        given = {} if override is None else _read(override)
        return cls(_read(PROMPTS / "prices.toml"), given, is_here(base_url))

    def of(self, model: str) -> Price | None:
        """The price of a model or of one of its dated snapshots ("gpt-4.1-2025-04-14"); None if it is not known."""
        undated = re.sub(r"-\d{4}-\d{2}-\d{2}$", "", model)
        for name in (model, undated):
            if name in self.given:
                return self.given[name]
        if self.free:
            return FREE
        return self.published.get(model, self.published.get(undated))

    def usage(self, model: str, completion: Any, batch: bool = False) -> Usage | None:
        """What an answer says that it used, with its cost (0 without a price); None if it does not say.

        A cost that the server tells is taken, unless it is 0 where the table has a price.
        """
        counted = told.tokens(completion)
        if counted is None:
            return None
        price, cost = self.of(model), told.cost(completion)
        if price is not None and not cost:
            cost = price.cost(counted.input, counted.output, batch, counted.cached)
        return Usage(counted.input, counted.output, cost or 0.0)


def _read(path: Path) -> dict[str, Price]:
    """The [models."NAME"] tables of a price file."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UserError(f"the price table {path} cannot be read ({error}): {HOW_TO_PRICE}") from error
    models = table.get("models")
    if not isinstance(models, dict) or set(table) != {"models"}:
        raise UserError(f"the price table {path} needs [models.…] tables and nothing else: {HOW_TO_PRICE}")
    prices = {}
    for name, values in models.items():
        try:
            prices[name] = Price.model_validate(values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise UserError(
                f'the price table {path}, [models."{name}"] {where}: {first["msg"]}; {HOW_TO_PRICE}'
            ) from error
    return prices
