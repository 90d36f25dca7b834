"""What do Dagster's pages show of everything that is defined here: whose it is, and where to read on?"""

# Every object is made once and shared: what is defined for hundreds of databases must load in seconds.

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

import dagster as dg

from backup_assets.settings_aws import AwsSettings, RdsSettings
from backup_assets.settings_stores import StoreSettings

OWNERS = ["team:operations"]
DOCUMENTATION = "documentation"
CONSOLE = "console"
#: Regions whose console is the one at console.aws.amazon.com; China and GovCloud have their own.
_ELSEWHERE = ("cn-", "us-gov-", "us-iso")

Metadata = Mapping[str, dg.MetadataValue[Any]]


@lru_cache(maxsize=256)
def reading(page: str) -> Metadata:
    """Return the metadata that names a page of the documentation, such as ``docs/drill.md#the-report``."""
    return {DOCUMENTATION: dg.MetadataValue.text(page)}


def reading_of_copy(page: str, store: StoreSettings, prefix: str) -> Metadata:
    """Return the metadata of a copy: the page to read, and the page of AWS's console where the copies are there."""
    url = bucket_console(store, prefix)
    return {**reading(page), CONSOLE: dg.MetadataValue.url(url)} if url else reading(page)


def bucket_console(store: StoreSettings, prefix: str) -> str | None:
    """Return the page of a bucket in AWS's console, at what is kept below ``prefix``; None for what is not in AWS."""
    if store.kind != "s3" or store.endpoint_url or store.embedded or store.region.startswith(_ELSEWHERE):
        return None
    below = "/".join(part for part in (store.prefix.strip("/"), prefix) if part) + "/"
    asked = urlencode({"region": store.region, "prefix": below}, safe="/")
    return f"https://console.aws.amazon.com/s3/buckets/{store.bucket}?{asked}"


def rds_console(rds: RdsSettings, aws: AwsSettings) -> Metadata:
    """Return the page of an instance or cluster in AWS's console; nothing for one whose console is elsewhere."""
    if aws.endpoint_url or aws.region.startswith(_ELSEWHERE):
        return {}
    kind = "true" if rds.cluster else "false"
    at = f"https://{aws.region}.console.aws.amazon.com/rds/home?region={aws.region}"
    return {CONSOLE: dg.MetadataValue.url(f"{at}#database:id={rds.identifier};is-cluster={kind}")}
