"""One call of `datagen judge`, from what is given to what is written.

It streams: only a few pictures are in memory at a time. Finished shards wait in `OUT.parts`, a run directory, so that
the same call resumes where an earlier one stopped. An image that cannot be read, or a prompt that is missing or
refused, becomes a row with its error; an input without any image is an `InputError`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from datagen import records, store, version
from datagen.commands.judge import choices as chosen
from datagen.commands.judge import copies, explain, labels, merge, origin
from datagen.commands.judge.merge import Summary
from datagen.commands.judge.origin import Origin
from datagen.commands.judge.rows import Work
from datagen.commands.judge.shards import SCORES, Parts
from datagen.errors import InputError, ModelError, RunError
from datagen.judges import Judge, panel, reads_text
from datagen.judges.views import enough
from datagen.llm import LlmOptions
from datagen.progress import Progress
from datagen.recipe import JudgeChoice
from datagen.tables import folders, hub, parquet, pictures
from datagen.tables.items import Input, Wanted

ROWS = 3  # raised when the rows have other columns: what waits of an older call is not gone on with
ACCOUNT = ".account"  # suffix of the folder with the ledger of judges that ask a server


@dataclasses.dataclass(frozen=True)
class Options:
    """What else is asked for.

    `prompts` is a table of a folder's pictures, `labels` a column or a table that says which image of a pair is the
    better one. `embeddings` and `explain` are files to write besides. What judges that ask a server spend is
    `max_cost` dollars at most, and stands in a folder beside the scores. `planted` has judges asked about another
    prompt of each image as well for whom that is another look at it.
    """

    prompts: Path | None = None
    image_column: str | None = None
    prompt_column: str | None = None
    pairs: bool = False
    labels: str | None = None
    fast: bool = False
    embeddings: Path | None = None
    explain: Path | None = None
    max_cost: float | None = None
    planted: bool = False

    @property
    def label_file(self) -> Path | None:
        """The table of labels; None where they are a column, or not asked for."""
        return Path(self.labels) if self.labels is not None and labels.is_file(self.labels) else None


def judge_path(
    input: Path,
    choices: Sequence[JudgeChoice],
    out: Path,
    options: Options | None = None,
    *,
    say: Callable[[str], None] = lambda line: None,
    progress: Progress = lambda what, done, total: None,
) -> Summary:
    """Write one row per image and judge to the Parquet file `out`, which appears only when it is complete.

    `input` is whatever `pictures.open_input` reads: pictures with prompts next to them (`a.png`, `a.txt`) or in a
    table, tables that hold or name images, WebDataset tars, saved data sets, folders of these, embeddings that were
    kept; of sets of pairs both images are judged, and compared where `pairs` asks for it. Columns that identify a row
    are carried over. What of a folder is passed over is said. Raises InputError and ModelError before anything is
    written; RunError if a file cannot be written, or if what an earlier call left has other settings.
    """
    asked = options or Options()
    written = [path for path in (out, asked.embeddings, asked.explain) if path is not None]
    _refuse_out(written, input, asked)
    given = _opened(input, choices, asked, written)
    judges = chosen.able(choices, given, asked.pairs)
    for note in given.notes:
        say(note)
    known = None if asked.labels is None else labels.read(asked.labels, given, say)
    _check_asked(asked, judges, given, say)
    run = store.Run(out.with_name(f"{out.name}{folders.PARTS}"))
    settings = _settings(input, choices, asked, given, judges)
    networks = tuple(panel.backbones(judges)) if asked.embeddings else ()
    work = Work(judges, asked.pairs, asked.fast, asked.planted, copies.share(given.total))
    digest = records.content_id(settings)
    parts = Parts(run, work, given.ids, digest, networks, known)
    llm = LlmOptions(out.with_name(f"{out.name}{ACCOUNT}"), asked.max_cost, say=say)
    with (
        store.hold(run, {"digest": digest, "version": version(), "recipe": settings}, say),
        _tidy(run, written),
        panel.connected(judges, llm),
    ):
        shards = parts.judge_missing(given, say, progress)
        summary = merge.count(parts, shards)
        own = _origin(input, choices, asked, given, judges, work)
        if asked.embeddings is not None:
            merge.write_embeddings(parts, shards, asked.embeddings, own)
        if asked.explain is not None:
            again = _opened(input, choices, asked, written)
            explain.write(parts, shards, summary, again.items, input.resolve().name, asked.explain)
        merge.write(parts, shards, out, own)
        shutil.rmtree(run.root)
    _say_notes(judges, say)
    return summary


def _opened(input: Path, choices: Sequence[JudgeChoice], asked: Options, written: Sequence[Path]) -> Input:
    """The images; files of our own and of labels are none of the input."""
    if asked.labels is not None and not asked.pairs:
        raise InputError("--labels says which image of a pair is the better one: give --pairs as well")
    wanted = Wanted(
        asked.image_column,
        asked.prompt_column,
        asked.pairs,
        texts=any(reads_text(choice.name) for choice in choices),
        label=None if asked.label_file else asked.labels,
    )
    own = [*written, *([asked.label_file] if asked.label_file else [])]
    return pictures.open_input(input, wanted, asked.prompts, leave_out=own)


def _settings(
    input: Path, choices: Sequence[JudgeChoice], asked: Options, given: Input, judges: Sequence[Judge]
) -> dict[str, Any]:
    """What decides the rows; what an earlier call left with other settings is not gone on with."""
    files = [*given.files, *([asked.label_file] if asked.label_file else [])]
    return {
        "input": str(input),
        "files": pictures.fingerprint(files),
        "columns": [asked.image_column, asked.prompt_column],
        **({"pairs": True} if asked.pairs else {}),
        **({"labels": asked.labels} if asked.labels is not None else {}),
        **({"fast": True} if asked.fast else {}),
        **({"embeddings": True} if asked.embeddings is not None else {}),
        **({"planted": True} if asked.planted else {}),
        "rows": ROWS,
        "judges": [
            {"version": judge.version, **choice.model_dump()} for judge, choice in zip(judges, choices, strict=True)
        ],
    }


def _origin(
    input: Path, choices: Sequence[JudgeChoice], asked: Options, given: Input, judges: Sequence[Judge], work: Work
) -> Origin:
    """What `datagen label` must know of this call; of embeddings, where the pictures were that they are of."""
    named = [{"judge": judge.name, **choice.model_dump()} for judge, choice in zip(judges, choices, strict=True)]
    if given.backbones and (first := origin.of_metadata(parquet.columns(given.files[0]).metadata)):
        return dataclasses.replace(first, pairs=False, slots=len(work.slots), judges=named)
    return Origin(
        input=str(input) if not os.path.exists(input) and hub.is_id(str(input)) else os.path.abspath(input),
        prompts=None if asked.prompts is None else os.path.abspath(asked.prompts),
        labels=None if asked.label_file is None else os.path.abspath(asked.label_file),
        image_column=asked.image_column,
        prompt_column=asked.prompt_column,
        as_pairs=asked.pairs,
        pairs=asked.pairs,
        slots=len(work.slots),
        judges=named,
    )


def _check_asked(asked: Options, judges: Sequence[Judge], given: Input, say: Callable[[str], None]) -> None:
    """ModelError for what these judges and this input cannot give; a wish that changes nothing is said."""
    if asked.embeddings is not None and not panel.backbones(judges):
        names = " and ".join(judge.name for judge in judges)
        raise ModelError(f"--embeddings keeps what judges read of a network, and {names} reads none: leave it out")
    if asked.embeddings is not None and given.backbones:
        raise InputError(f"{given.files[0]} holds embeddings already: leave out --embeddings")
    if asked.explain is not None and given.backbones:
        raise InputError(f"{given.files[0]} holds no pictures to show: leave out --explain")
    if asked.fast and given.backbones:
        raise InputError(f"{given.files[0]} holds no pictures to decode fast: leave out --fast")
    if asked.planted and not panel.able(judges, "score"):
        say("note: --planted changes nothing, as no judge scores images one by one")
    elif asked.planted and given.backbones and not all(judge.facts.reads_text for judge in judges):
        say("note: no copies are degraded for --planted, as the input holds embeddings and no pictures")
    if asked.fast and enough(panel.views(judges)) is None:
        say("note: --fast changes nothing, as some judge looks at whole pictures")


def _say_notes(judges: Sequence[Judge], say: Callable[[str], None]) -> None:
    for judge in judges:
        if note := panel.notes(judge):
            say(f"note: {judge.name}: {note}")
    if know := panel.of_the_world(judges):
        say(f"note: {know}, of others the scores mean nothing; name a CLIP with --set clip.model=ViT-L-14/openai")


def _refuse_out(written: Sequence[Path], input: Path, asked: Options) -> None:
    """RunError if something cannot be written, or would overwrite what is judged or something else that is written."""
    given = [path for path in (input, asked.prompts, asked.label_file) if path is not None and os.path.exists(path)]
    for out in written:
        kind, ending = ("page", ".html") if out == asked.explain else ("Parquet file", ".parquet")
        if os.path.exists(out) and any(out.samefile(path) for path in given):
            raise RunError(f"{out} is the input; give another name for what is written")
        with store.writing(out):
            if out.is_dir():
                raise RunError(f"{out} is a folder; give the name of a {kind}")
        if out.suffix.lower() not in ("", ending):
            raise RunError(f"{out} would be a {kind}; give a name that ends in {ending}")
    if len({os.path.abspath(out) for out in written}) < len(written):
        raise RunError(f"{written[0]} is to be written twice: give each file a name of its own")


@contextlib.contextmanager
def _tidy(parts: store.Run, written: Sequence[Path]) -> Iterator[None]:
    """Clear up after a killed call, and after one that ends before anything is done or whose input is no good."""
    for out in written:
        for leftover in out.parent.glob(f".{glob.escape(out.name)}.*{store.TEMPORARY}"):
            leftover.unlink(missing_ok=True)
    try:
        yield
    except BaseException:
        if not parts.shard(SCORES, 0).exists():
            shutil.rmtree(parts.root, ignore_errors=True)
        raise
