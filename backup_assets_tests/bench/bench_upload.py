"""How fast does a store put a large file into a bucket, against boto3 alone?"""

from __future__ import annotations

from pathlib import Path

from boto3.s3.transfer import TransferConfig

from backup_assets.files import sha256_of
from backup_assets.stores.s3 import S3Store
from backup_assets.stores.s3_location import client_of
from backup_assets_tests.bench.chain import Site
from backup_assets_tests.bench.databases import seconds

RAW = "boto3 upload_file"
OURS = "store put"
#: Of the file that is stored both ways.
FILE_BYTES = 500_000_000
#: step, what it is compared with, and the goal for the ratio of the speeds, so that of the times is its inverse.
RATIOS = ((RAW, OURS, "at least 0.8"),)


def upload_seconds(site: Site, source: Path) -> dict[str, float]:
    """Return the seconds of storing one file both ways: same parts, same number at a time, same encryption there.

    Only the store hashes the file, has the server compare every part with its SHA-256, and asks for what is stored.
    """
    bucket = site.server.bucket()
    try:
        store = S3Store(site.server.location(bucket), "bench")
        location = store.location
        client = client_of(location)
        raw = TransferConfig(
            multipart_threshold=location.part_bytes,
            multipart_chunksize=location.part_bytes,
            max_concurrency=location.parallel_parts,
        )
        sha256, size = sha256_of(source), source.stat().st_size
        return {
            RAW: seconds(
                lambda: client.upload_file(str(source), bucket, "raw", ExtraArgs=location.encryption(), Config=raw)
            ),
            OURS: seconds(lambda: store.put("db/ours", source, sha256=sha256, size=size)),
        }
    finally:
        site.remove(bucket)
