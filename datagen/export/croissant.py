"""The dataset as Parquet with its card and croissant.json, which tells machines what is in it.

After Croissant 1.1 and its part on responsible AI; a record set is a file, since a file set needs an archive.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from datagen.export import Finished, huggingface
from datagen.export.card import words
from datagen.export.card.columns import COLUMNS, schema
from datagen.export.parts import files, readme
from datagen.recipe import FOUND

ABOUT = readme.About(
    __name__,
    "`mlcroissant`, dataset search",
    "`data/*.parquet`, the card, and `croissant.json` beside them",
    'mlcroissant.Dataset("FOLDER/croissant.json").records("train-00000-of-00001")',
)
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
FILE = "croissant.json"


def export(finished: Finished, folder: Path) -> None:
    """Write the dataset, then the metadata that name its files with their digests."""
    huggingface.export(finished, folder)
    made = json.dumps(_metadata(finished, folder), indent=2, ensure_ascii=False)
    files.put(folder / FILE, made.encode())


def stamp(folder: Path) -> str | None:
    """As of the dataset, where the metadata are there."""
    return huggingface.stamp(folder) if (folder / FILE).is_file() else None


def _metadata(finished: Finished, folder: Path) -> dict[str, Any]:
    recipe, profile = finished.recipe, finished.profile
    tables = sorted(folder.glob("data/*.parquet"), key=lambda path: (path.name.startswith("test"), path.name))
    drawn = "Found, not drawn here." if profile.model == FOUND else f"Drawn by {profile.model} from written prompts."
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": recipe.name,
        "description": recipe.description or f"Pairs of images by the recipe {recipe.name}.",
        "license": recipe.license_of(profile),
        "version": "1.0.0",
        "citeAs": f"{recipe.name}, made by datagen, content {finished.content}",
        "rai:dataCollection": f"{drawn} {finished.mark.says}",
        "rai:dataAnnotationProtocol": "Labelled by models and not by people: "
        + ", ".join(judge.name for judge in profile.judges)
        + "; `probability` says how sure they are of the label.",
        "rai:dataBiases": "Judges share errors, above all those that see with one network; counts by category are "
        "those of the recipe.",
        "rai:personalSensitiveInformation": "None known: prompts are written by a grammar or a language model.",
        "rai:dataSocialImpact": " ".join(words.HARM.split()),
        "distribution": [_file(path, folder) for path in tables],
        "recordSet": [_records(path) for path in tables],
    }


def _file(path: Path, folder: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "@type": "cr:FileObject",
        "@id": path.name,
        "name": path.name,
        "contentUrl": path.relative_to(folder).as_posix(),
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": "application/x-parquet",
        "sha256": digest,
    }


def _records(table: Path) -> dict[str, Any]:
    """The rows of one file."""
    name = table.stem
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "field": [_field(f, table) for f in schema()]}


def _field(field: pa.Field, table: Path) -> dict[str, Any]:
    extract: dict[str, Any] = {"column": field.name}
    source: dict[str, Any] = {"fileObject": {"@id": table.name}, "extract": extract}
    if pa.types.is_struct(field.type):
        source["transform"] = {"jsonPath": "bytes"}
    return {
        "@type": "cr:Field",
        "@id": f"{table.stem}/{field.name}",
        "name": field.name,
        "description": COLUMNS[field.name],
        "dataType": _type(field.type),
        "source": source,
    }


def _type(kind: pa.DataType) -> str:
    if pa.types.is_struct(kind):
        return "sc:ImageObject"
    if pa.types.is_floating(kind):
        return "sc:Float"
    return "sc:Integer" if pa.types.is_integer(kind) else "sc:Text"
