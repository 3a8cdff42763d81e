"""Label Studio's tasks with what the judges think, a labelling page for two images, and the pictures.

Answers come back by `datagen relabel RUN --people FILE`, which reads Label Studio's own export.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from datagen.export import Finished
from datagen.export.parts import files, readme
from datagen.export.parts.pairs import SIDES, Pairs, in_order

ABOUT = readme.About(
    __name__,
    "Label Studio (local files: LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true, "
    "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT=FOLDER)",
    "`tasks/*.json` (1,000 tasks each), `config.xml`, `images/`; which image is on the left follows from the id of "
    "the pair, and the prediction holds the label of the run with its probability",
    'tasks = [task for path in sorted(Path("FOLDER/tasks").glob("*.json")) for task in json.loads(path.read_text())]',
)
CONFIG = """\
<View>
  <Header value="Which image is better for this prompt?"/>
  <Text name="prompt" value="$prompt"/>
  <Pairwise name="pw" toName="a,b" leftClass="left" rightClass="right"/>
  <View style="display: flex"><Image name="a" value="$image_a"/><Image name="b" value="$image_b"/></View>
  <Choices name="none" toName="a" choice="single"><Choice value="tie"/><Choice value="both bad"/></Choices>
</View>
"""
TASKS = 1_000  # a file
LOCAL = "/data/local-files/?d="  # how Label Studio names files of its document root
stamp = ABOUT.stamp


def export(finished: Finished, folder: Path) -> None:
    """Write tasks of both splits and the pictures."""
    pairs = Pairs(finished, ["prompt", "principle", *SIDES], ties=True)
    files.put(folder / "config.xml", CONFIG.encode())
    (folder / "tasks").mkdir()
    rows = iter(pairs)
    for number in itertools.count():
        if (first := next(rows, None)) is None:
            break
        with files.Array(folder / "tasks" / f"{number:05d}.json") as out:
            for row in itertools.chain([first], itertools.islice(rows, TASKS - 1)):
                out.add(_task(finished, folder, row))
    readme.write(finished, folder, ABOUT, pairs.kept, pairs.left)


def _task(finished: Finished, folder: Path, row: dict[str, Any]) -> dict[str, Any]:
    (first, second), wins = in_order(row)
    data = {
        "pair_id": row["pair_id"],
        "prompt": row["prompt"],
        "principle": row["principle"],
        "image_a": LOCAL + files.put_picture(folder, row[first]),
        "image_b": LOCAL + files.put_picture(folder, row[second]),
    }
    selected = {
        "type": "pairwise",
        "from_name": "pw",
        "to_name": "a",
        "value": {"selected": "left" if wins else "right"},
    }
    made = {"model_version": f"datagen {finished.content}", "score": row["probability"], "result": [selected]}
    return {"data": data, "predictions": [made]}
