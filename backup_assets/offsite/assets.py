"""The copies as Dagster shows them: one asset for each database and further store."""

# No postponed annotations here: Dagster reads the types of the arguments when the function is decorated.

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from backup_assets.errors import BackupError, CheckFailed
from backup_assets.faults import failure_of, failure_or_retry
from backup_assets.local import place_of
from backup_assets.named_stores import address_of, configured_store, description_of, store_named
from backup_assets.offsite.copies import Copied, Kind, copy_slot
from backup_assets.offsite.encrypted_assets import build_encrypted, encrypted_asset_key
from backup_assets.progress import human_bytes
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.settings_stores import StoreSettings
from backup_assets.shown import OWNERS, reading_of_copy
from backup_assets.slots import Slots

ASSETS = {"s3": "s3_upload", "folder": "folder_copy", "ssh": "remote_copy"}
CROSS_COPY = "cross_region_copy"
CHECK = "stored"
_KINDS = {"s3": {"s3"}, "folder": {"file"}, "ssh": {"ssh"}}
_PAGES = {
    "s3_upload": "docs/off-site.md#a-bucket",
    "folder_copy": "docs/off-site.md#a-folder-an-external-disk-a-synced-directory",
    "remote_copy": "docs/off-site.md#another-host",
    CROSS_COPY: "docs/off-site.md#a-second-region-or-account",
}
_PROMISES = {
    "s3": "every object has the size and SHA-256 of its manifest, as the service itself computed it, and the "
    "encryption and key that are required",
    "folder": "every file was read back from the other disk and has the size and SHA-256 of its manifest",
    "ssh": "every file was hashed on that host, and has the size and SHA-256 of its manifest",
}
#: A network or a service that was away for a moment; whatever else fails is not tried again.
RETRIES = dg.RetryPolicy(max_retries=2, delay=30, backoff=dg.Backoff.EXPONENTIAL)
#: The same after 1, 3 and 7 minutes: most objects that a bucket replicates by itself arrive within a few.
CROSS_COPY_RETRIES = dg.RetryPolicy(max_retries=3, delay=60, backoff=dg.Backoff.EXPONENTIAL)


def copy_asset_name(settings: Settings, store: StoreSettings, kind: Kind = "full") -> str:
    """Return `s3_upload`, `folder_copy`, … or `cross_region_copy`, with the store's name where several are alike."""
    alike = [other for other in settings.stores if _base_name(other) == _base_name(store)]
    name = _base_name(store) + (f"_{store.name}" if len(alike) > 1 else "")
    return name if kind == "full" else f"{kind}_{name}"


def _base_name(store: StoreSettings) -> str:
    return CROSS_COPY if store.copied_from else ASSETS[store.kind]


def copy_asset_keys(database: DatabaseSettings, settings: Settings, kind: Kind = "full") -> list[list[str]]:
    """Return the keys of what follows a capture: the encryption, where there is one, and the copies."""
    encrypted = [encrypted_asset_key(database, kind)] if settings.encryption.encrypts else []
    return [*encrypted, *([database.name, copy_asset_name(settings, store, kind)] for store in settings.stores)]


def build_copies(
    database: DatabaseSettings, settings: Settings, slots: Slots, kind: Kind = "full"
) -> list[dg.AssetsDefinition]:
    """Return the encryption and the copies of one database's sets of a kind; none where nothing is configured."""
    encrypted = [build_encrypted(database, settings, slots, kind)] if settings.encryption.encrypts else []
    return encrypted + [_build_copy(database, settings, store, slots, kind) for store in settings.stores]


def _build_copy(
    database: DatabaseSettings, settings: Settings, store: StoreSettings, slots: Slots, kind: Kind
) -> dg.AssetsDefinition:
    name = copy_asset_name(settings, store, kind)
    key = dg.AssetKey([database.name, name])
    where = description_of(settings, store.name)
    spec = dg.AssetSpec(
        key,
        deps=[_upstream(database, settings, store, kind)],
        group_name=database.name,
        kinds=_KINDS[store.kind],
        owners=OWNERS,
        metadata=reading_of_copy(_PAGES[_base_name(store)], store, place_of(database, settings).root),
        description=f"Every set of the slot in {where}{_origin(store)}, with the sets that they require: artifacts "
        "first, the manifest last. What is there already is compared and not sent again, so that a backfill copies "
        "what is missing; a set that is only required, and was proven there before, may be listed without comparing.",
    )
    check = dg.AssetCheckSpec(
        CHECK,
        asset=key,
        description=f"In {where} {_PROMISES[store.kind]}. Where that is not so, the copy does not count; the set "
        "itself stays as it is.",
        blocking=True,
        partitions_def=slots.definition,
    )

    # No backfill policy: one run for each slot, because otherwise runs bear no partition of their own.
    @dg.multi_asset(
        name=f"{database.name}_{name}",
        specs=[spec],
        check_specs=[check],
        partitions_def=slots.definition,
        pool=f"store_{store.name}",
    )
    def copies(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        try:
            target = store_named(settings, store.name, writing=True)
            if store.copied_from:
                # boto3 costs a third of a second: only who works with a bucket pays it.
                from backup_assets.offsite.cross_copies import cross_copy_slot

                done = cross_copy_slot(database, settings, store, context.partition_key, kind, log=context.log.info)
            else:
                done = copy_slot(database, settings, target, context.partition_key, kind, log=context.log.info)
        except BackupError as error:
            retries = CROSS_COPY_RETRIES if store.copied_from else RETRIES
            raise failure_or_retry(context, error, retries) from None
        failed = [one for one in done if one.error is not None]
        result = dg.AssetCheckResult(
            passed=not failed,
            asset_key=key,
            check_name=CHECK,
            severity=dg.AssetCheckSeverity.ERROR,
            description=_summary(done, where),
            metadata={"set_count": len(done), "problem_count": len(failed)},
        )
        if failed:
            yield result
            raise failure_of(_error_of(failed, where))
        uri = address_of(target, place_of(database, settings).root)
        yield dg.MaterializeResult(asset_key=key, metadata=_figures(done, uri), check_results=[result])

    return copies


def _origin(store: StoreSettings) -> str:
    return f", copied from the store {store.copied_from}" if store.copied_from else ""


def _upstream(database: DatabaseSettings, settings: Settings, store: StoreSettings, kind: Kind) -> list[str]:
    if store.copied_from:
        return [database.name, copy_asset_name(settings, configured_store(settings, store.copied_from), kind)]
    if settings.encryption.encrypts:
        return encrypted_asset_key(database, kind)
    return [database.name, "metadata" if kind == "full" else kind]


def _error_of(failed: Sequence[Copied], where: str) -> BackupError:
    errors = [one.error for one in failed if one.error is not None]
    if len(errors) == 1:
        return errors[0]
    return CheckFailed(
        f"{len(errors)} sets could not be copied to {where}",
        why="; ".join(f"{error.what}: {error.why}" if error.why else error.what for error in errors),
        remedy="what could be copied was; see the check for each set",
    )


def _summary(done: Sequence[Copied], where: str) -> str:
    failed = [one for one in done if one.error is not None]
    if failed:
        lines = [f"{len(failed)} of {len(done)} sets are not in {where}"]
        return "\n\n".join([*lines, *(f"{one.set_id}: {one.error}" for one in failed)])
    by_state = Counter(one.state for one in done)
    sent = human_bytes(sum(one.sent_bytes for one in done))
    listed = f", {by_state['listed']} listed, not compared" if by_state["listed"] else ""
    present = f"{by_state['present']} there already and equal"
    return f"{len(done)} in {where}: {by_state['copied']} copied now ({sent}), {present}{listed}"


def _figures(done: Sequence[Copied], uri: str) -> dict[str, Any]:
    seconds = sum(one.seconds for one in done)
    sent = sum(one.sent_bytes for one in done)
    rows = ["| set | state | bytes | sent | seconds |", "|---|---|---:|---:|---:|"]
    rows += [
        f"| {one.set_id} | {one.state} | {one.size_bytes:,} | {one.sent_bytes:,} | {one.seconds:.1f} |" for one in done
    ]
    return {
        "size_bytes": sum(one.size_bytes for one in done),
        "sent_bytes": sent,
        "duration_seconds": round(seconds, 3),
        "throughput_bytes_per_second": int(sent / seconds) if sent and seconds else 0,
        "set_count": len(done),
        "copied_count": sum(one.state == "copied" for one in done),
        "listed_count": sum(one.state == "listed" for one in done),
        "address": uri,  # the next one is not among what the pages show
        "dagster/uri": uri,
        "sets": dg.MetadataValue.md("\n".join(rows)),
    }
