"""How do a daemon and its runs wait for seconds where they would for minutes? By importing this first."""

from __future__ import annotations

import multiprocessing
from functools import cache

import dagster as dg
from alembic.config import Config
from alembic.script import ScriptDirectory
from dagster._core.storage import sql
from dagster._daemon import sensor as sensors
from dagster._scheduler import scheduler as schedules

from backup_assets.capture import assets as captures
from backup_assets.offsite import assets as copies
from backup_assets.watch import facts

#: What a run has loaded when it begins. It then begins in half a second instead of four.
PRELOADED = [
    "dagster._grpc.server",
    "dagster._core.execution.api",
    "dagster._core.storage.sqlite_storage",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._core.run_coordinator",
    "dagster._core.storage.runs.sqlite",
    "dagster._core.storage.event_log.sqlite",
    "dagster._core.storage.schedules.sqlite",
    "sqlalchemy.dialects.sqlite",
    "backup_assets.definitions",
    __name__,
]
TRIED_AGAIN_AFTER_SECONDS = 0.2

read_scripts = ScriptDirectory.from_config


@cache
def scripts_in(location: str) -> ScriptDirectory:
    """Return the migrations of Dagster's storage: a hundred files, which every process reads for every database."""
    config = Config()
    config.set_main_option("script_location", location)
    return read_scripts(config)


# Every minute, and every five seconds.
schedules._get_next_scheduler_iteration_time = lambda start_time: start_time + 0.5
sensors.MIN_INTERVAL_LOOP_TIME = 1
ScriptDirectory.from_config = lambda config: scripts_in(config.get_main_option("script_location") or "")  # type: ignore[assignment]
scripts_in(sql.ALEMBIC_SCRIPTS_LOCATION).as_revision_number("head")
facts.LOOKED_AT_EVERY_SECONDS = 0.5
captures.RETRIES = dg.RetryPolicy(max_retries=captures.RETRIES.max_retries, delay=TRIED_AGAIN_AFTER_SECONDS)
copies.RETRIES = dg.RetryPolicy(max_retries=copies.RETRIES.max_retries, delay=TRIED_AGAIN_AFTER_SECONDS)


def fork_runs() -> None:
    """Let runs begin as copies of one process that has loaded everything, and not in interpreters of their own."""
    context_of = multiprocessing.get_context

    def get_context(method: str | None = None) -> object:
        return context_of("forkserver" if method == "spawn" else method)

    multiprocessing.get_context = get_context  # type: ignore[assignment]
    multiprocessing.set_forkserver_preload(PRELOADED)
