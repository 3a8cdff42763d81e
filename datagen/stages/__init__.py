"""The stages of a run, one file each: a stage is a value, and its work a function of one shard's rows.

A stage file ends with its `STAGE`; `pipeline/plan.py` lists them in order. A stage never looks beyond its shard, and a
failure of content is a row with `error`, not an exception. Only `pipeline` imports stages.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import pyarrow as pa

from datagen import records
from datagen.llm import LlmOptions
from datagen.recipe import Profile, Recipe
from datagen.records import Written

Row = TypeVar("Row")

# What models are made with, and takes seconds to import.
LIBRARIES = (
    "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion",
    "diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl",
    "transformers.models.clip.modeling_clip",
    "open_clip",
)


@dataclasses.dataclass(frozen=True)
class Context:
    """What every stage may know besides its rows: the resolved recipe, the profile in use, and how an LLM is asked.

    Plain data, picklable, but for who is told: only whole stages have that, and they run in our process.
    """

    recipe: Recipe
    profile: Profile
    llm: LlmOptions = LlmOptions()


class Parts(Protocol):
    """The rows of a run for a whole stage that need not hold them together."""

    def count(self, record: type) -> int:
        """How many there are of one table."""

    def cut(self, parts: int) -> Iterator[Shard]:
        """About so many parts, of prompts that follow one another; each is read when its turn comes."""


@dataclasses.dataclass(frozen=True)
class Shard:
    """The rows of one shard from all stages that ran before, by their type: as they are read, or as records.

    A whole stage may read them in `parts` instead.
    """

    tables: Mapping[type, list[Any] | pa.Table] = dataclasses.field(default_factory=dict)
    parts: Parts | None = None
    _made: dict[type, list[Any]] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    def rows(self, record: type[Row]) -> list[Row]:
        """The rows of one table, in its order; none where no earlier stage writes it."""
        held = self.tables.get(record, [])
        if isinstance(held, list):
            return held
        if record not in self._made:
            self._made[record] = records.from_table(record, held)
        return self._made[record]

    def table(self, record: type) -> pa.Table:
        """The same rows in columns."""
        held = self.tables.get(record, [])
        return records.to_table(record, held) if isinstance(held, list) else held

    def only(self, prompt_ids: set[str]) -> Shard:
        """The same shard with the rows of some prompts alone; tables that belong to no prompt stay whole."""
        return Shard({record: _of_prompts(self.rows(record), prompt_ids) for record in self.tables})


def _of_prompts(rows: list[Any], prompt_ids: set[str]) -> list[Any]:
    return [row for row in rows if getattr(row, "prompt_id", None) in prompt_ids or not hasattr(row, "prompt_id")]


def none(profile: Profile) -> int:
    """The GPUs of a stage that runs no model."""
    return 0


def anywhere(profile: Profile) -> bool:
    """That a stage's workers may be on several machines, as it pays nobody."""
    return False


def one_a_model(profile: Profile) -> int:
    """The GPUs of a stage whose models run in its workers; the embedded ones are as fast without."""
    return int(profile.model != "embedded")


def _nothing(row: object) -> Sequence[str]:
    return ()


@dataclasses.dataclass(frozen=True)
class Stage(Generic[Row]):
    """One step of a run; `name` is the table it writes. Plain data: a worker is sent it by reference to its functions.

    `version` is raised when equal inputs give other rows, so that what an older one derived is derived anew. A
    `whole` stage sees the run as one shard; one whose content can fail has `retry`, which is given its rows and
    tries the failed ones again. A sharded stage needs none: its failed prompts are run again. `reads` are the
    records of earlier stages that it is given, {} for all, each with the columns of it, () for all. What a stage
    that `relabels` makes depends on the recipe's [labels], which may be changed after a run. `check` raises what
    would keep the stage from doing its work, and is asked before anything is paid for. `remarks` are what is to be
    known of a row, as that something asked for did not count; all counted. `libraries` are modules that its work
    imports, which the workers of one machine may share; `gpus` says how many a worker needs for a profile's models.
    Where `one_machine` is true of a profile, its workers keep account of what they pay, in a database that only
    processes of one machine can share.
    """

    name: str
    record: type[Row]
    run: Callable[[Context, Shard], Written[Row]]
    version: int = 1
    whole: bool = False
    retry: Callable[[Context, Shard, list[Row]], Written[Row]] | None = None
    reads: Mapping[type, tuple[str, ...]] = dataclasses.field(default_factory=dict, hash=False)
    relabels: bool = False
    check: Callable[[Context], None] | None = None
    remarks: Callable[[Row], Sequence[str]] = _nothing
    libraries: tuple[str, ...] = ()
    gpus: Callable[[Profile], int] = none
    one_machine: Callable[[Profile], bool] = anywhere

    @property
    def can_fail(self) -> bool:
        """Whether its rows have an `error`."""
        return "error" in self.columns

    @property
    def columns(self) -> Collection[str]:
        """The columns of its table."""
        return self.record.__dataclass_fields__  # type: ignore[attr-defined,no-any-return]  # a record is a dataclass

    def sees(self, earlier: Stage[Any]) -> bool:
        """Whether it is given the rows of an earlier stage."""
        return not self.reads or earlier.record in self.reads

    def failed(self, row: Any) -> bool:
        """Whether the content of a row failed."""
        return self.can_fail and row.error is not None
