"""Two principles."""

from __future__ import annotations

from datagen.records import Principle, Written
from datagen.stages import Context, Shard, Stage


def run(context: Context, shard: Shard) -> Written[Principle]:
    rows = [
        Principle(f"p{i}", "prefer", "style", f"style {i}", "new {prompt}", "old {prompt}", "", "", "taxonomy:x", "")
        for i in range(2)
    ]
    return Written(rows)


STAGE = Stage("principles", Principle, run, whole=True)
