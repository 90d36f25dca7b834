"""How is one look of the watch made from the command line, and are the channels tried?"""

from __future__ import annotations

from argparse import Namespace
from datetime import UTC, datetime

from backup_assets.cli.output import Column, say, say_json, say_table, tell
from backup_assets.errors import Refused
from backup_assets.instance import dagster_instance
from backup_assets.settings_loading import load_settings
from backup_assets.watch.channels import channels_of, send
from backup_assets.watch.conditions import Condition
from backup_assets.watch.messages import trial_letter
from backup_assets.watch.rounds import make_round
from backup_assets.watch.sensors import runs_reader, summary

FAILED = 1
#: Nobody waits for a sensor here: every store may take as long as it needs to be called silent.
PATIENCE_SECONDS = 300.0
TRIAL_SECONDS = 30.0


def watch(arguments: Namespace) -> int:
    """Make one look as the sensor does; status 1 when it could not look, or could not tell somebody.

    What is wrong and was told is status 0, a store that does not answer too: whether all is well says `status`.
    """
    settings = load_settings()
    reader = runs_reader(dagster_instance(), settings)
    # This process looks once: what has not answered by then is told now or never.
    done = make_round(settings, datetime.now(UTC), reader, seconds=PATIENCE_SECONDS, silent_seconds=0.0)
    if arguments.json:
        say_json(
            {
                "conditions": [{"key": one.key, **_fields(one)} for one in done.conditions],
                "announced": [{"key": one.key, "occasion": one.occasion} for one in done.announced],
                "problems": done.problems,
                "not_judged": done.unjudged,
                "heartbeat": done.pinged,
            }
        )
    else:
        say(summary(done.conditions, done.unjudged))
        columns = (Column("state"), Column("condition"), Column("because", wide=True), Column("to do", wide=True))
        rows = [
            ("fail" if one.severity == "error" else "warn", one.key, f"{one.title}: {one.cause}", one.remedy)
            for one in done.conditions
        ]
        if rows:
            say_table(columns, rows)
    problems = list(done.problems)
    if not channels_of(settings) and any(one.severity == "error" for one in done.conditions):
        problems.append("nobody is told of what is wrong, because no channel is configured (docs/alerts.md)")
    for problem in problems:
        tell(f"error: {problem}")
    return FAILED if problems else 0


def alert_test(arguments: Namespace) -> int:
    """Send a message to every channel and say which answered; status 1 unless all did."""
    settings = load_settings()
    channels = channels_of(settings)
    if not channels:
        raise Refused(
            "no channel is configured",
            why="watch.channels and ALERT_URLS are empty: nobody would be told of a failed backup",
            remedy="set ALERT_URLS, for example to mailto://… or slack://… (docs/alerts.md)",
        )
    letter = trial_letter(settings, datetime.now(UTC))
    outcomes = send({channel: [letter] for channel in channels}, settings, seconds=TRIAL_SECONDS)
    failures = {channel.name: outcomes[channel][0] for channel in channels}
    if arguments.json:
        say_json([{"channel": name, "answered": not why, "why": why} for name, why in failures.items()])
    else:
        columns = (Column("channel"), Column("state"), Column("why", wide=True))
        say_table(columns, [(name, "fail" if why else "ok", why) for name, why in failures.items()])
    return FAILED if any(failures.values()) else 0


def _fields(condition: Condition) -> dict[str, object]:
    fields = dict(vars(condition))
    return {**fields, "patience": condition.patience.total_seconds()}
