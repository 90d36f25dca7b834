"""Is a database on RDS protected as it should be, as far as AWS says?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from backup_assets.findings import Finding
from backup_assets.settings import DatabaseSettings, Settings


def examine_rds(database: DatabaseSettings, settings: Settings) -> Iterator[Finding]:
    """Yield what there is to say of the protection; nothing for a database that is not on RDS."""
    if database.rds is None:
        return
    # boto3 costs a third of a second: only who is on RDS pays it.
    from backup_assets.aws.rds.examining import examine_protection

    for part in examine_protection(database, settings, datetime.now(UTC)):
        yield from part.findings
