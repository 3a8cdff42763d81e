"""Scores for images that already exist: `judge_path` reads a folder, a table of files or a Parquet data set.

It streams: only a few pictures are in memory at a time. Finished shards wait in `OUT.parts`, a run directory, so that
the same call resumes where an earlier one stopped. An image that cannot be read, or a prompt that is missing or
refused, becomes a row with its error; an input without any image is an `InputError`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import glob
import itertools
import math
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from datagen import recipe, records, safety, store, version
from datagen.errors import InputError, ModelError, RunError, UserError
from datagen.judges import JUDGES, Judge, panel, reads_text
from datagen.llm import LlmOptions
from datagen.progress import Progress
from datagen.recipe import JudgeChoice
from datagen.tables import folders, pictures
from datagen.tables.items import Input, Item, Wanted

SHARD = 8 * panel.CHUNK  # images; a killed call judges at most so many of them again
ACCOUNT = ".account"  # suffix of the folder with the ledger of judges that ask a server
ROW_GROUP = 10_000  # rows of the file that is written


@dataclasses.dataclass(frozen=True)
class Judged:
    """What one judge says of one image; the columns of the file that is written."""

    path: str
    prompt: str  # empty where it was missing or refused
    judge: str
    judge_version: str
    value: float | None  # None: the judge abstained, or there is an error
    error: str | None
    category: str = ""  # of a judge with several scores an image


@dataclasses.dataclass(frozen=True)
class Summary:
    """Images that were read, rows that have a value, images that became an error; how often for which `reasons`."""

    images: int
    scored: int
    errors: int
    reasons: Counter[str] = dataclasses.field(default_factory=Counter, compare=False)


def choose(names: Sequence[str], settings: Sequence[str], clip_model: str | None = None) -> list[JudgeChoice]:
    """The judges of `--judges` (each may be several, separated by commas) with the options of `--set`.

    `clip_model` is an older name of `clip.model`. Raises ModelError and RecipeError for names that do not exist.
    """
    wanted = [name.strip() for part in names for name in part.split(",") if name.strip()]
    if not wanted:
        raise ModelError(f"no judge was named; known: {', '.join(JUDGES.names())}")
    options: dict[str, dict[str, Any]] = {name: {} for name in wanted}
    if clip_model is not None and "clip" in options:
        options["clip"]["model"] = clip_model
    for setting in settings:
        key, value = recipe.assignment(setting, "clip.model=ViT-L-14/openai")
        name, _, option = key.rpartition(".")
        if name not in options:
            raise ModelError(f"--set {setting!r}: give JUDGE.OPTION=VALUE for one of --judges: {', '.join(options)}")
        options[name][option] = value
    for name in options:
        JUDGES.check(name)
    return [JudgeChoice(name=name, options=given) for name, given in options.items()]


def judge_path(
    input: Path,
    choices: Sequence[JudgeChoice],
    out: Path,
    *,
    prompts: Path | None = None,
    image_column: str | None = None,
    prompt_column: str | None = None,
    pairs: bool = False,
    max_cost: float | None = None,
    say: Callable[[str], None] = lambda line: None,
    progress: Progress = lambda what, done, total: None,
) -> Summary:
    """Write one row per image and judge to the Parquet file `out`, which appears only when it is complete.

    `input` is whatever `pictures.open_input` reads: pictures with prompts next to them (`a.png`, `a.txt`) or in the
    table `prompts`, tables that hold or name images, WebDataset tars, saved data sets, folders of these; of sets of
    pairs, which `pairs` asks for, both images are judged. Columns that identify a row are carried over. What of a
    folder is passed over is said. What judges that ask a server spend, `max_cost` dollars at most, stands in a folder
    beside `out`. Raises InputError and ModelError before anything is written; RunError if `out` cannot be written, or
    if what an earlier call left has other settings.
    """
    _refuse_out(out, input, prompts)
    wanted = Wanted(image_column, prompt_column, pairs, texts=any(reads_text(choice.name) for choice in choices))
    given = pictures.open_input(input, wanted, prompts, leave_out=[out])
    judges = _scoring(choices)
    for note in given.notes:
        say(note)
    parts = store.Run(out.with_name(f"{out.name}{folders.PARTS}"))
    settings = {
        "input": str(input),
        "files": pictures.fingerprint(given.files),
        "columns": [image_column, prompt_column],
        **({"pairs": True} if pairs else {}),
        "judges": [
            {"version": judge.version, **choice.model_dump()} for judge, choice in zip(judges, choices, strict=True)
        ],
    }
    digest = records.content_id(settings)
    llm = LlmOptions(out.with_name(f"{out.name}{ACCOUNT}"), max_cost, say=say)
    with (
        store.hold(parts, {"digest": digest, "version": version(), "recipe": settings}),
        _tidy(parts, out),
        panel.connected(judges, llm),
    ):
        done = _judge_missing(parts, judges, given, digest, say, progress)
        summary = _merge(parts, done, _rows_each(judges), given.ids, out)
        shutil.rmtree(parts.root)
    for judge in judges:
        if note := panel.notes(judge):
            say(f"note: {judge.name}: {note}")
    if know := panel.of_the_world(judges):
        say(f"note: {know}, of others the scores mean nothing; name a CLIP with --set clip.model=ViT-L-14/openai")
    return summary


def _scoring(choices: Sequence[JudgeChoice]) -> list[Judge]:
    """The judges; ModelError for one that gives no score to a single image."""
    judges = panel.load(choices)
    for judge in judges:
        if not hasattr(judge, "score"):
            raise ModelError(f"the judge {judge.name} compares two images and scores none by itself: name another")
    return judges


def _refuse_out(out: Path, *given: Path | None) -> None:
    """RunError if scores cannot be written to `out`, or would overwrite what is judged."""
    for path in given:
        if path is not None and os.path.exists(out) and os.path.exists(path) and out.samefile(path):
            raise RunError(f"{out} is the input; give another name for the scores")
    with store.writing(out):
        if out.is_dir():
            raise RunError(f"{out} is a folder; give the name of a Parquet file")
    if out.suffix.lower() not in ("", ".parquet"):
        raise RunError(f"{out} would be a Parquet file; give a name that ends in .parquet")


@contextlib.contextmanager
def _tidy(parts: store.Run, out: Path) -> Iterator[None]:
    """Clear up after a killed call, and after one that ends before anything is done or whose input is no good."""
    for leftover in out.parent.glob(f".{glob.escape(out.name)}.*{store.TEMPORARY}"):
        leftover.unlink(missing_ok=True)
    try:
        yield
    except BaseException:
        if not parts.shard("scores", 0).exists():
            shutil.rmtree(parts.root, ignore_errors=True)
        raise


def _judge_missing(
    parts: store.Run,
    judges: list[Judge],
    given: Input,
    digest: str,
    say: Callable[[str], None],
    progress: Progress,
) -> int:
    """Judge what earlier calls did not; the number of shards. What is judged when it is interrupted is kept."""
    index, done = _kept(parts, _rows_each(judges), say)
    if done:
        say(f"{done} of {given.total} images were judged before")
    items, commit = itertools.islice(given.items, done, None), functools.partial(_commit, parts, digest)
    while done < given.total:
        started, rows, ids = time.perf_counter(), list[Judged](), list[Mapping[str, str]]()
        try:
            for chunk in panel.chunks(itertools.islice(items, SHARD)):
                rows += _rows(judges, chunk)
                ids += [item.ids for item in chunk for _ in range(_rows_each(judges))]
                done += len(chunk)
                progress("judge", done, given.total)
        except UserError:
            raise
        except BaseException:
            with contextlib.suppress(RunError):  # a full disk is told by what raised first
                if rows:
                    commit(index, rows, _columns(given, ids), started)
            say(f"{done} of {given.total} images are judged" + (f" and kept in {parts.root}" if done else ""))
            raise
        if not rows:
            raise InputError(f"{done} of {given.total} images could be read: the input was changed while it was read")
        commit(index, rows, _columns(given, ids), started)
        index += 1
    return index


def _columns(given: Input, ids: list[Mapping[str, str]]) -> dict[str, list[str | None]]:
    """What identifies the rows of the input, by column; missing where a row has none."""
    return {name: [row.get(name) for row in ids] for name in given.ids}


def _commit(
    parts: store.Run, digest: str, index: int, rows: list[Judged], ids: dict[str, list[str | None]], started: float
) -> None:
    table = records.to_table(Judged, rows)
    for name, values in ids.items():
        table = table.append_column(name, pa.array(values, pa.string()))
    parts.commit(
        "scores",
        index,
        table,
        errors=sum(row.error is not None for row in rows),
        seconds=round(time.perf_counter() - started, 3),
        digest=digest,
        version=version(),
        drops={},
    )


def _kept(parts: store.Run, judges: int, say: Callable[[str], None]) -> tuple[int, int]:
    """The shards that earlier calls finished, and how many images are in them; from a damaged one on they are lost."""
    index = rows = 0
    try:
        while footer := parts.footer("scores", index):
            parts.verify("scores", index)
            rows += footer.rows
            index += 1
    except store.Damaged as damaged:
        say(f"{damaged.path} is damaged ({damaged.why}): what was judged since then is judged again")
        for shard in itertools.takewhile(Path.exists, (parts.shard("scores", at) for at in itertools.count(index))):
            shard.unlink()
    return index, rows // judges


def _rows(judges: list[Judge], items: list[Item]) -> list[Judged]:
    """The rows of a few images, those of one image together. One without a prompt can be judged by itself alone."""
    alone = not any(judge.facts.reads_text for judge in judges)
    refused = [None if item.prompt is None else safety.refusal(item.prompt) for item in items]
    questions = [
        panel.Question(item.source, (item.prompt or "",), reason or (None if alone and item.source else item.error))
        for item, reason in zip(items, refused, strict=True)
    ]
    return [
        Judged(
            path=item.path,
            prompt="" if reason else item.prompt or "",
            judge=judge.name,
            judge_version=judge.version,
            value=None if math.isnan(value) else float(value),
            error=answer.error_of(judge.name),
            category=category,
        )
        for item, reason, answer in zip(items, refused, panel.ask(judges, questions), strict=True)
        for judge in judges
        for category, value in zip(judge.facts.categories or ("",), answer.scores[judge.name][0], strict=True)
    ]


def _rows_each(judges: Sequence[Judge]) -> int:
    """Rows of one image: one for each score of each judge."""
    return sum(max(1, len(judge.facts.categories)) for judge in judges)


def _merge(parts: store.Run, count: int, judges: int, ids: Sequence[str], out: Path) -> Summary:
    """Merge the shards into one file, and count what is in them."""
    images = scored = errors = 0
    reasons = Counter[str]()

    def tables() -> Iterator[pa.Table]:
        nonlocal images, scored, errors
        for index in range(count):
            table = parts.table("scores", index).replace_schema_metadata(None)
            images += table.num_rows // judges
            scored += _present(table["value"])
            failed, why = _failures(table, judges)
            errors += failed
            reasons.update(why)
            yield table

    def fill(file: Any) -> None:
        schema = pa.schema([*records.schema(Judged), *(pa.field(name, pa.string()) for name in ids)])
        with store.parquet_writer(file, schema) as writer:
            for table in _groups(tables()):
                writer.write_table(table, row_group_size=ROW_GROUP)

    store.write_file(out, fill)
    return Summary(images, scored, errors, reasons)


def _groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows as row groups of equal size, wherever calls were interrupted."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        while sum(part.num_rows for part in waiting) >= ROW_GROUP:
            whole = pa.concat_tables(waiting).combine_chunks()
            yield whole.slice(0, ROW_GROUP)
            waiting = [whole.slice(ROW_GROUP)]
    if waiting and any(part.num_rows for part in waiting):
        yield pa.concat_tables(waiting).combine_chunks()


def _failures(table: pa.Table, each: int) -> tuple[int, Counter[str]]:
    """How many images have no score by any judge for an error, and why rows have no value.

    Of an image that is not judged the reason counts once, of a judge that failed or abstained each time.
    """
    rows = table.select(["judge", "value", "error"]).to_pylist()
    failed, reasons = 0, Counter[str]()
    for start in range(0, len(rows), each):
        own = rows[start : start + each]
        errors = {row["error"] for row in own}
        if None not in errors:
            failed += 1
        if len(errors) == 1 and None not in errors:
            reasons[re.split("[:;]", own[0]["error"])[0]] += 1
            continue
        for row in own:
            if row["error"] is not None:
                reasons[f"the judge {row['judge']}: {re.split('[:;]', row['error'])[0]}"] += 1
            elif row["value"] is None:
                reasons[f"the judge {row['judge']} abstained"] += 1
    return failed, reasons


def _present(column: pa.ChunkedArray) -> int:
    """The values that are not null."""
    return int(pc.count(column).as_py())
