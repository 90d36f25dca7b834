"""How is a restore asked for, shown, confirmed and carried out?"""

from __future__ import annotations

import os
from argparse import Namespace
from dataclasses import asdict, replace
from pathlib import Path

from pydantic import SecretStr

from backup_assets.cli.context import Context, context_of
from backup_assets.cli.output import say_facts, say_json, tell
from backup_assets.cli.sets import tell_passed_over
from backup_assets.errors import Refused
from backup_assets.local import work_directory
from backup_assets.moments import parse_time
from backup_assets.named_stores import LOCAL
from backup_assets.postgres.names import split_table
from backup_assets.postgres.server import Server
from backup_assets.restore.attachments_alone import restore_attachments_alone
from backup_assets.restore.database import Selection
from backup_assets.restore.named_encrypted import decrypted
from backup_assets.restore.named_files import NamedFiles, open_named_files
from backup_assets.restore.restore import CONFIRMATION, Restore, Restored, RestoreRequest
from backup_assets.sets.backup_set import BackupSet

FILE_VARIABLES = ("BACKUP_FILE", "BACKUP_GLOBALS_FILE", "BACKUP_ASSETS_FILE")


def restore(arguments: Namespace) -> int:
    """Restore a set or named files; Refused, with the plan and nothing changed, unless RESTORE_CONFIRM is 1."""
    context = context_of(arguments)
    request = _request(arguments)
    files = _named_files(arguments)
    if files is None:
        before = parse_time(arguments.at)
        catalog = context.catalog()
        if before is not None and arguments.set != "latest":
            raise Refused("--at and a set's id exclude each other", remedy="leave one of them out")
        chosen = catalog.resolve(arguments.set, before=before)
        tell_passed_over(arguments.set, catalog.passed_over(chosen, before))
        if arguments.attachments_only:
            return _attachments_alone(arguments, context, chosen)
        work = Restore(context.database, context.settings, context.store, chosen, request, log=tell)
        return _say_done(arguments, work, work.run(), chosen.id)
    if arguments.attachments_only:
        raise Refused(
            "--attachments-only takes a set of a store, and files were named",
            remedy="leave out the files, or unpack the archive by hand: docs/restore-by-hand.md",
        )
    with work_directory(context.settings, "named") as directory:  # for what has to be decrypted
        work = _from_files(context, request, decrypted(files, context.settings, directory))
        return _say_done(arguments, work, work.run(), str(files.dump))


def _attachments_alone(arguments: Namespace, context: Context, chosen: BackupSet) -> int:
    for name in ("into", "to_host", "without_attachments", "table", "schema"):
        if getattr(arguments, name):
            option = "--" + name.replace("_", "-")
            raise Refused(f"--attachments-only and {option} exclude each other", remedy="leave one of them out")
    done = restore_attachments_alone(
        context.database,
        context.settings,
        context.store,
        chosen,
        to=arguments.attachments_to,
        confirmed=os.environ.get(CONFIRMATION) == "1",
        drop_old=arguments.drop_old,
        log=tell,
    )
    if arguments.json:
        say_json(asdict(done))
        return 0
    facts = [
        ("restored", done.set_id),
        ("attachments", f"{done.files} files in {done.directory}, each equal to its index"),
        ("seconds", f"{done.seconds:.1f}"),
        *((("kept", f"attachments {done.kept}"),) if done.kept else ()),
    ]
    say_facts(facts)
    return 0


def _say_done(arguments: Namespace, work: Restore, done: Restored, source: str) -> int:
    if arguments.json:
        body = {**done.record.model_dump(mode="json"), "rows": done.rows, "tables": done.tables, "kept": done.kept}
        say_json({**body, "compared": work.compared})
        return 0
    facts = [
        ("restored", done.record.set_id if work.compared else source),
        ("database", f"{done.record.database} at {done.record.target}"),
        ("compared", _compared(work, done)),
        ("seconds", f"{sum(done.record.stages.values()):.1f}"),
        *(("kept", item) for item in done.kept),
    ]
    say_facts(facts)
    if not work.compared:
        tell("warning: the files have no manifest: they restore without an error, whether they are whole is not known")
    return 0


def _compared(work: Restore, done: Restored) -> str:
    if not work.compared:
        return "NOTHING"
    return f"{done.rows} rows in {done.tables} tables equal their manifest, {_depth(work)}"


def _depth(work: Restore) -> str:
    if work.content_known:
        return "content included"
    if work.content_known_in_part:
        return "their content in part: not everything has content hashes (`backup-assets show` lists the warnings)"
    return "by their number only: no content hashes were taken"


def _from_files(context: Context, request: RestoreRequest, files: NamedFiles) -> Restore:
    opened = open_named_files(files, context.database, context.settings)
    tell(opened.note)
    if files.assets is None:
        request = replace(request, with_attachments=False)
    return Restore(
        context.database, context.settings, context.store, opened.fetched.backup_set, request, log=tell, files=opened
    )


def _request(arguments: Namespace) -> RestoreRequest:
    if arguments.jobs < 1:
        raise Refused("--jobs must be at least 1", remedy="leave it out for 2")
    if arguments.without_attachments and arguments.attachments_to is not None:
        raise Refused("--without-attachments and --attachments-to exclude each other", remedy="leave one of them out")
    return RestoreRequest(
        into=arguments.into,
        server=_target(arguments),
        attachments_to=arguments.attachments_to,
        with_attachments=not arguments.without_attachments,
        with_roles=not arguments.without_roles,
        selection=Selection(frozenset(split_table(table) for table in arguments.table), frozenset(arguments.schema)),
        drop_old=arguments.drop_old,
        confirmed=os.environ.get(CONFIRMATION) == "1",
        jobs=arguments.jobs,
    )


def _target(arguments: Namespace) -> Server | None:
    if arguments.to_host is None:
        given = [name for name in ("to_port", "to_user", "to_password_env") if getattr(arguments, name) is not None]
        if given:
            names = ", ".join("--" + name.replace("_", "-") for name in given)
            raise Refused(f"{names} without --to-host", remedy="name the server with --to-host")
        return None
    password: SecretStr | None = None
    if arguments.to_password_env is not None:
        value = os.environ.get(arguments.to_password_env)
        if not value:
            raise Refused(
                f"the variable {arguments.to_password_env} is not set",
                why="--to-password-env takes the name of a variable, not a password",
                remedy="set it to the password, or leave it out to use a .pgpass file",
            )
        password = SecretStr(value)
    return Server(
        host=arguments.to_host, port=arguments.to_port or 5432, user=arguments.to_user or "postgres", password=password
    )


def _named_files(arguments: Namespace) -> NamedFiles | None:
    given = (arguments.file, arguments.globals_file, arguments.assets_file)
    paths = [
        path or (Path(os.environ[variable]) if os.environ.get(variable) else None)
        for path, variable in zip(given, FILE_VARIABLES, strict=True)
    ]
    dump, roles, assets = paths
    if dump is not None and arguments.store != LOCAL:
        raise Refused("named files and --store exclude each other", remedy="leave one of them out")
    if dump is None:
        if roles is not None or assets is not None:
            raise Refused(
                "roles or attachments are named without a dump",
                why="they are of one generation with it",
                remedy="name the dump too, with --file or BACKUP_FILE",
            )
        return None
    if arguments.set != "latest" or arguments.at is not None:
        raise Refused("named files and a set exclude each other", remedy="leave out the id and --at, or the files")
    return NamedFiles(dump, roles, assets)
