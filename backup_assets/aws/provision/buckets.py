"""Which of the configured buckets are in AWS, and what has to be done to them?

They are in no stack: `stores/s3_bucket_plan.py` sets up one that is there already as well as a new one, and a stack
cannot take over what it did not make.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from backup_assets.aws.provision.lines import Applied, Line, State
from backup_assets.aws.scope import is_in_aws
from backup_assets.named_stores import store_named
from backup_assets.settings import Settings
from backup_assets.stores.s3 import S3Store
from backup_assets.stores.s3_bucket_plan import BucketPlan, LineState, apply_plan, plan_bucket

_STATES: dict[LineState, State] = {
    "as wanted": "as wanted",
    "to change": "to change",
    "left": "left",
    "unknown": "left",
    "not seen": "left",
}


@dataclass(frozen=True)
class StorePlan:
    """One store, and how its bucket is."""

    name: str
    bucket: BucketPlan

    @property
    def place(self) -> str:
        """What it is called in lines."""
        return f"store {self.name}"

    @property
    def lines(self) -> tuple[Line, ...]:
        """What is and what is wanted."""
        location = self.bucket.location
        found: list[Line] = []
        if not self.bucket.exists:
            wanted = f"a bucket in {location.region}" + (" with Object Lock" if location.object_lock else "")
            found.append(Line(self.place, f"bucket {location.bucket}", "to change", "none", wanted, "created"))
        for one in self.bucket.lines:
            how = "as `backup-assets bucket apply` does" if one.state == "to change" else one.remedy
            # What has to be there from the beginning, such as Object Lock, is when the bucket is created.
            state = "to change" if one.state == "left" and not self.bucket.exists else _STATES[one.state]
            found.append(Line(self.place, one.name, state, one.found, one.wanted, how))
        return tuple(found)


def plan_stores(settings: Settings) -> Iterator[StorePlan]:
    """Yield how the bucket of every store in AWS is; reads only. Raises EnvironmentFault when one does not answer."""
    for configured in settings.stores:
        stand_in = configured.endpoint_url is not None and configured.endpoint_url == settings.aws.endpoint_url
        if configured.kind != "s3" or not (stand_in or is_in_aws(configured)):
            continue
        store = store_named(settings, configured.name)
        if isinstance(store, S3Store):  # as every store of that kind is
            profile = settings.aws.apply_profile
            location = replace(store.location, profile=profile) if profile else store.location
            yield StorePlan(configured.name, plan_bucket(location))


def apply_store(plan: StorePlan) -> Iterator[Applied]:
    """Create the bucket if there is none, change what differs, and yield what became of each property."""
    for one in apply_plan(plan.bucket, create=True):
        yield Applied(plan.place, f"{one.name} {one.text}", one.error)
