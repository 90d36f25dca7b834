"""The restore as a Dagster job: the same guard, the same steps, with the configuration explained in the launchpad."""

# No postponed annotations here: Dagster reads the types of the arguments when the function is decorated.

from pathlib import Path

import dagster as dg
from pydantic import Field

from backup_assets.capture.capture import place_of
from backup_assets.faults import as_failure
from backup_assets.moments import parse_time
from backup_assets.named_stores import LOCAL, catalog_in, store_named
from backup_assets.queueing import job_tags
from backup_assets.restore.restore import Restore, RestoreRequest
from backup_assets.settings import DatabaseSettings, Settings


class RestoreConfig(dg.Config):
    """Which set is restored, and where to."""

    backup_set: str = Field(default="latest", description="`latest`, or the id of a set, or the beginning of one.")
    store: str = Field(default=LOCAL, description="The store that it comes from: `local`, or a configured one.")
    at: str | None = Field(default=None, description="Restore the newest set that shows this time or an earlier one.")
    into: str | None = Field(
        default=None, description="Name of the restored database. Left out: its own, and the live one is replaced."
    )
    attachments_to: str | None = Field(default=None, description="Directory for the attachments; left out: their own.")
    with_attachments: bool = True
    with_roles: bool = Field(default=True, description="Create roles that are missing; existing ones never change.")
    drop_old: bool = Field(default=False, description="Remove what was replaced instead of keeping it.")
    restore_confirm: int = Field(
        default=0, description="1 to go on. With 0 the run fails, changes nothing and says what would be replaced."
    )


#: Made once: where a function takes the class itself, Dagster makes it anew for each of hundreds of databases.
_RESTORE_CONFIG = RestoreConfig.to_fields_dict()


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
            at = parse_time(config.at)
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
            outcome = Restore(database, settings, store, chosen, request, log=context.log.info).run()
        context.log.info(
            f"restored {chosen.id}: {outcome.rows} rows in {outcome.tables} tables equal their manifest"
            + "".join(f"; kept: {item}" for item in outcome.kept)
        )

    @dg.job(
        name=f"{database.name}_restore_job",
        tags=job_tags("restore", database),
        description=f"Guarded restore of `{database.database}`. Everything is proven before anything is replaced.",
    )
    def restore_job() -> None:
        restore()

    return restore_job
