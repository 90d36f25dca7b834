"""How is a drill asked for from the command line, and what is said of it?"""

from __future__ import annotations

import warnings
from argparse import Namespace
from datetime import UTC, datetime

from backup_assets.cli.context import Context, context_of
from backup_assets.cli.output import say_facts, say_json, tell
from backup_assets.errors import BackupError
from backup_assets.restore.drill import run_drill
from backup_assets.restore.drill_report import Drilled, duration

FAILED = 1


def drill(arguments: Namespace) -> int:
    """Rehearse a restore from off-site; status 1 when it failed, its cause and action told and reported."""
    context = context_of(arguments)
    done = run_drill(
        context.database, context.settings, store=arguments.drill_store, selector=arguments.drill_set, log=tell
    )
    if arguments.json:
        say_json(_as_json(done))
    else:
        say_facts(
            [
                ("drill", "passed" if done.passed else "FAILED"),
                ("set", done.set_id or "none"),
                ("store", f"{done.store}: {done.where}"),
                ("seconds", f"{done.total_seconds:.1f}"),
                ("rto", f"{duration(done.rto_hours * 3600)}, {_met(done.within_rto)}"),
                ("rpo", _age(done)),
                ("report", str(done.report_path)),
            ]
        )
    for problem in done.problems:
        tell(f"error: {problem}" + (f"\n  next: {problem.remedy}" if problem.remedy else ""))
    if arguments.drill_set == "latest":
        show_in_dagster(context, done)
    return 0 if done.passed else FAILED


def show_in_dagster(context: Context, done: Drilled) -> None:
    """Show a drill of the newest set in Dagster's instance too; what stands against that is only told."""
    # Dagster costs a second or two: what was drilled is written down, and said, before.
    import dagster as dg
    from dagster import DagsterError
    from sqlalchemy.exc import SQLAlchemyError

    from backup_assets.capture.automation import slots_of
    from backup_assets.cli.backup import loggers_of
    from backup_assets.instance import dagster_instance
    from backup_assets.restore.drill_assets import show_drill

    now = datetime.now(UTC)
    slots = slots_of(context.database, context.settings, now)
    try:
        with dagster_instance() as instance, warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.PreviewWarning)  # of partitioned checks
            warnings.simplefilter("ignore", dg.BetaWarning)
            loggers = loggers_of(verbose=False)
            show_drill(instance, context.database, context.settings, slots, done, now, loggers=loggers)
    except (BackupError, DagsterError, SQLAlchemyError) as error:
        said = error if isinstance(error, BackupError) else " ".join(str(error).split())[:300]
        tell(f"warning: the drill is recorded beside the sets, and cannot be shown in Dagster: {said}")


def _age(done: Drilled) -> str:
    if done.age_hours is None:
        return "no set" if done.set_id is None else "not known: what the set says that it shows is still to come"
    return f"the set was {duration(done.age_hours * 3600)} old"


def _met(within: bool | None) -> str:
    return {True: "met", False: "NOT MET", None: "not known"}[within]


def _as_json(done: Drilled) -> dict[str, object]:
    return {
        "passed": done.passed,
        "database": done.database,
        "store": done.store,
        "set_id": done.set_id,
        "taken_at": done.taken_at,
        "age_hours": done.age_hours,
        "started_at": done.started_at,
        "total_seconds": done.total_seconds,
        "stages": dict(done.stages),
        "rto_hours": done.rto_hours,
        "within_rto": done.within_rto,
        "rpo_hours": done.rpo_hours,
        "confirmed": done.confirmed,
        "notes": done.notes,
        "problems": [problem.model_dump() for problem in done.problems],
        "report": done.report_path,
    }
