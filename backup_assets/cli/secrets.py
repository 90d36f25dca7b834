"""How are the secrets of a set brought back, and how does a file of settings become a secret of AWS?"""

from __future__ import annotations

from argparse import Namespace

from backup_assets.cli.context import context_of
from backup_assets.cli.output import Column, say_facts, say_json, say_table, tell
from backup_assets.cli.sets import tell_passed_over
from backup_assets.settings_capture import SecretsSettings


def extract(arguments: Namespace) -> int:
    """Write the secrets of a set to files below a new directory."""
    from backup_assets.restore.secrets import extract_secrets

    context = context_of(arguments)
    catalog = context.catalog()
    # A set whose dump is lost still has its secrets: their file alone is read and proven.
    chosen = catalog.resolve(arguments.set, complete_only=arguments.set == "latest")
    tell_passed_over(arguments.set, catalog.passed_over(chosen))
    target = arguments.to.absolute()
    written = extract_secrets(context.settings, context.store, context.place, chosen, target)
    if arguments.json:
        files = [{"kind": s.kind, "name": s.name, "path": s.path, "size_bytes": s.size_bytes} for s in written]
        say_json({"set": chosen.id, "directory": target, "files": files})
        return 0
    say_table(
        (Column("kind"), Column("name", wide=True), Column("bytes", number=True), Column("file", wide=True)),
        [(s.kind, s.name, str(s.size_bytes), str(s.path)) for s in written],
    )
    tell(f"{len(written)} secrets of {chosen.id}, each equal to what was captured; remove {target} when it is done")
    return 0


def push(arguments: Namespace) -> int:
    """Make a file the current version of a secret; status 0 also when it is that already."""
    from backup_assets.capture.secret_sources import Account
    from backup_assets.offsite.secrets_manager import push_secret

    configured = context_of(arguments).database.secrets or SecretsSettings()
    account = Account(
        arguments.region or configured.region,
        arguments.profile or configured.profile,
        arguments.endpoint_url or configured.endpoint_url,
    )
    done = push_secret(account, arguments.file, arguments.secret, form=arguments.format, create=arguments.create)
    if arguments.json:
        facts = {"state": done.state, "version_id": done.version_id, "compared": done.compared}
        say_json({"secret": done.name, "region": account.region, **facts})
        return 0
    say_facts([("secret", done.name), ("state", done.state), ("version", done.version_id)])
    if done.state == "unchanged":
        tell(f"{arguments.file} is the current version already; nothing was pushed")
    elif not done.compared:
        tell("warning: these credentials may not read the secret: it was not compared, neither before nor after")
    return 0
