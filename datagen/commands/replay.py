"""Images of a run or of a dataset drawn again from their rows, and how near they come to what is kept.

An id is an image's, or a pair's or a prompt's for all of its images; a beginning will do where it fits one alone.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from datagen import recipe as recipes
from datagen import records, store
from datagen.commands.validate import dataset
from datagen.errors import InputError, ModelError, one_line
from datagen.generators import replay
from datagen.generators.replay import Replayed
from datagen.images import encode
from datagen.recipe import Profile
from datagen.records import Image
from datagen.tables import parquet
from datagen.weights import hub

SIDES = ("chosen", "rejected")
SHOWN = 5  # ids in a message
KINDS = {".png": "png", ".webp": "webp", ".jpg": "jpeg", ".jpeg": "jpeg"}  # suffix of --out → kind of file
# A dataset's column of one side → the field of an image; "{}" is the side, "[]" is "rejected_" of the rejected image.
COLUMNS = {
    "{}_prompt": "text", "{}_negative_prompt": "negative", "seed_{}": "seed", "[]generator": "generator",
    "[]generator_revision": "generator_revision", "[]scheduler": "scheduler",
    "[]scheduler_config": "scheduler_config", "[]adapter": "adapter", "[]vae": "vae",
    "[]empty_negative": "empty_negative", "[]options": "options", "prompt_id": "prompt_id",
    "steps": "steps", "guidance": "guidance", "width": "width", "height": "height", "dtype": "dtype",
    "batch_size": "batch_size", "software": "software",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Place:
    """Where an image is kept: a row of a file of images, or a side of a row of a file of pairs."""

    file: Path
    row: int
    side: str = ""


@dataclasses.dataclass(frozen=True)
class Where:
    """Where models lie that rows name without their folders; empty for what the rows or the run say."""

    model: str = ""
    vae: str = ""


def replay_all(path: Path, wanted: str, where: Where, out: Path | None = None) -> Iterator[tuple[Image, Replayed]]:
    """Each image of an id with what came of it, as it is drawn; the picture is written to `out`.

    Raises InputError for an id that nothing or several things have, ModelError for what cannot be drawn again here.
    """
    if out is not None and out.suffix.lower() not in KINDS:
        raise InputError(f"--out {out} is no picture's name: end it in {', '.join(KINDS)}")
    places = find(path, wanted)
    if out is not None and len(places) > 1:
        ids = ", ".join(_read(place).image_id for place in places[:SHOWN])
        raise InputError(f"{wanted} stands for {len(places)} images and --out is one file: give the id of one ({ids})")
    settings = _run_of(path).settings()
    for place in places:
        row = _read(place)
        found = replay.replay(row, *_profile(row, place, settings, where))
        if out is not None:
            data = encode.encode(found.picture, KINDS[out.suffix.lower()])
            store.write_file(out, functools.partial(_put, data))
        yield row, found


def _put(data: bytes, file: BinaryIO) -> None:
    file.write(data)


def find(path: Path, wanted: str) -> list[Place]:
    """The images that an id, or the beginning of one, stands for, in order; InputError for none and for several."""
    ids: dict[str, dict[str, Place]] = {}  # id → image id → the first place where it is kept
    wanted = wanted.strip().lower()
    for name, image, place in _listed(path):
        if name.startswith(wanted):
            ids.setdefault(name, {}).setdefault(image, place)
    found = ids.get(wanted) or (next(iter(ids.values())) if len(ids) == 1 else None)
    if wanted and found:
        return list(found.values())
    if wanted and not ids:
        raise InputError(f"no image, pair or prompt of {path} has an id that begins with {wanted!r}")
    some = ", ".join(sorted(ids)[:SHOWN])
    raise InputError(f"{len(ids)} ids of {path} begin with {wanted!r} ({some}{'…' * (len(ids) > SHOWN)}): give more")


def _listed(path: Path) -> Iterator[tuple[str, str, Place]]:
    """Each id with an image that it stands for and the place of that."""
    run = store.Run(path)
    if run.settings() is None:
        files = dataset.files(path)
        if not files:
            raise InputError(f"{path} is neither a run directory nor a dataset: it has no Parquet file")
        for file in files:
            yield from _of_pairs(file)
        return
    for file in sorted((path / "tables/images").glob("*.parquet")):
        yield from _of_shard(file, path / "tables/pairs" / file.name.replace("images", "pairs"))


def _of_shard(images: Path, pairs: Path) -> Iterator[tuple[str, str, Place]]:
    """The same of a run's shard of images, and of its pairs if it has any, which name their images."""
    places: dict[tuple[str, str], Place] = {}
    for row, cells in enumerate(_ids(images, ["image_id", "prompt_id", "error"]).to_pylist()):
        place = places.setdefault((cells["prompt_id"], cells["image_id"]), Place(images, row))
        yield cells["image_id"], cells["image_id"], place
        if cells["error"] is None:  # who asks for a prompt's images means those that there are
            yield cells["prompt_id"], cells["image_id"], place
    named = ["pair_id", "prompt_id", *(f"{side}_id" for side in SIDES)]
    if not pairs.is_file() or not set(named) <= set(
        parquet.columns(pairs).names
    ):  # an older version's, to be made anew
        return
    for cells in _ids(pairs, named).to_pylist():
        for image in (cells["chosen_id"], cells["rejected_id"]):
            if (cells["prompt_id"], image) in places:
                yield cells["pair_id"], image, places[cells["prompt_id"], image]


def _of_pairs(file: Path) -> Iterator[tuple[str, str, Place]]:
    """The same of a file of pairs."""
    schema = parquet.columns(file)
    for name in ("pair_id", "prompt_id", *SIDES):
        parquet.check_known(file, schema, name)
    table = _ids(file, ["pair_id", "prompt_id", *(f"{side}.path" for side in SIDES)])
    for row, cells in enumerate(table.to_pylist()):
        for side in SIDES:
            image = Path((cells.get(side) or {}).get("path") or "").stem
            for name in (image, cells["pair_id"], cells["prompt_id"]):
                if name:
                    yield name, image, Place(file, row, side)


def _ids(file: Path, names: list[str]) -> pa.Table:
    """A few columns of a file, without an image."""
    with parquet.open_file(file) as opened:
        try:
            return opened.read(columns=names)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{file} cannot be read: {one_line(error)}") from error


def _read(place: Place) -> Image:
    """The image of a place as a run's row has it; InputError if it is none of ours."""
    with parquet.open_file(place.file) as file:
        first = 0
        for number in range(file.num_row_groups):
            count = file.metadata.row_group(number).num_rows
            if place.row < first + count:
                break
            first += count
        try:
            row = file.read_row_group(number).slice(place.row - first, 1).to_pylist()[0]
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise InputError(f"{place.file} cannot be read at row {place.row}: {one_line(error)}") from error
    return _image(place, _of_side(place, row) if place.side else row)


def _image(place: Place, values: Mapping[str, Any]) -> Image:
    """The values of a row as our record; InputError where they are of other types."""
    fields = [field for field in records.schema(Image) if field.name in values]
    where = f"{place.file} row {place.row}"
    if null := next((field.name for field in fields if not field.nullable and values[field.name] is None), ""):
        raise InputError(f"{where} has no {null}: its image cannot be drawn again")
    try:
        (image,) = records.from_table(Image, pa.Table.from_pylist([dict(values)], schema=pa.schema(fields)))
    except (pa.ArrowException, TypeError) as error:
        raise InputError(f"{where} is none of ours: {one_line(error)}") from error
    assert isinstance(image, Image)
    return image


def _of_side(place: Place, row: Mapping[str, Any]) -> dict[str, Any]:
    """One image of a pair in the fields of an image."""
    own = "rejected_" * (place.side == "rejected")
    values: dict[str, Any] = {"side": place.side, "index": 0}
    for pattern, field in COLUMNS.items():
        column = pattern.replace("{}", place.side).replace("[]", own)
        if field == "options" and column not in row:
            continue  # of datasets that were made before rows had it
        if column not in row:
            raise InputError(f"{place.file} has no column {column!r}: its images cannot be drawn again")
        values[field] = row[column]
    picture = row[place.side] or {}
    return {**values, "image": picture.get("bytes"), "image_id": Path(picture.get("path") or "").stem}


def _run_of(path: Path) -> store.Run:
    """The run that a path is, or lies in; else the path itself."""
    near = [path, *path.absolute().parents[:2]]
    return store.Run(next((folder for folder in near if (folder / "recipe.json").is_file()), path))


def _profile(row: Image, place: Place, settings: dict[str, Any] | None, where: Where) -> tuple[Profile, bool]:
    """Where the model of a row is, and whether it is as the run had it."""
    if settings is not None:
        recipe, name = recipes.of_run(settings)
        profile = recipe.profile(name)
        models = [profile.model, *profile.other_models]
        model = where.model or next((model for model in models if row.generator in (model, Path(model).name)), "")
        if model or not place.side:
            model = model or models[row.index % len(models)]
            alone = {} if model == profile.model else {"revision": "", "vae": ""}
            changes = {"model": model, **alone, **({"vae": where.vae} if where.vae else {})}
            return profile.model_copy(update=changes), True
    model = where.model or row.generator
    revision = row.generator_revision if hub.ID.fullmatch(model) and not Path(model).exists() else ""
    if row.adapter:
        raise ModelError(f"{row.image_id} was drawn with the adapter {row.adapter}: replay it from its run")
    return Profile.model_construct(model=model, revision=revision, vae=where.vae), False


def line(row: Image, found: Replayed) -> list[str]:
    """What came of an image in words: how near it is, and what is not as it was."""
    if found.identical:
        how = "byte-identical"
    elif found.largest is None:
        how = "differs: another size"
    elif found.largest == 0:
        how = "the same pixels; the bytes of the file differ"
    else:
        near = "pixels within" if found.is_near else "differs: by up to"
        how = f"{near} {found.largest}/255 ({100 * found.share:.2g} % of the values are not equal)"
    told = [f"{row.side} {row.image_id}: {how}"]
    if found.before != found.now:
        told += [f"  drawn with {found.before or 'what is not recorded'}", f"  here       {found.now}"]
    return told
