"""Texts as the encoders of Stable Diffusion read them, each once: what was read is kept for all of a text's images.

So many texts are always encoded together, since the last bits of a matrix product follow its shape: what a text is
read as depends on nothing but the text.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

BATCH = 8
KEPT = 256  # texts; one takes 0.3 MB of SDXL in half precision

Row = tuple[list[int], ...]  # the token ids of one window of a text, by each tokenizer


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a U-Net is told of a text: `hidden` (tokens, width), and of SDXL `pooled` (width)."""

    hidden: Any
    pooled: Any  # None of others


class Texts:
    """The tokenizers and text encoders of a pipeline.

    What is longer than the encoders read is cut off; or, if `chunked`, read in windows of that length, one after the
    other.
    """

    def __init__(self, pipeline: Any, chunked: bool = False) -> None:
        self._pipeline = pipeline
        self._chunked = chunked
        self._is_xl = getattr(pipeline, "text_encoder_2", None) is not None
        self._parts = ("", "_2") if self._is_xl else ("",)
        self._tokenizers = [getattr(pipeline, f"tokenizer{part}") for part in self._parts]
        self._kept: collections.OrderedDict[str, list[Reading]] = collections.OrderedDict()
        self.rows = functools.lru_cache(maxsize=KEPT)(self._rows)
        self.unread = functools.lru_cache(maxsize=4 * KEPT)(self._unread)

    def windows(self, text: str) -> int:
        """In how many windows a text is read."""
        return len(self.rows(text)) if self._chunked else 1

    def read(self, texts: Sequence[str], windows: int, device: Any, ahead: Iterable[str] = ()) -> list[Reading]:
        """What is read of each text, in so many windows, those beyond its own empty.

        `ahead` are texts that will be asked for next: they fill up what is encoded together.
        """
        wanted = dict.fromkeys([*texts, *[""] * (windows > 1)])
        missing = [text for text in wanted if text not in self._kept]
        if missing:
            rows = sum(len(self.rows(text)) for text in missing)
            for text in itertools.islice(dict.fromkeys(ahead), 4 * BATCH):
                if rows % BATCH and text not in self._kept and text not in wanted and len(self.rows(text)) == 1:
                    missing, rows = [*missing, text], rows + 1
            self._kept |= self._encode(missing, device)
        for text in wanted:
            self._kept.move_to_end(text)
        found = [self._joined(text, windows) for text in texts]
        while len(self._kept) > max(KEPT, len(wanted)):
            self._kept.popitem(last=False)
        return found

    def forget(self) -> None:
        """Keep nothing, so that the memory is free."""
        self._kept.clear()

    def _joined(self, text: str, windows: int) -> Reading:
        """The windows of a text after each other; the pooled text is that of the first."""
        import torch

        read = self._kept[text]
        if windows > len(read):
            read = read + self._kept[""] * (windows - len(read))
        return read[0] if windows == 1 else Reading(torch.cat([part.hidden for part in read]), read[0].pooled)

    def _encode(self, texts: list[str], device: Any) -> dict[str, list[Reading]]:
        """What the encoders make of each window of texts."""
        import torch

        read: dict[str, list[Reading]] = {text: [] for text in texts}
        rows = [(text, row) for text in texts for row in self.rows(text)]
        for start in range(0, len(rows), BATCH):
            part = rows[start : start + BATCH]
            padded = [row for _, row in part] + [part[-1][1]] * (BATCH - len(part))
            hidden, pooled = [], None
            for name, ids in zip(self._parts, zip(*padded, strict=True), strict=True):
                encoder = getattr(self._pipeline, f"text_encoder{name}")
                said = encoder(torch.tensor(ids, device=device), output_hidden_states=self._is_xl)
                # SDXL reads the last layer but one, and pools the second encoder's projection.
                hidden.append(said.hidden_states[-2] if self._is_xl else said[0])
                pooled = said[0] if self._is_xl else None
            joined = torch.cat(hidden, dim=-1).to(encoder.dtype)
            for place, (text, _) in enumerate(part):
                own = None if pooled is None else pooled[place].clone()
                read[text].append(Reading(joined[place].clone(), own))
        return read

    def _rows(self, text: str) -> list[Row]:
        """The token ids of a text's windows."""
        if not self._chunked:
            return [tuple(_padded(tokenizer, text) for tokenizer in self._tokenizers)]
        cut = [_windows(tokenizer, text) for tokenizer in self._tokenizers]
        blank = [_padded(tokenizer, "") for tokenizer in self._tokenizers]
        most = max(map(len, cut))
        return [
            tuple(own[k] if k < len(own) else empty for own, empty in zip(cut, blank, strict=True))
            for k in range(most)
        ]

    def _unread(self, text: str, at_all: bool = True) -> int:
        """Tokens of a text that the model does not read, by the tokenizer that cuts most; all if not `at_all`."""
        if not text or (at_all and self._chunked):
            return 0
        counts: list[int] = []
        for tokenizer in self._tokenizers:
            needed = len(tokenizer(text, verbose=False).input_ids)
            read = tokenizer.model_max_length if at_all else tokenizer.num_special_tokens_to_add()
            counts.append(max(0, needed - read))
        return max(counts)


def _padded(tokenizer: Any, text: str) -> list[int]:
    """The ids of a text as diffusers asks for them, cut off at what is read."""
    length = tokenizer.model_max_length
    ids: list[int] = tokenizer(text, padding="max_length", max_length=length, truncation=True).input_ids
    return ids


def _windows(tokenizer: Any, text: str) -> list[list[int]]:
    """The ids of a text in windows, each of which begins, ends and is padded as a whole text is."""
    begin, end, *padding = _padded(tokenizer, "")
    ids = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    size = len(padding)
    parts = [ids[start : start + size] for start in range(0, max(len(ids), 1), size)]
    return [[begin, *part, end, *padding[len(part) :]] for part in parts]
