"""What does a tour of everything look like: a sample ERP, two backups and their copies, a restore, a drill?"""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from backup_assets.cli.context import Context, context_of
from backup_assets.cli.drill import show_in_dagster
from backup_assets.cli.output import Column, heading, say, say_table, tell, tell_error, watched
from backup_assets.demo.erp import DATABASE, add_a_day_of_work, attachments_directory, ensure_erp
from backup_assets.demo.object_server import demo_object_server, stop_demo_object_server
from backup_assets.demo.server import connect, demo_server, stop_demo_server
from backup_assets.errors import BackupError, CheckFailed, Refused
from backup_assets.files import sha256_of
from backup_assets.progress import human_bytes
from backup_assets.restore.drill import run_drill
from backup_assets.restore.drill_report import Drilled
from backup_assets.restore.restore import Restore, Restored, RestoreRequest
from backup_assets.sets.backup_set import BackupSet

#: The store that the drill comes back from: the farthest.
DRILL_STORE = "osaka"
RESTORED_DATABASE = "erp4_restored"
RESTORED_ATTACHMENTS = "attachments_restored"
#: What was changed this shortly before a full archive is archived again by the next differential (attachments.RACY_NS).
_REST_SECONDS = 2.1
_STEPS = 8


@dataclass
class _Tour:
    """The steps so far, and the first error among them."""

    keep_going: bool
    steps: list[tuple[str, str, float]] = field(default_factory=list)
    errors: list[BackupError] = field(default_factory=list)

    def step(self, title: str, work: Callable[[], str]) -> None:
        """Do a step and say how it went; raises what it raises, unless the tour goes on whatever happens."""
        if watched():
            from rich.console import Console

            Console().print(f"[bold cyan]{len(self.steps) + 1}/{_STEPS}[/] {title} …", highlight=False)
        begun = time.monotonic()
        try:
            result = work()
        except BackupError as error:
            self.steps.append((title, "fail", time.monotonic() - begun))
            if not self.keep_going:
                raise
            tell_error(error)
            self.errors.append(error)
            return
        self.steps.append((title, "ok", time.monotonic() - begun))
        if watched():
            from rich.console import Console
            from rich.markup import escape

            line = f"    [green]✓[/] {escape(result)}  [dim]{self.steps[-1][2]:.1f} s[/]"
            Console().print(line, highlight=False, soft_wrap=True)
        else:
            say(f"{title}\tok\t{self.steps[-1][2]:.1f}\t{result}")


def demo(arguments: Namespace) -> int:
    """Run the tour; can be run again and again. The status is that of the first step which failed."""
    context, home = _demo_context(arguments)
    # Loaded before anything is timed: Dagster takes a second or two.
    from backup_assets.cli.backup import BackupDone, BackupRequest, run_backup
    from backup_assets.cli.progress_bar import progress_bar
    from backup_assets.instance import dagster_instance

    tour = _Tour(arguments.keep_going)
    restored: list[Restored] = []
    compared: list[int] = []
    drilled: list[Drilled] = []

    def take(label: str) -> str:
        with dagster_instance() as instance, progress_bar():
            done = run_backup(context, BackupRequest(label=label), instance)
        return _require_passed(done)

    def _require_passed(done: BackupDone) -> str:
        if done.errors:
            raise done.errors[0]
        if failed := [check for check in done.checks if not check.passed]:
            raise CheckFailed(f"the check {failed[0].name} failed", why=failed[0].summary)
        if done.taken is None:
            raise AssertionError("a run without a set is an error")
        manifest = done.taken.manifest
        files = manifest.attachments
        archived = f", {files.mode} archive of {files.archived_files}/{files.files} files" if files else ""
        copies = " and ".join(store.name for store in context.settings.stores)
        return f"{human_bytes(manifest.size_bytes)}{archived}; {len(done.checks)} checks passed; also in {copies}"

    def work_a_day() -> str:
        with connect(demo_server(home), DATABASE) as connection:
            day = add_a_day_of_work(connection, home)
        return f"{day.day}: {len(day.invoices)} invoices with their PDFs, journal entries, timesheets"

    def restore() -> str:
        restored.append(_restore(context, home))
        return f"database {RESTORED_DATABASE} and {home / RESTORED_ATTACHMENTS}"

    def compare() -> str:
        compared.append(_same_files(attachments_directory(home), home / RESTORED_ATTACHMENTS))
        return f"{compared[-1]} files are equal"

    def drill() -> str:
        drilled.append(_drilled(context))
        return f"{drilled[-1].set_id}, as if this machine were lost; the report: {drilled[-1].report_path}"

    tour.step("The sample ERP, with a PostgreSQL server of its own", lambda: _prepare(home, arguments.size))
    tour.step("An S3 server of its own: a bucket for Tokyo, a bucket for Osaka", lambda: demo_object_server(home).url)
    tour.step("A first backup, proven by a trial restore, copied to Tokyo and on to Osaka", lambda: take("demo"))
    tour.step("A day of work in the ERP", work_a_day)
    tour.step("A second backup: only what is new of the attachments", lambda: take("demo, a day later"))
    tour.step("A restore beside the live database", restore)
    tour.step("The restored attachments against the live ones", compare)
    tour.step("A drill: the newest set back from Osaka alone", drill)
    latest = context.catalog().latest()
    if latest is not None and restored:
        _say_proofs(latest, restored[-1], compared[-1] if compared else 0, drilled[-1] if drilled else None)
    _say_where_next(context, home)
    return tour.errors[0].exit_code if tour.errors else 0


def _demo_context(arguments: Namespace) -> tuple[Context, Path]:
    context = context_of(arguments)
    home = context.database.server.embedded
    if not context.settings.is_demo or home is None:
        raise Refused(
            "the demo runs only where no database is configured",
            why=f"{context.database.name} is configured here, and the demo's sets would lie among its own",
            remedy="run it in an empty directory, without DB_ variables",
        )
    return context, home


def stop_demo(arguments: Namespace) -> int:
    """Stop the demo's servers."""
    _, home = _demo_context(arguments)
    stopped = [stop_demo_server(home), stop_demo_object_server(home)]
    say("the demo's servers are stopped" if any(stopped) else "the demo's servers were not running")
    return 0


def _prepare(home: Path, size: str | None) -> str:
    facts = ensure_erp(home, size)
    newest = max((path.lstat().st_ctime for path in facts.attachments.rglob("*")), default=0.0)
    time.sleep(min(_REST_SECONDS, max(0.0, newest + _REST_SECONDS - time.time())))
    return f"size {facts.size}, at {facts.server.host} port {facts.server.port}"


def _restore(context: Context, home: Path) -> Restored:
    chosen = context.catalog().resolve("latest")
    request = RestoreRequest(
        into=RESTORED_DATABASE,
        attachments_to=home / RESTORED_ATTACHMENTS,
        drop_old=True,  # of an earlier tour
        confirmed=True,  # the live database and its files are not touched
    )
    return Restore(context.database, context.settings, context.store, chosen, request, log=_nothing).run()


def _drilled(context: Context) -> Drilled:
    done = run_drill(context.database, context.settings, store=DRILL_STORE, log=_nothing)
    show_in_dagster(context, done)
    if not done.passed:
        first = done.problems[0]
        raise CheckFailed(f"the drill failed: {first.what}", why=first.found, remedy=first.remedy)
    return done


def _nothing(_: str) -> None:
    """Keep the tour's output short: it says itself what was done."""


def _same_files(live: Path, restored: Path) -> int:
    """Return how many files both directories hold; raises CheckFailed unless every one is equal in both."""
    names = [{str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} for root in (live, restored)]
    different = names[0] ^ names[1] or {
        name for name in names[0] if sha256_of(live / name) != sha256_of(restored / name)
    }
    if different:
        raise CheckFailed(
            "the restored attachments differ from the live ones",
            why=", ".join(sorted(different)[:5]),
            remedy="has something changed in the demo meanwhile? Run it again",
        )
    return len(names[0])


def _say_proofs(latest: BackupSet, restored: Restored, files: int, drilled: Drilled | None) -> None:
    manifest, stages = latest.manifest, restored.record.stages
    figures = manifest.fingerprints
    hashed = sum(1 for table in figures.tables if table.content_hash is not None)
    roles = len(manifest.server.roles)
    proof = latest.proof_at(datetime.now(UTC))
    trial = sum(proof.durations.values()) if proof else 0.0
    rows = [
        ("rows compared", str(restored.rows), f"{stages.get('compare', 0.0):.1f}"),
        ("tables compared", str(restored.tables), f"{stages.get('compare', 0.0):.1f}"),
        ("content hashes equal", str(hashed), f"{stages.get('compare', 0.0):.1f}"),
        ("integrity queries equal", str(len(figures.integrity)), f"{stages.get('compare', 0.0):.1f}"),
        ("attachment files equal", str(files), f"{stages.get('attachments', 0.0):.1f}"),
        ("roles there", str(roles), f"{stages.get('roles', 0.0):.1f}"),
        ("trial restores passed", "1" if proof else "0", f"{trial:.1f}"),
        ("whole restore", latest.id, f"{sum(stages.values()):.1f}"),
    ]
    if drilled is not None:
        rows.append((f"whole drill, from {drilled.store}", str(drilled.set_id), f"{drilled.total_seconds:.1f}"))
    heading("What was proven, each against figures taken in the dump's own snapshot")
    say_table((Column("what"), Column("how much", number=True), Column("seconds", number=True)), rows)


def _say_where_next(context: Context, home: Path) -> None:
    heading("Where to look next")
    next_steps = (
        ("backup-assets list", "the sets, and when each was proven"),
        ("backup-assets show latest", "one set, with the stock commands that restore it"),
        ("backup-assets dev (or `make dev`)", "lineage, checks and figures in the Dagster UI"),
        (f"backup-assets list --store {DRILL_STORE}", "the sets that Osaka holds"),
        ("backup-assets stop-demo", f"stop the servers in {home}; nothing is removed"),
        (str(context.settings.backup_dir), "where the sets lie"),
    )
    if watched():
        say_table((Column("look at"), Column("for", wide=True)), next_steps)
    else:
        for command, purpose in next_steps:
            tell(f"{command}: {purpose}")
