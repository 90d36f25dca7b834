"""The encryption as Dagster shows it: one asset for each database, upstream of every copy."""

# No postponed annotations here: Dagster reads the types of the arguments when the function is decorated.

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from backup_assets.errors import CheckFailed
from backup_assets.faults import as_failure, failure_of
from backup_assets.offsite.copies import Kind, sets_of_slot
from backup_assets.offsite.encrypted import EncryptedSet, encrypt_sets, remove_plain_files
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.shown import OWNERS, reading
from backup_assets.slots import Slots

CHECK = "encrypted_whole"


def encrypted_asset_key(database: DatabaseSettings, kind: Kind = "full") -> list[str]:
    """Return the key of the asset that encrypts the sets of a kind."""
    return [database.name, "encrypted" if kind == "full" else f"{kind}_encrypted"]


def build_encrypted(
    database: DatabaseSettings, settings: Settings, slots: Slots, kind: Kind = "full"
) -> dg.AssetsDefinition:
    """Return the asset that encrypts every set of a slot to the configured recipients."""
    key = dg.AssetKey(encrypted_asset_key(database, kind))
    encryption = settings.encryption
    to = ", ".join(encryption.recipients)
    spec = dg.AssetSpec(
        key,
        deps=[[database.name, "metadata" if kind == "full" else kind]],
        group_name=database.name,
        kinds={encryption.cipher},
        owners=OWNERS,
        metadata=reading("docs/off-site.md#encryption"),
        description=f"Every file of every set of the slot, encrypted to {to}. Only this leaves the host. "
        + (
            "The plain files are kept."
            if encryption.keep_plain
            else "The plain files are removed once the set is proven by a restore."
        ),
    )
    check = dg.AssetCheckSpec(
        CHECK,
        asset=key,
        description="Every file is one complete encrypted message to exactly the recipients, made from the bytes that "
        "the manifest names. Where one is not, nothing is copied.",
        blocking=True,
        partitions_def=slots.definition,
    )

    # No backfill policy: one run for each slot, because otherwise runs bear no partition of their own.
    @dg.multi_asset(
        name=f"{database.name}_{key.path[-1]}",
        specs=[spec],
        check_specs=[check],
        partitions_def=slots.definition,
        pool=f"encryption_{database.name}",
    )
    def encrypted(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        with as_failure():
            wanted = sets_of_slot(database, settings, context.partition_key, kind)
            done = encrypt_sets(database, settings, wanted, log=context.log.info)
            plain = remove_plain_files(database, settings, log=context.log.info)
        done = [_with_damage(one, plain.damaged) for one in done]
        failed = [one for one in done if one.error is not None]
        result = dg.AssetCheckResult(
            passed=not failed,
            asset_key=key,
            check_name=CHECK,
            severity=dg.AssetCheckSeverity.ERROR,
            description="\n\n".join(map(str, done)),
            metadata={"set_count": len(done), "problem_count": len(failed)},
        )
        if failed:
            yield result
            raise failure_of(_error_of(failed))
        metadata = {**_figures(done), "recipients": to, "freed_bytes": plain.freed_bytes}
        yield dg.MaterializeResult(asset_key=key, metadata=metadata, check_results=[result])

    return encrypted


def _with_damage(one: EncryptedSet, damaged: Mapping[str, CheckFailed]) -> EncryptedSet:
    """Return what became of a set of this slot, failed where its encrypted files turned out to be damaged.

    That of other slots holds up no copy of this one: the check `restored`, which comes after the copies, is red for it.
    """
    error = damaged.get(one.set_id) if one.error is None else None
    return one if error is None else EncryptedSet(one.set_id, error=error)


def _error_of(failed: Sequence[EncryptedSet]) -> CheckFailed:
    errors = [one.error for one in failed if one.error is not None]
    return CheckFailed(
        f"{len(errors)} sets are not encrypted whole",
        why="; ".join(f"{error.what}: {error.why}" if error.why else error.what for error in errors),
        remedy=errors[0].remedy,
    )


def _figures(done: Sequence[EncryptedSet]) -> dict[str, Any]:
    made = [one.record for one in done if one.record is not None and one.now]
    seconds = sum(record.seconds for record in made)
    plain = sum(file.size_bytes for record in made for file in record.files)
    rows = ["| file | bytes | SHA-256 | encrypted bytes | SHA-256 |", "|---|---:|---|---:|---|"]
    rows += [
        f"| {file.name} | {file.size_bytes:,} | {file.sha256[:16]}… | {file.encrypted_size_bytes:,} | "
        f"{file.encrypted_sha256[:16]}… |"
        for one in done
        if one.record is not None
        for file in one.record.files
    ]
    return {
        "size_bytes": sum(one.size_bytes for one in done),
        "duration_seconds": round(seconds, 3),
        "throughput_bytes_per_second": int(plain / seconds) if seconds else 0,
        "set_count": len(done),
        "files": dg.MetadataValue.md("\n".join(rows)),
    }
