"""Which assets and quick checks does the capture of a database have?"""

from __future__ import annotations

import dagster as dg

from backup_assets.settings import DatabaseSettings
from backup_assets.shown import OWNERS, reading
from backup_assets.slots import Slots

#: What each quick check proves, and whether a set is committed without it.
QUICK_CHECKS: dict[str, tuple[str, str, bool]] = {
    "readable": (
        "db_dump",
        "The whole archive is read to its end, not only its table of contents. Where that fails there is no set.",
        True,
    ),
    "roles_present": (
        "globals",
        "Every role that owns or may use something in the database is there. Where one is missing there is no set.",
        True,
    ),
    "matches_index": (
        "pdf_archive",
        "Every archived file equals its line in the index, content included. Where one does not there is no set.",
        True,
    ),
    "rows_and_files_agree": (
        "pdf_archive",
        "Every file that a row of the database names is archived. One that the source lacks is told; the set is taken.",
        False,
    ),
    "encrypted": (
        "secrets",
        "The file is one whole encrypted message to exactly the recipients. Where it is not there is no set.",
        True,
    ),
}


def external_assets(database: DatabaseSettings) -> list[dg.AssetSpec]:
    """Return what is backed up, as Dagster shows it upstream of everything."""
    name = database.name
    specs = [
        dg.AssetSpec(
            [name, "postgres"],
            group_name=name,
            kinds={"postgres"},
            owners=OWNERS,
            metadata=reading("docs/architecture.md"),
            description=f"The live database `{database.database}`. It is only read.",
        )
    ]
    if database.attachments is not None:
        specs.append(
            dg.AssetSpec(
                [name, "attachments"],
                group_name=name,
                kinds={"file"},
                owners=OWNERS,
                metadata=reading("docs/architecture.md"),
                description=f"The live folder `{database.attachments.directory}`. It is only read.",
            )
        )
    if database.secrets is not None:
        secrets = database.secrets
        names = [*map(str, secrets.files), *secrets.secrets_manager, *secrets.ssm_parameters]
        specs.append(
            dg.AssetSpec(
                [name, "environment"],
                group_name=name,
                kinds={"file"} if not (secrets.secrets_manager or secrets.ssm_parameters) else {"file", "aws"},
                owners=OWNERS,
                metadata=reading("docs/secrets.md"),
                description="The live settings and secrets: "
                + ", ".join(f"`{one}`" for one in names)
                + ". They are only read, and shown nowhere.",
            )
        )
    return specs


def capture_specs(database: DatabaseSettings) -> list[dg.AssetSpec]:
    """Return the assets of one capture, in the order in which they come about."""
    name = database.name

    def spec(asset: str, deps: list[str], kinds: set[str], description: str) -> dg.AssetSpec:
        return dg.AssetSpec(
            [name, asset],
            deps=[[name, dep] for dep in deps],
            group_name=name,
            kinds=kinds,
            owners=OWNERS,
            metadata=reading("docs/secrets.md" if asset == "secrets" else "docs/architecture.md"),
            description=description,
        )

    specs = [
        spec(
            "db_dump",
            ["postgres"],
            {"postgres", "zstandard"},
            "`pg_dump --create` of one exported snapshot, with exact counts, content hashes and the integrity queries "
            "taken in that same snapshot. Restores with stock `pg_restore`.",
        ),
        spec(
            "globals",
            ["postgres"],
            {"postgres", "sql"},
            "`pg_dumpall --globals-only`: roles, their settings and memberships. Restores with stock `psql`.",
        ),
    ]
    parts = ["db_dump", "globals"]
    if database.attachments is not None:
        specs.append(
            spec(
                "pdf_archive",
                # After the snapshot, so that every file which a row names is there.
                ["attachments", "db_dump"],
                {"file", "zstandard"},
                "The attachments as `tar.zst` with an index of path, size, time and SHA-256: in full every "
                f"{database.attachments.full_every_days} days, between as a differential against the last full.",
            )
        )
        parts.append("pdf_archive")
    if database.secrets is not None:
        specs.append(
            spec(
                "secrets",
                ["environment"],
                {"file"},
                "Settings and secrets as one archive that was encrypted before it touched a disk. Opens with stock "
                "`gpg` or `age`, and `tar`.",
            )
        )
        parts.append("secrets")
    specs.append(
        spec(
            "metadata",
            parts,
            {"json"},
            "The manifest, written last: the commit point of the set. A set without one does not exist.",
        )
    )
    return specs


def check_specs(database: DatabaseSettings, slots: Slots) -> list[dg.AssetCheckSpec]:
    """Return the quick checks of one capture."""
    return [
        dg.AssetCheckSpec(
            check,
            asset=[database.name, asset],
            description=description,
            blocking=blocking,
            partitions_def=slots.definition,
        )
        for check, (asset, description, blocking) in QUICK_CHECKS.items()
        if _applies(check, database)
    ]


def _applies(check: str, database: DatabaseSettings) -> bool:
    if check == "rows_and_files_agree":
        return database.attachments is not None and bool(database.attachments.files)
    if check == "encrypted":
        return database.secrets is not None
    return check != "matches_index" or database.attachments is not None
