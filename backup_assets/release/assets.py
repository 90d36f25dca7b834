"""The backup before a release as Dagster shows it: the asset that vouches for it, and its job."""

# No postponed annotations here: Dagster reads the types of the arguments when the function is decorated.

from collections.abc import Sequence
from typing import Any

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from backup_assets.capture.automation import capture_selection
from backup_assets.database_jobs import define_database_job
from backup_assets.faults import as_failure
from backup_assets.queueing import job_tags
from backup_assets.release.proving import prove_release
from backup_assets.sets.backup_id import BackupId
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.shown import OWNERS, reading
from backup_assets.slots import Slots

ASSET = "release"
#: Steps of a run are taken in this order: vouching comes after the proof (`LAST` in restore/checks.py).
_AFTER_THE_PROOF = {"dagster/priority": "-20"}


def release_job_name(database: DatabaseSettings) -> str:
    """Return `<database>_release_backup_job`."""
    return f"{database.name}_release_backup_job"


def build_release(
    database: DatabaseSettings, settings: Settings, slots: Slots, copies: Sequence[Sequence[str]]
) -> dg.AssetsDefinition:
    """Return the asset `release`: a set that was captured, copied everywhere, proven and held in one run."""
    key = dg.AssetKey([database.name, ASSET])
    spec = dg.AssetSpec(
        key,
        deps=[[database.name, "metadata"], *copies],
        group_name=database.name,
        kinds={"json"},
        owners=OWNERS,
        metadata=reading("docs/schedules.md#before-a-release"),
        description="A set that a release relies on: whole in every store, every row of it restored on trial and "
        "compared, and held for 90 days unless another end was given.",
    )

    @dg.multi_asset(
        name=f"{database.name}_{ASSET}", specs=[spec], partitions_def=slots.definition, op_tags=_AFTER_THE_PROOF
    )
    def release(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        run = BackupId.make("2000-01-01", slots.window(context.partition_key)[0], context.run.run_id).run
        with as_failure():
            done = prove_release(database, settings, run, log=context.log.info)
        manifest = done.set.manifest
        metadata: dict[str, Any] = {
            "set_id": done.set.id,
            "label": manifest.label or "",
            "taken_at": dg.MetadataValue.timestamp(done.set.taken_at),
            "dagster/row_count": manifest.fingerprints.total_rows,
            "size_bytes": manifest.size_bytes,
            "stores": ", ".join(done.stores),
            "held_for": done.hold.reason,
            "words": done.words,
        }
        if done.hold.until is not None:
            metadata["held_until"] = dg.MetadataValue.timestamp(done.hold.until)
        context.log.info(done.words)
        return dg.MaterializeResult(asset_key=key, metadata=metadata)

    return release


def build_release_job(database: DatabaseSettings, copies: Sequence[Sequence[str]]) -> UnresolvedAssetJobDefinition:
    """Return the job `<database>_release_backup_job`, with what the launchpad shows first."""
    return define_database_job(
        database.name,
        release_job_name(database),
        selection=capture_selection(database, *copies, [database.name, ASSET]),
        page="docs/schedules.md#before-a-release",
        tags=job_tags("release", database),
        # Where `hold` is left out, the set is held for 90 days in the name of the label.
        config={"ops": {f"{database.name}_capture": {"config": {"label": "unnamed", "content_hashes": "ALWAYS"}}}},
        description=f"Before a schema change or a release of `{database.database}`: take a set, copy it to every "
        "store, restore and compare every row, and hold it. Green only when all of that is done. The last line of the "
        "log, and `words` of the asset `release`, is for the release's record. Name the release in `label`; `hold` and "
        "`hold_until` say why and until when it is kept (left out: 90 days).",
    )
