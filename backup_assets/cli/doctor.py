"""How are the findings about the environment shown?"""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict

from backup_assets.cli.context import context_of
from backup_assets.cli.output import Column, say_json, say_table, tell
from backup_assets.doctor import examine
from backup_assets.errors import EnvironmentFault


def doctor(arguments: Namespace) -> int:
    """Examine what a backup of one database needs; status 3 when something of it is missing."""
    context = context_of(arguments)
    findings = list(examine(context.database, context.settings))
    if arguments.json:
        say_json([asdict(finding) for finding in findings])
    else:
        say_table(
            (Column("what"), Column("state"), Column("found", wide=True), Column("next", wide=True)),
            [(finding.name, finding.state, finding.found, finding.remedy) for finding in findings],
        )
    failed = [finding.name for finding in findings if finding.state == "fail"]
    if failed:
        tell(f"error: a backup would fail or could not be proven: {', '.join(failed)}")
        return EnvironmentFault.exit_code
    return 0
