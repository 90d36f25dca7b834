"""How do a daemon and its runs that speak with AWS wait for seconds where they would for minutes?"""

from __future__ import annotations

import dagster as dg

from backup_assets.aws import access
from backup_assets.aws.rds import assets as snapshots
from backup_assets.aws.rds.drill import assets as drills
from backup_assets_tests.end_to_end import hurried
from backup_assets_tests.end_to_end.hurried import fork_runs

__all__ = ["fork_runs"]

#: boto3 takes a third of a second to import.
hurried.PRELOADED += ["boto3", "backup_assets.aws.rds.drill.drill", __name__]
_SECONDS = 0.2

access._ATTEMPTS = 2
snapshots.CROSS_COPY_RETRIES = dg.RetryPolicy(max_retries=snapshots.CROSS_COPY_RETRIES.max_retries, delay=_SECONDS)
drills.RETRIES = dg.RetryPolicy(max_retries=drills.RETRIES.max_retries, delay=_SECONDS)
