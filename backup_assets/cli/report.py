"""How is the report of a month asked for from the command line?"""

from __future__ import annotations

from argparse import Namespace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from backup_assets.cli.context import context_of
from backup_assets.cli.output import say_facts, say_json
from backup_assets.watch.report_words import Words
from backup_assets.watch.reporting import write_report


def report(arguments: Namespace) -> int:
    """Write the report of a month and tell its verdict; status 0 whatever it says: `status` is for programs."""
    context, now = context_of(arguments), datetime.now(UTC)
    month = arguments.month or _last_month(now, context.database.schedule.timezone)
    written = write_report(
        context.database, context.settings, month, now, language=arguments.language, output=arguments.output
    )
    made = written.page
    if arguments.json:
        say_json(
            {
                "database": context.database.name,
                "month": month,
                "verdict": made.outcome,
                "sentence": made.sentence,
                "findings": [{"code": one.code, "severity": one.severity, **one.values} for one in made.findings],
                "report": written.path,
            }
        )
        return 0
    words = Words(arguments.language or context.settings.watch.language, written.report.timezone)
    say_facts(
        [
            ("month", month),
            ("verdict", words.say(f"verdict.{made.outcome}")),
            ("why", made.sentence),
            ("report", str(written.path)),
        ]
    )
    return 0


def _last_month(now: datetime, zone: str) -> str:
    first = now.astimezone(ZoneInfo(zone)).replace(day=1)
    return f"{first - timedelta(days=1):%Y-%m}"
