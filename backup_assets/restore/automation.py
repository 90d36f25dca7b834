"""The restore as a Dagster job: the same guard, the same steps, with the configuration explained in the launchpad."""

# No postponed annotations here: Dagster reads the types of the arguments when the function is decorated.

from pathlib import Path

import dagster as dg
from pydantic import Field

from backup_assets.faults import as_failure
from backup_assets.local import place_of
from backup_assets.moments import parse_time
from backup_assets.named_stores import LOCAL, catalog_in, store_named
from backup_assets.queueing import job_tags
from backup_assets.restore.restore import NotConfirmed, Restore, RestoreRequest
from backup_assets.settings import DatabaseSettings, Settings
from backup_assets.shown import OWNERS, reading


class RestoreConfig(dg.Config):
    """Which set is restored, and where to."""

    # Empty and not None: only what has a default is written into the launchpad, for a person to fill in. `into` has
    # none, because an empty name is no request to replace the live database.
    backup_set: str = Field(
        default="latest",
        description="latest, or the id of a set as set_id of the asset metadata shows it, or the beginning of an id.",
    )
    store: str = Field(default=LOCAL, description="The store that it comes from: local, or the name of another one.")
    at: str | None = Field(
        default="",
        description="With latest: the newest set that shows this time or an earlier one, for example "
        "2026-11-22T02:00+09:00. Empty: the newest of all.",
    )
    into: str | None = Field(
        default=None,
        description="Name of the restored database, for example erp4_copy. Left out: its own, and the live one is "
        "replaced.",
    )
    attachments_to: str | None = Field(
        default="",
        description="Directory for the attachments, which is replaced. Empty: their own, and none with into.",
    )
    with_attachments: bool = Field(default=True, description="Restore the attachments of the same set as well.")
    with_roles: bool = Field(default=True, description="Create roles that are missing; existing ones never change.")
    drop_old: bool = Field(
        default=False, description="Remove what was replaced; false: it is kept under another name until you drop it."
    )
    restore_confirm: int = Field(
        default=0, description="1 to go on. With 0 the run fails, changes nothing and says what would be replaced."
    )


#: Made once: where a function takes the class itself, Dagster makes it anew for each of hundreds of databases.
_RESTORE_CONFIG = RestoreConfig.to_fields_dict()
_PAGE = "docs/architecture.md#the-order-of-a-restore"
_EXPLAINED = """Guarded restore of `{database}`: the set is restored beside the live database, compared with its
manifest, and only then swapped in by renaming.

1. Launch it as it is: the run fails, changes nothing, and says what would be replaced.
2. Read that, choose *Open in Launchpad* on the page of the run, set `restore_confirm: 1`, and launch again.

To try a set out, name another database, `into: {name}_copy`: nothing live is touched, and its attachments are
restored only where `attachments_to` says. What was replaced stays under another name unless `drop_old` is `true`. In
the launchpad, point at a field to read what it means."""


def build_restore_job(database: DatabaseSettings, settings: Settings) -> dg.JobDefinition:
    """Return the job `<database>_restore_job`."""

    @dg.op(
        name=f"{database.name}_restore",
        config_schema=_RESTORE_CONFIG,
        description="Restore a set, compare it, and only then replace anything.",
    )
    def restore(context: dg.OpExecutionContext) -> None:
        config = RestoreConfig(**context.op_config)
        with as_failure():
            store = store_named(settings, config.store)
            catalog = catalog_in(store, place_of(database, settings))
            at = parse_time(config.at or None)
            chosen = catalog.resolve(config.backup_set, before=at)
            if config.backup_set == "latest":
                for sentence in catalog.passed_over(chosen, at):
                    context.log.warning(sentence)
            request = RestoreRequest(
                into=config.into,
                attachments_to=Path(config.attachments_to) if config.attachments_to else None,
                with_attachments=config.with_attachments,
                with_roles=config.with_roles,
                drop_old=config.drop_old,
                confirmed=config.restore_confirm == 1,
            )
            try:
                outcome = Restore(database, settings, store, chosen, request, log=context.log.info).run()
            except NotConfirmed as refused:
                raise NotConfirmed(
                    "nothing was changed: a restore needs restore_confirm: 1",
                    why=refused.why,
                    remedy="read the list above; to go on, choose Open in Launchpad above, set restore_confirm to 1 "
                    "and launch the run",
                ) from None
        context.log.info(
            f"restored {chosen.id}: {outcome.rows} rows in {outcome.tables} tables equal their manifest"
            + "".join(f"; kept: {item}" for item in outcome.kept)
        )

    @dg.job(
        name=f"{database.name}_restore_job",
        tags=job_tags("restore", database),
        owners=OWNERS,
        metadata=reading(_PAGE),
        description=_EXPLAINED.format(database=database.database, name=database.name),
    )
    def restore_job() -> None:
        restore()

    return restore_job
