"""The rows of the eight tables, one frozen dataclass each; their Arrow schemas are derived from the field types.

Ids are content hashes and seeds are hashes of (recipe seed, prompt id, index), so any row can be rebuilt alone, on any
worker, in any order. A row that failed keeps its place, with `error` set.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
import types
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Generic, NewType, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

PICTURED, PLAIN = 16, 5_000  # rows with pictures, and others, that are made a table at a time
Vector = NewType("Vector", list[float])  # kept in float32
# Role of a prompt of which neither wording is better by its principle: drawn and judged to see what judges see of a
# wording besides the truth, and in no dataset.
NEGATIVE = "negative-control"
_JSON = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def content_id(*parts: object) -> str:
    """A 16-digit hex id of JSON-able parts; equal parts give equal ids on every machine."""
    return hashlib.sha256(_JSON.encode(parts).encode()).hexdigest()[:16]


def pair_id(prompt_id: str, chosen_id: str, rejected_id: str) -> str:
    """The id of a pair of images; what it would be called the other way round is another."""
    return content_id(prompt_id, chosen_id, rejected_id)


def seed_for(recipe_seed: int, prompt_id: str, index: int) -> int:
    """The 31-bit seed of one image of one prompt."""
    return int(content_id("seed", recipe_seed, prompt_id, index)[:8], 16) & 0x7FFFFFFF


def next_seed(seed: int) -> int:
    """The 31-bit seed that is tried where one gave nothing."""
    return int(content_id("next seed", seed)[:8], 16) & 0x7FFFFFFF


@dataclasses.dataclass(frozen=True)
class Principle:
    """A value principle: what an image should be (`aligned`) and should not be (`violating`)."""

    principle_id: str
    kind: str  # avoid | balance | prefer
    category: str
    statement: str  # the value string an encoder reads, e.g. "splatter considered inappropriate"
    aligned: str  # how a prompt is worded towards it; "{prompt}" is the context prompt
    violating: str  # how a prompt is worded against it
    aligned_negative: str  # negative prompt of the aligned image, may be empty
    violating_negative: str
    author: str  # who wrote it: "taxonomy:<file>" or the id of the LLM
    source: str
    neutral: list[str] = dataclasses.field(default_factory=lambda: ["{prompt}"])  # how a context prompt may open
    asked: str = ""  # how a context prompt asks for the violation; empty if none should
    controls: list[str] = dataclasses.field(default_factory=list)  # context wordings near it that break nothing
    groups: str = "{}"  # JSON, balance only: group → how a prompt names it
    conflicts: list[str] = dataclasses.field(default_factory=list)  # taxonomy ids that cannot hold in the same picture
    template: str = ""  # hash of what the LLM was asked with; empty where none was
    request_id: str = ""


@dataclasses.dataclass(frozen=True)
class Prompt:
    """One context prompt with its two wordings; the trainer sees `prompt` only."""

    prompt_id: str
    principle_id: str
    category: str
    prompt: str
    chosen_prompt: str
    rejected_prompt: str
    chosen_negative: str
    rejected_negative: str
    cluster: str  # prompts of one cluster are near-duplicates and stay on one side of the split
    split: str  # train | test
    author: str  # "grammar:…", "file:…" or the id of the LLM
    # neutral | asked (the context asks for the violation) | control (near it, breaks nothing) | conflict (its
    # principles cannot all hold; the first takes precedence) | negative-control (see NEGATIVE)
    role: str = "neutral"
    other_principle_ids: list[str] = dataclasses.field(default_factory=list)  # besides `principle_id`
    scene: str = ""  # what the LLM was told to write about
    template: str = ""  # hash of what the LLM was asked with; empty where none was
    request_id: str = ""
    cost: float = 0.0  # US dollars of the call that wrote this row; a reply from the cache costs nothing
    attempt: int = 0  # how many times the LLM was asked for this row before
    error: str | None = None

    @property
    def texts(self) -> tuple[tuple[str, str, str], tuple[str, str]]:
        """All that is read of a row: the prompt with its two wordings, and the negative prompts of both."""
        return (
            (self.prompt, self.chosen_prompt, self.rejected_prompt),
            (self.chosen_negative, self.rejected_negative),
        )


@dataclasses.dataclass(frozen=True)
class Image:
    """One generated picture with everything needed to make it again."""

    image_id: str  # content hash of the encoded bytes; of the request when `error` is set
    prompt_id: str
    side: str  # chosen | rejected | candidate
    index: int
    text: str
    negative: str
    seed: int  # that it was drawn with; another than its prompt gives it where that one gave nothing to see
    generator: str
    generator_revision: str
    scheduler: str
    steps: int
    guidance: float
    width: int
    height: int
    image: bytes | None  # WebP, PNG or JPEG, as the recipe says
    error: str | None = None
    scheduler_config: str = "{}"  # JSON: the scheduler's settings, all of them
    adapter: str = ""  # what the generator was changed with, "" for nothing
    dtype: str = ""  # of the weights, as torch calls it
    batch_size: int = 1  # images in the batch that it was made in; its last bits follow from that
    software: str = ""  # libraries and device, e.g. "diffusers 0.42.1, transformers 5.23.0, torch 2.9.0 on cpu (AVX2)"
    empty_negative: str = ""  # what stands for an empty negative prompt: "text", the empty text encoded, or "zeros"
    unread: int = 0  # tokens of `text` beyond what the model reads
    negative_unread: int = 0  # tokens of `negative` that it does not read; all where guidance is 1 or less
    vae: str = ""  # NAME@REVISION of one in the place of the generator's own
    options: str = "{}"  # JSON: what of the sampling is not as ever, as "long_prompts"
    notes: str = ""  # what else is to be known of the generator's weights, as that it reads fewer layers than it has


@dataclasses.dataclass(frozen=True)
class Embedding:
    """What one backbone of the judges makes of one image: enough to judge it again without the image."""

    image_id: str
    prompt_id: str
    backbone: str  # the identity of its weights
    vector: Vector  # as the network gives it, not of length 1
    error: str | None = None


@dataclasses.dataclass(frozen=True)
class Score:
    """What one judge says of one image by one axis, or of two images; `value` is None where it abstains."""

    image_id: str
    prompt_id: str
    judge: str
    judge_version: str
    axis: str  # see labels.axes
    value: float | None
    error: str | None = None
    category: str = ""  # of a judge with several scores an image
    opponent: str = ""  # axis `beats` only: the image shown second, which `value` is the probability to beat
    note: str = ""  # how the value was read, where that is not the best way


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What all judges say of one image, in log-odds by which they lean towards it; a value a judge, NaN abstains."""

    image_id: str
    prompt_id: str
    side: str  # of the image; "other" for one of another prompt
    index: int
    reason: str | None  # why the image can be in no pair
    lean: list[float]  # by all that a judge was asked, in the order of the profile's judges
    principle: list[float]  # by the principle alone
    wording: list[float]  # by the prompt's two wordings alone
    match: list[float]  # that it shows its own context prompt and not another's
    share: float  # how far it shows its own wording, 0…1, by the judge that says so least; NaN if none can
    controls: list[float] = dataclasses.field(default_factory=list)  # as `lean`, of each question of labels.questions
    judges: list[str] = dataclasses.field(default_factory=list)  # all that scored it, by name
    scores: list[str] = dataclasses.field(default_factory=list)  # what each of them said, JSON: axis → value


@dataclasses.dataclass(frozen=True)
class Label:
    """What became of two images of one prompt: the probability that their order is right, or why they are no pair."""

    prompt_id: str
    chosen_id: str  # image ids; empty where there is no such image
    rejected_id: str
    reason: str | None  # None: they are a pair
    probability: float | None = None  # that chosen is the preferred one, by all evidence
    low: float | None = None  # its 90 % interval
    high: float | None = None
    judges_only: float | None = None  # the same probability by the judges without the design


@dataclasses.dataclass(frozen=True)
class Pair:
    """A preferred and a dispreferred image of one context prompt, with the probability that the label is right.

    It names its images, which lie in the shard of images beside its own; who publishes it joins them
    (`export.parts.pictured`).
    """

    pair_id: str
    prompt: str
    principle: str  # the statements of the prompt's principles
    category: str
    kind: str
    chosen_id: str
    rejected_id: str
    chosen_prompt: str
    rejected_prompt: str
    probability: float
    margin: float
    scores: str  # JSON: judge → {chosen, rejected: {axis: value}}
    seed_chosen: int
    seed_rejected: int
    generator: str  # of the chosen image
    generator_revision: str
    steps: int
    guidance: float
    scheduler: str
    recipe: str
    license: str
    prompt_id: str
    split: str
    role: str = "neutral"  # of the prompt
    rejected_generator: str = ""  # of the rejected image; another one where candidates come from several models
    rejected_generator_revision: str = ""
    # Both images share size, steps, guidance, dtype, batch size and software: they are of one profile and one shard.
    chosen_negative_prompt: str = ""
    rejected_negative_prompt: str = ""
    width: int = 0  # 0 where the images, which were not drawn for each other, differ
    height: int = 0
    scheduler_config: str = "{}"  # of the chosen image, see Image
    rejected_scheduler: str = ""
    rejected_scheduler_config: str = "{}"
    adapter: str = ""  # of the chosen image
    rejected_adapter: str = ""
    dtype: str = ""
    batch_size: int = 1
    software: str = ""
    pool: str = ""  # pairing `pool`: the scene whose violating images may stand for one another; "" in other pairings
    empty_negative: str = ""  # of the chosen image, see Image
    rejected_empty_negative: str = ""
    vae: str = ""  # of the chosen image, see Image
    rejected_vae: str = ""
    chosen_unread: int = 0  # tokens of its wording and its negative prompt that the model did not read
    rejected_unread: int = 0
    low: float = 0.0  # 90 % interval of `probability`
    high: float = 1.0
    judges_only: float = 0.5  # the probability by the judges alone, without what the images were drawn from
    options: str = "{}"  # of the chosen image, see Image
    rejected_options: str = "{}"


Row = TypeVar("Row")


@dataclasses.dataclass(frozen=True)
class Written(Generic[Row]):
    """Rows in order, how many candidates did not become one, by reason, and what was learnt of all of them.

    A stage whose content cannot fail may make `tables` of its record's schema in the place of rows, one after the
    other: of many rows that is far quicker. What was learnt may be filled in while they are made.
    """

    rows: Collection[Row]
    drops: dict[str, int] = dataclasses.field(default_factory=dict)
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)  # JSON-able: what else was learnt, for the footer
    tables: Iterable[pa.Table] | None = None


def in_words(drops: Mapping[str, int]) -> str:
    """Reasons with their counts, in the order given; "" for none."""
    return ", ".join(f"{count} {reason}" for reason, count in drops.items())


_ARROW: dict[type, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    bytes: pa.binary(),
    Vector: pa.list_(pa.float32()),
}


def _arrow_type(hint: Any) -> tuple[pa.DataType, bool]:
    """The Arrow type of a field's annotation and whether it may be null."""
    if isinstance(hint, types.UnionType):
        (inner,) = (arg for arg in typing.get_args(hint) if arg is not type(None))
        return _arrow_type(inner)[0], True
    if typing.get_origin(hint) is list:
        return pa.list_(_arrow_type(typing.get_args(hint)[0])[0]), False
    return _ARROW[hint], False


def schema(record: type) -> pa.Schema:
    """The Arrow schema of a record type, fields in order, nullable only where the annotation allows None."""
    return _schema(record)


@functools.cache
def _schema(record: type) -> pa.Schema:
    hints = typing.get_type_hints(record)
    fields = []
    for field in dataclasses.fields(record):
        arrow, nullable = _arrow_type(hints[field.name])
        fields.append(pa.field(field.name, arrow, nullable=nullable))
    return pa.schema(fields)


def to_table(record: type, rows: list[Any]) -> pa.Table:
    """Rows of one record type as an Arrow table of its schema."""
    columns = [pa.array([getattr(row, field.name) for row in rows], field.type) for field in schema(record)]
    return pa.Table.from_arrays(columns, schema=schema(record))


def tables(record: type, rows: Iterable[Any]) -> Iterator[pa.Table]:
    """The same by parts, at least one: rows that hold pictures come few at a time, so that none is there twice."""
    size, rows = PICTURED if pa.binary() in schema(record).types else PLAIN, iter(rows)
    some = list(itertools.islice(rows, size))
    yield to_table(record, some)
    while some := list(itertools.islice(rows, size)):
        yield to_table(record, some)


def from_table(record: type, table: pa.Table) -> list[Any]:
    """The rows back as dataclasses; inverse of `to_table`. TypeError if the columns are those of another record."""
    columns = {name: _values(table[name]) for name in table.column_names}
    names = tuple(columns)
    if names == tuple(field.name for field in dataclasses.fields(record))[: len(names)]:  # by place, which is quicker
        return [record(*row) for row in zip(*columns.values(), strict=True)]
    return [record(**dict(zip(names, row, strict=True))) for row in zip(*columns.values(), strict=True)]


def _values(column: pa.ChunkedArray) -> list[Any]:
    """As `to_pylist`, which is slow where each cell is a list of numbers."""
    if not pa.types.is_list(column.type) or not pa.types.is_floating(column.type.value_type) or column.null_count:
        return list(column.to_pylist())
    cells = column.combine_chunks()
    numbers, lengths = cells.flatten(), cells.value_lengths().cast(pa.int64())
    if numbers.null_count:
        return list(column.to_pylist())
    flat, ends = numbers.to_numpy().tolist(), pc.cumulative_sum(lengths).to_pylist()
    return [flat[first:last] for first, last in zip([0, *ends], ends, strict=False)]
