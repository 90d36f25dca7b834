"""How are the policies for AWS shown, or written to files?"""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path

from backup_assets.aws.bundle import policies_of
from backup_assets.aws.commands import PURPOSES
from backup_assets.aws.scope import Roles, account_of, scope_named, scopes_of
from backup_assets.cli.output import say, say_json
from backup_assets.errors import Refused, SettingsError
from backup_assets.files import make_private_directory, write_durably
from backup_assets.settings import load_settings

README = "README.md"


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
