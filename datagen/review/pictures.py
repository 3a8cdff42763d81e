"""The two pictures of a pair as a browser gets them: decoded and encoded anew, without all else that a file holds."""

from __future__ import annotations

import dataclasses
import functools

from datagen import store
from datagen.images.decode import Unreadable, decode
from datagen.images.encode import encode
from datagen.review.journal import Planned

SIDE = 1536  # pixels of the longer side, beyond which a screen shows no more
KIND, TYPE = "webp", "image/webp"
GONE = "its image is no longer in the run"


@dataclasses.dataclass(frozen=True)
class Shown:
    """A picture as bytes, or why there is none."""

    data: bytes
    error: str = ""


class Pictures:
    """The pictures of a run, of which some are kept; `shards` says in which shard a prompt's images are."""

    def __init__(self, run: store.Run, shards: dict[str, int]) -> None:
        self._run, self._shards = run, shards
        self.both = functools.lru_cache(maxsize=8)(self._both)  # this pair, the next, and those just answered

    def _both(self, pair: Planned) -> tuple[Shown, Shown]:
        """Chosen and rejected. RunError if the shard cannot be read."""
        if pair.prompt_id not in self._shards:
            return Shown(b"", GONE), Shown(b"", GONE)
        wanted = {pair.chosen_id, pair.rejected_id}
        found: dict[str, bytes] = {}
        columns = ["image_id", "prompt_id", "image"]
        for table in self._run.tables("images", self._shards[pair.prompt_id], columns):
            names = zip(table["prompt_id"].to_pylist(), table["image_id"].to_pylist(), strict=True)
            for row, (prompt, image) in enumerate(names):
                if prompt == pair.prompt_id and image in wanted:
                    found[image] = table["image"][row].as_py() or b""
            if found.keys() == wanted:
                break
        return _shown(found.get(pair.chosen_id)), _shown(found.get(pair.rejected_id))


def _shown(data: bytes | None) -> Shown:
    if data is None:
        return Shown(b"", GONE)
    try:
        picture = decode(data, SIDE)
    except Unreadable as error:
        return Shown(b"", str(error))
    picture.thumbnail((SIDE, SIDE))
    return Shown(encode(picture, KIND))
