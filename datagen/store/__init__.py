"""A run directory: one Parquet file per shard and stage, and nothing that could disagree with it.

A shard is written under a temporary name, synced and renamed, so the file's existence is the only progress marker;
counts, seconds and digests stand in its footer (`seal.py`). One process at a time writes a run, or several that do a
share of its shards each: they hold locks, which name them and end with them (`lock.py`, `lease.py`). How any file is
written is in `files.py`, what is published in `sums.py`; where files lie, in a folder or on an object store, in
`places.py`.
"""

from datagen.store.files import (
    FILE_GROUPS,
    GROUP_BYTES,
    ROW_GROUP,
    TEMPORARY,
    names,
    parquet_writer,
    remove,
    row_groups,
    sync_folder,
    together,
    write_file,
    writing,
)
from datagen.store.index import Footers, footers
from datagen.store.lease import Lease
from datagen.store.lock import Held, Share, check, hold, hold_share, holder, write_settings
from datagen.store.places import copy_of
from datagen.store.run import Damaged, Footer, Run, content_hash

__all__ = [
    "FILE_GROUPS",
    "GROUP_BYTES",
    "ROW_GROUP",
    "TEMPORARY",
    "Damaged",
    "Footer",
    "Footers",
    "Held",
    "Lease",
    "Run",
    "Share",
    "check",
    "content_hash",
    "copy_of",
    "footers",
    "hold",
    "hold_share",
    "holder",
    "names",
    "parquet_writer",
    "remove",
    "row_groups",
    "sync_folder",
    "together",
    "write_file",
    "write_settings",
    "writing",
]
