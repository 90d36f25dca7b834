"""Which commands does `backup-assets` have, and which arguments do they take?"""

from __future__ import annotations

import argparse
from pathlib import Path

from backup_assets import __version__

_EPILOG = """\
exit status: 0 done, 1 a check failed, 2 refused or wrong usage, 3 the environment is at fault, 130 interrupted.
In a pipe, tables are tab-separated lines without a header; --json gives everything.
Settings come from backup.yaml or the environment (docs/settings.md); without any, the embedded demo is used."""

#: As `aws/scope.py` has them, which is not loaded to print a help text.
AWS_ROLES = (
    "uploader", "restorer", "verifier", "retention", "copier", "replicator", "administrator", "custodian",
)  # fmt: skip

Commands = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for it


def parser() -> argparse.ArgumentParser:
    """Return the parser; what it parses has ``module`` and ``function`` of the command."""
    top = argparse.ArgumentParser(
        prog="backup-assets",
        description="PostgreSQL backups that are proven by a real restore.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"backup-assets {__version__}")
    top.add_argument("--database", metavar="NAME", help="one of the configured databases; default: the only one")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    _backup(commands)
    _list(commands)
    _show(commands)
    _verify(commands)
    _drill(commands)
    _restore(commands)
    _download(commands)
    _secrets(commands)
    _sweep(commands)
    _prune(commands)
    _hold(commands)
    _unhold(commands)
    _status(commands)
    _metrics(commands)
    _watch(commands)
    _report(commands)
    _doctor(commands)
    _bucket(commands)
    _aws(commands)
    _demo(commands)
    _dev(commands)
    _serve(commands)
    return top


def _command(
    commands: Commands[argparse.ArgumentParser], name: str, text: str, *, module: str, function: str, json: bool = True
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False,
    )  # fmt: skip
    # Without a default of its own, so that it may stand before the command as well.
    command.add_argument("--database", metavar="NAME", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    if json:
        command.add_argument("--json", action="store_true", help="print the result as JSON")
    command.set_defaults(module=module, function=function)
    return command


def _set(command: argparse.ArgumentParser, *, optional: bool = True) -> None:
    command.add_argument(
        "set",
        metavar="ID",
        nargs="?" if optional else None,  # type: ignore[arg-type]
        default="latest",
        help="an id, the beginning of one, or `latest`",
    )


def _store(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--store", metavar="NAME", default="local", help="the store to look into: `local` (default) or a configured one"
    )


def _backup(commands: Commands[argparse.ArgumentParser]) -> None:
    command = _command(commands, "backup", "take a backup now and prove it", module="backup", function="backup")
    command.add_argument(
        "--release", metavar="NAME",
        help="rely on it for this release: status 0 only when it is in every store, every row proven, and held",
    )  # fmt: skip
    command.add_argument("--label", metavar="TEXT", help="why it is taken, for example `before release 4.2`")
    command.add_argument("--hold", metavar="REASON", help="keep it whatever the retention says")
    command.add_argument(
        "--hold-until",
        metavar="DATE",
        help="ISO day (to its end) or time until which it is held; a release: 90 days",
    )
    command.add_argument(
        "--content-hashes", choices=("always", "important", "never"), help="which tables' contents are hashed"
    )
    command.add_argument("--important-tables", action="store_true", help="the important tables only, a set of its own")
    command.add_argument("--no-verify", action="store_true", help="do not restore it on trial")
    command.add_argument("--verbose", action="store_true", help="show the log of Dagster")


def _list(commands: Commands[argparse.ArgumentParser]) -> None:
    command = _command(commands, "list", "list the backup sets, newest first", module="sets", function="list_sets")
    command.add_argument("--all", action="store_true", help="those of every configured database")
    _store(command)


def _show(commands: Commands[argparse.ArgumentParser]) -> None:
    command = _command(
        commands, "show", "show everything about a set, and how it is restored with stock programs",
        module="sets", function="show",
    )  # fmt: skip
    _set(command)
    _store(command)


def _verify(commands: Commands[argparse.ArgumentParser]) -> None:
    command = _command(
        commands, "verify", "prove that a set is good, and record it", module="verify", function="verify"
    )
    _set(command)
    command.add_argument("--all", action="store_true", help="every set of the database")
    _store(command)
    command.add_argument(
        "--level",
        choices=("stored", "readable", "restored"),
        default="restored",
        help="how deep: checksums, read to the end, or restored and compared (default)",
    )
    command.add_argument(
        "--content", action=argparse.BooleanOptionalAction, default=True, help="compare content hashes too (default)"
    )


def _drill(commands: Commands[argparse.ArgumentParser]) -> None:
    command = _command(
        commands, "drill", "rehearse a whole restore from off-site, against the clock", module="drill", function="drill"
    )
    command.add_argument(
        "--store", metavar="NAME", dest="drill_store",
        help="the store to fetch from; default: drill.store, else the farthest",
    )  # fmt: skip
    command.add_argument(
        "--set", metavar="ID", dest="drill_set", default="latest",
        help="an id, the beginning of one, or `latest` (default)",
    )  # fmt: skip


def _restore(commands: Commands[argparse.ArgumentParser]) -> None:
    command = _command(
        commands, "restore", "restore a set; only with RESTORE_CONFIRM=1, else what would happen is shown",
        module="restore", function="restore",
    )  # fmt: skip
    _set(command)
    _store(command)
    command.add_argument("--at", metavar="TIME", help="the newest set that shows this time or an earlier one")
    command.add_argument("--into", metavar="NAME", help="restore into another database; the live one stays")
    command.add_argument("--to-host", metavar="HOST", help="another server (address, or directory of its socket)")
    command.add_argument("--to-port", metavar="PORT", type=int, help="its port; default: 5432")
    command.add_argument("--to-user", metavar="USER", help="its superuser; default: postgres")
    command.add_argument("--to-password-env", metavar="VAR", help="name of the variable that holds the password")
    command.add_argument("--attachments-to", metavar="DIR", type=Path, help="restore the attachments here")
    command.add_argument("--without-attachments", action="store_true", help="the database only")
    command.add_argument("--attachments-only", action="store_true", help="the attachments; no database")
    command.add_argument("--without-roles", action="store_true", help="do not create missing roles")
    command.add_argument(
        "--table", metavar="SCHEMA.TABLE", nargs="+", action="extend", default=[], help="rows of these tables only"
    )
    command.add_argument(
        "--schema", metavar="NAME", nargs="+", action="extend", default=[], help="rows of these schemas only"
    )
    command.add_argument("--drop-old", action="store_true", help="remove what was replaced instead of keeping it")
    command.add_argument("--jobs", metavar="N", type=int, default=2, help="parallel jobs (default: 2)")
    files = command.add_argument_group("files that lie anywhere (trusted ones only: a dump can run anything)")
    files.add_argument("--file", metavar="PATH", type=Path, help="the dump; or BACKUP_FILE")
    files.add_argument("--globals-file", metavar="PATH", type=Path, help="the roles; or BACKUP_GLOBALS_FILE")
    files.add_argument("--assets-file", metavar="PATH", type=Path, help="the attachments; or BACKUP_ASSETS_FILE")


def _download(commands: Commands[argparse.ArgumentParser]) -> None:
    command = _command(
        commands, "download", "copy a set out of its store, proven, with everything that it needs",
        module="sets", function="download",
    )  # fmt: skip
    _set(command, optional=False)
    _store(command)
    command.add_argument("--to", metavar="DIR", type=Path, default=Path(), help="parent of the new directory `ID`")


def _secrets(commands: Commands[argparse.ArgumentParser]) -> None:
    group = commands.add_parser(
        "secrets", help="bring back the secrets of a set, or push a file to AWS Secrets Manager", allow_abbrev=False
    )
    inner = group.add_subparsers(metavar="COMMAND", required=True)
    command = _command(
        inner, "extract", "write the settings and secrets of a set to files of a new directory",
        module="secrets", function="extract",
    )  # fmt: skip
    command.add_argument("--set", metavar="ID", default="latest", help="an id, the beginning of one, or `latest`")
    _store(command)
    command.add_argument("--to", metavar="DIR", type=Path, required=True, help="a new or empty directory")
    command = _command(
        inner, "push", "make a file the current version of a secret in AWS Secrets Manager",
        module="secrets", function="push",
    )  # fmt: skip
    command.add_argument("file", metavar="FILE", type=Path, help="for example .env")
    command.add_argument("secret", metavar="SECRET_NAME", help="name or ARN of the secret")
    command.add_argument("--region", help="default: that of the configured secrets, else ap-northeast-1")
    command.add_argument("--profile", help="AWS profile; default: that of the configured secrets")
    command.add_argument("--endpoint-url", metavar="URL", help="address of a service other than AWS")
    command.add_argument(
        "--format", choices=("raw", "json"), default="raw", help="the text as it is (default), or a JSON object"
    )
    command.add_argument("--create", action="store_true", help="make the secret when there is none of that name")


def _sweep(commands: Commands[argparse.ArgumentParser]) -> None:
    command = _command(
        commands, "sweep", "show what interrupted backups have left behind", module="sets", function="sweep"
    )
    _store(command)
    command.add_argument("--apply", action="store_true", help="remove it")


def _prune(commands: Commands[argparse.ArgumentParser]) -> None:
    command = _command(
        commands, "prune", "show which sets the retention keeps and which may go, and why",
        module="retention", function="prune",
    )  # fmt: skip
    command.add_argument(
        "--store", metavar="NAME",
        help="this store only; `rds-REGION` (and `rds-REGION-PROFILE`, in another account) are the snapshots of a "
        "database in RDS; default: all but buckets, which expire sets",
    )  # fmt: skip
    command.add_argument("--apply", action="store_true", help="delete what may go")
    command.add_argument(
        "--allow-large-share", action="store_true", help="this once, even when more than retention.largest_share goes"
    )


def _hold(commands: Commands[argparse.ArgumentParser]) -> None:
    command = _command(
        commands, "hold", "keep a set in every store, whatever the retention says", module="retention", function="hold"
    )
    _set(command, optional=False)
    command.add_argument("--reason", metavar="TEXT", required=True, help="why, for example `before release 4.2`")
    command.add_argument(
        "--until", metavar="DATE", help="ISO day (to its end) or time until which it is held; default: for ever"
    )


def _unhold(commands: Commands[argparse.ArgumentParser]) -> None:
    command = _command(commands, "unhold", "end every hold of a set", module="retention", function="unhold")
    _set(command, optional=False)
    command.add_argument("--reason", metavar="TEXT", required=True, help="why it need not be kept any longer")


def _status(commands: Commands[argparse.ArgumentParser]) -> None:
    command = _command(
        commands, "status", "measure whether what was promised is kept, for every database or one",
        module="status", function="status",
    )  # fmt: skip
    command.add_argument("--store", metavar="NAME", help="tell of this store alone")
    command.add_argument("--strict", action="store_true", help="status 1 for what is to look at, too")


def _metrics(commands: Commands[argparse.ArgumentParser]) -> None:
    command = _command(
        commands, "metrics", "write the same figures for Prometheus", module="metrics", function="metrics", json=False
    )
    command.add_argument("--textfile", metavar="PATH", type=Path, help="replace this file, for node_exporter")
    command.add_argument("--listen", metavar="HOST:PORT", help="answer GET /metrics until ended")
    command.add_argument(
        "--every", metavar="SECONDS", type=float, default=60.0, help="with --listen: measure at most so often (60)"
    )


def _watch(commands: Commands[argparse.ArgumentParser]) -> None:
    command = _command(
        commands, "watch", "look at every database and tell the channels what is wrong, as the sensor does",
        module="watch", function="watch",
    )  # fmt: skip
    command.add_argument("--once", action="store_true", required=True, help="one look; for cron, without Dagster")
    _command(commands, "alert-test", "send a test message to every channel", module="watch", function="alert_test")


def _report(commands: Commands[argparse.ArgumentParser]) -> None:
    command = _command(
        commands, "report", "write the report of a month, a page for people", module="report", function="report"
    )
    command.add_argument("--month", metavar="YYYY-MM", help="for example 2026-10; default: the last month")
    command.add_argument("--language", choices=("en", "ja"), help="default: watch.language (REPORT_LANGUAGE), else en")
    command.add_argument(
        "--output", metavar="FILE", type=Path, help="default: BACKUP_DIR/reports/ENV/DATABASE/MONTH.LANGUAGE.html"
    )


def _doctor(commands: Commands[argparse.ArgumentParser]) -> None:
    _command(commands, "doctor", "check everything that the backups need", module="doctor", function="doctor")


def _aws(commands: Commands[argparse.ArgumentParser]) -> None:
    group = commands.add_parser(
        "aws", help="show and change what AWS backs up by itself, and keep the roles apart", allow_abbrev=False
    )
    inner = group.add_subparsers(metavar="COMMAND", required=True)
    plan = _command(inner, "plan", "show what differs in AWS, and change nothing", module="aws", function="plan")
    apply = _command(
        inner, "apply", "change what differs in AWS; nothing is removed or replaced", module="aws", function="apply"
    )
    for command in (plan, apply):
        command.add_argument("--all", action="store_true", help="show what is as wanted, too")
    plan.add_argument(
        "--drift", action="store_true",
        help="let CloudFormation look for what was changed by hand in what its stacks made, too; takes minutes",
    )  # fmt: skip
    apply.add_argument("--yes", action="store_true", help="do not ask")
    _infrastructure(inner)
    command = _command(
        inner, "policies", "write policies for the roles, buckets and keys of the configured stores",
        module="aws", function="policies", json=False,
    )  # fmt: skip
    command.add_argument("--store", metavar="NAME", help="what concerns this store only; default: every one in AWS")
    command.add_argument("--account", metavar="ID", help="twelve digits; default: the account of the KMS keys")
    command.add_argument("--output", metavar="DIR", type=Path, help="write files here, with the commands to apply them")
    command.add_argument(
        "--trust", metavar="ROLE=WHO", action="append", default=[],
        help="who may take on a role: an IAM user's name, role/NAME, an ARN, or a service; may be repeated",
    )  # fmt: skip
    for role in AWS_ROLES:
        command.add_argument(f"--{role}", metavar="NAME", help=f"name of that role; default: backup-{role}")


def _infrastructure(commands: Commands[argparse.ArgumentParser]) -> None:
    group = commands.add_parser(
        "infrastructure", help="read what was written down of the settings in AWS", allow_abbrev=False
    )
    inner = group.add_subparsers(metavar="COMMAND", required=True)
    listed = _command(
        inner, "list", "list the documents in a store", module="aws_infrastructure", function="list_documents"
    )
    shown = _command(
        inner, "show", "print a document as JSON", module="aws_infrastructure", function="show", json=False
    )
    _set(shown)
    compared = _command(
        inner, "diff", "show what is different in a later document", module="aws_infrastructure", function="diff"
    )
    compared.add_argument("old", metavar="OLD", help="an id, or the beginning of one")
    compared.add_argument("new", metavar="NEW", nargs="?", default="latest", help="default: the newest")
    for command in (listed, shown, compared):
        _store(command)


def _bucket(commands: Commands[argparse.ArgumentParser]) -> None:
    group = commands.add_parser(
        "bucket", help="show in what a bucket differs from a safe place for backups, and change it", allow_abbrev=False
    )
    inner = group.add_subparsers(metavar="COMMAND", required=True)
    plan = _command(inner, "plan", "show what differs, and change nothing", module="bucket", function="plan")
    apply = _command(
        inner, "apply", "change what differs; nothing is removed or weakened", module="bucket", function="apply"
    )
    for command in (plan, apply):
        command.add_argument("store", metavar="STORE", nargs="?", help="a store of kind s3; default: all of them")
        command.add_argument("--profile", help="AWS profile that may look at and change a bucket; default: the store's")
    apply.add_argument("--yes", action="store_true", help="do not ask")
    apply.add_argument("--create", action="store_true", help="create a bucket that is missing")


def _demo(commands: Commands[argparse.ArgumentParser]) -> None:
    command = _command(
        commands, "demo", "see it all at work on a sample ERP with servers of its own",
        module="demo", function="demo", json=False,
    )  # fmt: skip
    command.add_argument("--size", choices=("small", "medium", "large"), help="default: what is there, else small")
    command.add_argument("--keep-going", action="store_true", help="go on after a step that fails")
    _command(
        commands, "stop-demo", "stop the demo's servers; nothing is removed",
        module="demo", function="stop_demo", json=False,
    )  # fmt: skip


def _dev(commands: Commands[argparse.ArgumentParser]) -> None:
    command = _command(
        commands, "dev", "open the Dagster UI with schedules and sensors",
        module="dev", function="dev", json=False,
    )  # fmt: skip
    command.add_argument("--port", type=int, default=3000, help="default: 3000")
    command.add_argument("--host", default="127.0.0.1", help="address to listen on; the UI has no password")


def _serve(commands: Commands[argparse.ArgumentParser]) -> None:
    group = commands.add_parser(
        "serve", help="run one of Dagster's services, where each is a process or a container of its own",
        allow_abbrev=False,
    )  # fmt: skip
    inner = group.add_subparsers(metavar="SERVICE", required=True)
    for service, text in (
        ("webserver", "serve the UI; it has no password"),
        ("daemon", "run the schedules, the sensors, the queue and the backfills"),
        ("code", "serve the code location, whose runs are its children unless each has a container of its own"),
    ):
        command = _command(inner, service, text, module="serve", function="serve", json=False)
        command.set_defaults(service=service)
        if service != "daemon":
            port = "3000" if service == "webserver" else "BACKUP_CODE_PORT, else 4000"
            command.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
            command.add_argument("--port", type=int, help=f"default: {port}")
