"""One door to object stores: addresses such as s3://bucket/runs/one, and the few requests that are made of them.

A leaf, which training reads datasets through as well. It needs `obstore`, which is imported when a bucket is opened.
"""

from datagen.objects.address import SCHEMES, Address, is_address, parse
from datagen.objects.bucket import Bucket, Entry, opened
from datagen.objects.copies import cache, dataset, fetched

__all__ = ["SCHEMES", "Address", "Bucket", "Entry", "cache", "dataset", "fetched", "is_address", "opened", "parse"]
