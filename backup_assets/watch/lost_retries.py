"""Which killed runs were to be begun again and were not, and are they asked for once more?"""

from __future__ import annotations

from datetime import datetime, timedelta

import dagster as dg
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, WILL_RETRY_TAG

from backup_assets.watch.runs import STORAGE_ERRORS, unreadable

#: The daemon looks for failed runs every five seconds.
WAITED_FOR = timedelta(minutes=1)
#: An older one has been told, and a later slot may have its set by now.
OLDEST = timedelta(hours=1)
#: The tag of a run whose failure was reported once more: it is done once only.
ASKED = "backup_assets/retry_asked"
OVERLOOKED = "was to be begun again and was not: its failure is reported once more"


def ask_again(instance: dg.DagsterInstance, now: datetime) -> tuple[str, ...]:
    """Report once more the failure of the runs that Dagster has overlooked, and return their ids.

    Dagster 1.13 stores the event that a run has failed, then the run's state, then the tag that it is to be begun
    again. The thread of its daemon that does so (`EventLogConsumerDaemon`) goes by the event, reads the run, and never
    comes back to an event: before the last of the three it finds a run that is at work, and forgets it. After a power
    loss both threads begin at the same moment, and that is when it was seen to happen.

    Reporting a failure again is safe: what has been begun again is not begun twice. Raises EnvironmentFault when
    Dagster's storage cannot be read or written.
    """
    try:
        records = instance.get_run_records(
            dg.RunsFilter(
                statuses=[dg.DagsterRunStatus.FAILURE],
                tags={WILL_RETRY_TAG: "true"},
                updated_after=now - OLDEST,
                updated_before=now - WAITED_FOR,
            ),
        )
        lost = [
            run
            for run in (record.dagster_run for record in records)
            if AUTO_RETRY_RUN_ID_TAG not in run.tags and ASKED not in run.tags
        ]
        for run in lost:
            # First, so that it is not done every minute where nothing comes of it: a backfill that was ended, say.
            instance.add_run_tags(run.run_id, {ASKED: now.isoformat()})
            instance.report_run_failed(run, f"it {OVERLOOKED}")
    except STORAGE_ERRORS as error:
        raise unreadable(error) from error
    return tuple(run.run_id for run in lost)
