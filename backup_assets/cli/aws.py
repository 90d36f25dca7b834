"""How are the policies for AWS shown, and how is what differs in AWS shown, confirmed and changed?"""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

from backup_assets.aws.bundle import policies_of
from backup_assets.aws.commands import PURPOSES
from backup_assets.aws.provision.apply import apply_of, settled
from backup_assets.aws.provision.drift import Drift, drift_of
from backup_assets.aws.provision.lines import Applied, Line
from backup_assets.aws.provision.pace import Pace
from backup_assets.aws.provision.plan import Plan, access_for, plan_of
from backup_assets.aws.scope import Roles, account_of, scope_named, scopes_of
from backup_assets.cli.output import Column, say, say_json, say_table, tell, tell_error
from backup_assets.errors import CheckFailed, Refused, SettingsError
from backup_assets.files import make_private_directory, write_durably
from backup_assets.settings import Settings
from backup_assets.settings_loading import load_settings

README = "README.md"
#: RDS takes some seconds until it shows what it was asked for, and a replication longer.
_SETTLING = Pace(seconds=5.0, deadline_seconds=90.0)
_COLUMNS = (
    Column("where"), Column("what", wide=True), Column("state"), Column("is", wide=True), Column("wanted", wide=True),
    Column("how", wide=True),
)  # fmt: skip


def policies(arguments: Namespace) -> int:
    """Print every policy as JSON, or write them with the commands that apply them below ``--output``."""
    scopes = scopes_of(load_settings())
    concerned = scopes if arguments.store is None else (scope_named(scopes, arguments.store),)
    roles = Roles(**{role: name for role in PURPOSES if (name := getattr(arguments, role))})
    account = account_of(concerned, arguments.account, roles)
    of_account = tuple(scope for scope in scopes if scope.owner in {None, account.id})
    made = policies_of(account, of_account, _trusted(arguments.trust), arguments.store)
    if arguments.output is None:
        say_json(made.documents)
        return 0
    texts = {path: f"{json.dumps(policy, indent=2)}\n" for path, policy in made.documents.items()}
    written = _write(arguments.output, {**texts, README: made.readme})
    say(f"{written} files written below {arguments.output}" if written else f"{arguments.output} has them already")
    say(f"read {arguments.output / README}: it has the commands that apply them")
    return 0


def plan(arguments: Namespace) -> int:
    """Show what AWS lacks or has otherwise; status 1 when anything differs, 3 when drift cannot be looked for."""
    settings = load_settings()
    found = plan_of(settings)
    if arguments.drift:
        found = _with_drift(found, settings)
    if arguments.json:
        say_json(_as_json(found, ()))
    else:
        _show(found, all_lines=arguments.all)
    return _ended(found)


def _with_drift(found: Plan, settings: Settings) -> Plan:
    """Return the plan with what somebody changed by hand in what the stacks made, which takes minutes."""
    drifts = []
    for stack in found.stacks:
        if stack.stack is not None:
            tell(f"{stack.place}: waiting for CloudFormation, which looks for changes by hand; it can take minutes")
            drifts.append(drift_of(access_for(settings).within(stack.wanted.region), stack, Pace()))
    return replace(found, drifts=tuple(drifts))


def apply(arguments: Namespace) -> int:
    """Show the plan, ask, change what differs, and look again; status 1 when anything differs then.

    What fails is told and does not stop the rest; then the status is that of the first failure, and it is not looked
    again: ``lines`` of the JSON are those of before. Raises Refused when it is not confirmed.
    """
    settings = load_settings()
    found = plan_of(settings)
    if not arguments.json:
        _show(found, all_lines=arguments.all)
    done: list[Applied] = []
    if found.changes:
        _require_confirmation(arguments, found)
        for one in apply_of(found, settings, Pace()):
            done.append(one)
            tell(f"{one.place}: {one.text}")
            if one.error:
                tell_error(one.error)
    failed = [one.error for one in done if one.error]
    if done and not failed:
        found = settled(settings, _SETTLING)
    if arguments.json:
        say_json(_as_json(found, done))
    if failed:
        tell("not everything was changed: mend what failed, then look with `backup-assets aws plan`")
        return failed[0].exit_code
    if done and not arguments.json:
        _show(found, all_lines=False)
    return _ended(found)


def _require_confirmation(arguments: Namespace, found: Plan) -> None:
    if arguments.yes:
        return
    if sys.stdin.isatty():
        tell(f"Make these {len(found.changes)} changes? Nothing is removed or replaced. Write yes:")
        if sys.stdin.readline().strip() == "yes":
            return
    raise Refused(
        "nothing in AWS was changed: it is not confirmed", remedy="answer yes in a terminal, or repeat with --yes"
    )


def _show(found: Plan, *, all_lines: bool) -> None:
    lines = found.lines if all_lines else found.differing
    say_table(_COLUMNS, [(one.place, one.name, one.state, one.found, one.wanted, one.how) for one in lines])


def _ended(found: Plan) -> int:
    if found.queue_url:
        tell(f"queue of events, for aws.events.queue_url: {found.queue_url}")
    by_state = {state: [one for one in found.differing if one.state == state] for state in _ENDS}
    for state, text in _ENDS.items():
        if by_state[state]:
            tell(f"{len(by_state[state])} {text}")
    _tell_drift(found)
    if found.faults:
        return found.faults[0].exit_code
    if not found.differing:
        tell("AWS is as wanted, as far as this command looks")
    return CheckFailed.exit_code if found.differing else 0


def _tell_drift(found: Plan) -> None:
    for one in found.drifts or ():
        if one.error:
            tell_error(one.error)
        else:
            found_there = f"differences: {len(one.lines)}" if one.lines else "no drift"
            tell(f"{one.place}: {found_there}; resources looked at: {one.checked}")
    unchecked = [f"{one.place}: {', '.join(one.unchecked)}" for one in found.drifts or () if one.unchecked]
    if unchecked:
        tell(f"not looked at for drift: {'; '.join(unchecked)}")
    if found.drifts is not None and not found.drifts:
        tell("there is no stack yet in which something could have been changed by hand")


_ENDS = {
    "to change": "to change: `backup-assets aws apply`",
    "pending": "pending: AWS has been asked",
    "refused": "refused: it would take something away; the table says how it is done by hand",
    "left": "left to you",
}


def _as_json(found: Plan, done: Iterable[Applied]) -> dict[str, object]:
    applied = [{"place": one.place, "text": one.text, "error": str(one.error or "")} for one in done]
    drifts = None if found.drifts is None else [_drift(one) for one in found.drifts]
    lines = [_line(one) for one in found.lines]
    return {"lines": lines, "queue_url": found.queue_url, "applied": applied, "drift": drifts}


def _drift(one: Drift) -> dict[str, object]:
    error = str(one.error or "")
    return {"place": one.place, "checked": one.checked, "not_checked": list(one.unchecked), "error": error}


def _line(one: Line) -> dict[str, object]:
    return {**asdict(one), "differs": one.differs}


def _trusted(given: Iterable[str]) -> dict[str, list[str]]:
    trusted: dict[str, list[str]] = {}
    for text in given:
        role, equals, who = text.partition("=")
        if not equals or not who:
            raise SettingsError(f"--trust {text} names no role and principal", remedy="write it as restorer=alice")
        trusted.setdefault(role, []).append(who)
    return trusted


def _write(directory: Path, texts: dict[str, str]) -> int:
    """Write what is not there yet and return how many; raises Refused, having written nothing, for other content."""
    for path, text in texts.items():
        final = directory / path
        if final.exists() and final.read_text(encoding="utf-8") != text:
            raise Refused(
                f"{final} exists with other content",
                why="it may be what was applied, or changed by hand; nothing was written",
                remedy="choose another --output, and compare the two",
            )
    missing = {path: text for path, text in texts.items() if not (directory / path).exists()}
    for path, text in missing.items():
        final = directory / path
        make_private_directory(final.parent)
        write_durably(final, text.encode())
    return len(missing)
