"""The asset check that counts: a set is restored on a scratch server and compared with its manifest."""

# No postponed annotations here: Dagster reads the types of the arguments when the function is decorated.

from collections.abc import Iterator
from typing import Any, Literal

import dagster as dg

from backup_assets.errors import CheckFailed, Refused
from backup_assets.faults import as_failure, failure_of
from backup_assets.local import local_store, place_of
from backup_assets.offsite.encrypted import remove_plain_files
from backup_assets.queueing import pool_of
from backup_assets.restore.verification import Proof, verify_set
from backup_assets.sets.backup_id import BackupId
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.catalog import Catalog
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.slots import Slots

DESCRIPTION = (
    "The set is restored on a scratch server, never the source, and compared with its manifest: exact counts, content "
    "hashes and the integrity queries, all taken in the dump's own snapshot. The record is stored beside the set. One "
    "that fails stays, marked as failed, and the run is red: take a backup now, and restore an older set if need be."
)
#: Steps of a run are taken in this order; a proof comes after every copy that waits for the same capture.
LAST = {"dagster/priority": "-10"}


def build_restored_check(
    database: DatabaseSettings, settings: Settings, slots: Slots, kind: Literal["full", "important_tables"]
) -> dg.AssetChecksDefinition:
    """Return the check `restored` on `db_dump` or `important_tables`, partitioned like the asset.

    In a run that captured a set it proves that set; on its own, every complete set of the slot. Any set that fails
    makes the check fail, and the run with it: nobody may overlook it.
    """
    asset, last = ("db_dump", "metadata") if kind == "full" else ("important_tables", "important_tables")
    spec = dg.AssetCheckSpec(
        "restored",
        asset=[database.name, asset],
        additional_deps=[] if last == asset else [[database.name, last]],
        description=DESCRIPTION,
        partitions_def=slots.definition,
    )

    @dg.multi_asset_check(
        name=f"{database.name}_{asset}_restored", specs=[spec], op_tags=LAST, pool=f"scratch_{pool_of(database)}"
    )
    def restored(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        with as_failure():
            chosen = sets_to_prove(database, settings, context.partition_key, context.run.run_id, kind)
            proofs = [
                verify_set(database, settings, local_store(settings), one, log=context.log.info) for one in chosen
            ]
            plain = remove_plain_files(database, settings, log=context.log.info)
        failed = [proof for proof in proofs if not proof.record.passed]
        yield dg.AssetCheckResult(
            passed=not failed,
            asset_key=[database.name, asset],
            check_name="restored",
            severity=dg.AssetCheckSeverity.ERROR,
            # A paragraph each: the UI takes it for Markdown, where a line's end is none.
            description="\n\n".join(_lines(proofs, failed)),
            metadata=_figures(proofs),
        )
        if failed:
            summary = "\n".join(_lines(proofs, failed))
            raise failure_of(CheckFailed(summary, remedy="use another set; look at the check's metadata"))
        damaged = plain.error()
        if damaged is not None:  # what was restored is good; the run is red all the same
            raise failure_of(damaged)

    return restored


def sets_to_prove(database: DatabaseSettings, settings: Settings, slot: str, run_id: str, kind: str) -> list[BackupSet]:
    """Return the set that this run captured, else every complete set of the slot; raises Refused without any."""
    catalog = Catalog(local_store(settings), place_of(database, settings))
    there = [one for one in catalog.sets() if one.manifest.slot == slot and one.manifest.kind == kind]
    run = run_id.replace("-", "")[:8]
    own = [one for one in there if BackupId.parse(one.id).run == run]
    found = own or [one for one in there if one.state == "complete"]
    if not found:
        raise Refused(
            f"the slot {slot} of {database.name} has no complete set to prove",
            why=f"{len(there)} incomplete ones are there" if there else "no manifest of that slot is there",
            remedy="capture a set first: a past slot without one stays empty",
        )
    return found


def _lines(proofs: list[Proof], failed: list[Proof]) -> list[str]:
    if not failed:
        return [f"{len(proofs)} restored and equal: " + ", ".join(proof.record.set_id for proof in proofs)]
    lines = [f"{len(failed)} of {len(proofs)} sets do not restore to what they should hold"]
    for proof in failed:
        shown = "; ".join(map(str, proof.record.problems[:5]))
        lines.append(f"{proof.record.set_id}: {shown}")
    return lines


def _figures(proofs: list[Proof]) -> dict[str, dg.MetadataValue[Any]]:
    rows = ["| set | passed | rows | tables | content | seconds |", "|---|---|---:|---:|---|---:|"]
    for proof in proofs:
        record = proof.record
        rows.append(
            f"| {record.set_id} | {'yes' if record.passed else 'NO'} | {proof.rows:,} | {proof.tables} | "
            f"{'compared' if record.content else 'not taken'} | {sum(record.durations.values()):.1f} |"
        )
    return {
        "duration_seconds": dg.MetadataValue.float(sum(sum(p.record.durations.values()) for p in proofs)),
        "restore_seconds": dg.MetadataValue.float(sum(p.record.durations.get("restore", 0.0) for p in proofs)),
        "set_count": dg.MetadataValue.int(len(proofs)),
        "problem_count": dg.MetadataValue.int(sum(len(p.record.problems) for p in proofs)),
        "row_count": dg.MetadataValue.int(sum(p.rows for p in proofs)),
        "sets": dg.MetadataValue.md("\n".join(rows)),
    }
