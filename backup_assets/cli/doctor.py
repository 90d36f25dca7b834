"""How are the findings about the environment shown?"""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict

from backup_assets.cli.context import chosen_databases
from backup_assets.cli.output import Column, heading, say_json, say_table, tell
from backup_assets.doctor import examine
from backup_assets.errors import EnvironmentFault
from backup_assets.findings import Finding
from backup_assets.settings_loading import load_settings


def doctor(arguments: Namespace) -> int:
    """Examine what a backup of every database, or the one named, needs; status 3 when something of it is missing."""
    settings = load_settings()
    databases = chosen_databases(settings, arguments.database)
    found: list[tuple[str, Finding]] = []
    for database in databases:
        findings = list(examine(database, settings))
        found += [(database.name, finding) for finding in findings]
        if not arguments.json:
            if len(databases) > 1:
                heading(database.name)
            _say(findings)
    if arguments.json:
        say_json([{"database": name, **asdict(finding)} for name, finding in found])
    many = len(databases) > 1
    failed = [f"{name}: {one.name}" if many else one.name for name, one in found if one.state == "fail"]
    if failed:
        tell(f"error: a backup would fail or could not be proven: {', '.join(failed)}")
        return EnvironmentFault.exit_code
    return 0


def _say(findings: list[Finding]) -> None:
    say_table(
        (Column("what"), Column("state"), Column("found", wide=True), Column("next", wide=True)),
        [(finding.name, finding.state, finding.found, finding.remedy) for finding in findings],
    )
