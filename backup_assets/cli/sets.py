"""What is in a store: list, show, download, sweep."""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from backup_assets.cli.context import Context, context_of
from backup_assets.cli.output import (
    Column,
    age,
    heading,
    local_time,
    say,
    say_facts,
    say_json,
    say_table,
    tell,
)
from backup_assets.named_stores import LOCAL, address_of
from backup_assets.progress import human_bytes
from backup_assets.retention.sweeping import sweep_store
from backup_assets.sets.backup_set import BackupSet, Damage
from backup_assets.sets.manifest import Manifest, RebuiltFacts
from backup_assets.sets.record_order import believed, is_believed
from backup_assets.sets.records import (
    CopyRecord,
    DrillRecord,
    EncryptionRecord,
    Record,
    RestoreRecord,
    VerificationRecord,
)
from backup_assets.sets.servers import server_of
from backup_assets.stores.folder import FolderStore
from backup_assets.stores.ssh import SshStore

DAMAGED = 1
LISTED = (
    Column("set"),
    Column("slot"),
    Column("taken"),
    Column("kind"),
    Column("state"),
    Column("size", number=True),
    Column("rows", number=True),
    Column("verified"),
    Column("hold", wide=True),
    Column("label", wide=True),
    Column("copied to", wide=True),
)


def list_sets(arguments: Namespace) -> int:
    """List the sets of one database, or of all; damaged manifests are lines too and make the status 1."""
    if arguments.all and arguments.database is None:
        from backup_assets.settings_loading import load_settings

        settings = load_settings()
        contexts = [Context(settings, database, arguments.store) for database in settings.databases]
    else:
        contexts = [context_of(arguments)]
    now = datetime.now(UTC)
    listed: list[dict[str, Any]] = []
    damages: list[Damage] = []
    for context in contexts:
        catalog = context.catalog_to_show()
        damages += catalog.problems
        listed += [_line(context, one, now) for one in catalog.sets()]
        listed += [_damaged_line(context, damage) for damage in catalog.problems if damage.kind == "manifest"]
    if arguments.json:
        say_json(listed)
    else:
        say_table(LISTED, [_row(line, now) for line in listed])
        if not listed:
            tell(_nothing_there(contexts[0]))
    for damage in damages:
        tell(f"{'not readable' if damage.denied else 'damaged'}: {damage.text}")
    return DAMAGED if damages else 0


def _nothing_there(context: Context) -> str:
    where = context.store.describe()
    if context.store_name == LOCAL:
        return f"no backup set yet in {where}: take one with `backup-assets backup`"
    return (
        f"no backup set of {context.place.root} in {where}: the next `backup-assets backup` copies there; "
        "those of past slots are copied by a backfill of the copy in Dagster"
    )


def _line(context: Context, one: BackupSet, now: datetime) -> dict[str, Any]:
    manifest, proof, hold = one.manifest, one.proof_at(now), one.hold_at(now)
    last = (believed(one.verifications, now) or [None])[-1]
    failed = last if last is not None and not last.passed else None
    return {
        "id": one.id,
        "database": context.database.name,
        "slot": manifest.slot,
        "taken_at": one.taken_at,
        "kind": manifest.kind,
        "state": one.state,
        "faults": list(one.faults),
        "size_bytes": manifest.size_bytes,
        "rows": None if manifest.encryption else manifest.fingerprints.total_rows,
        "encrypted": one.is_encrypted,
        "verified": None if proof is None else {"level": proof.level, "at": proof.at, "content": proof.content},
        "failed": None if failed is None else {"level": failed.level, "at": failed.at},
        "hold": None if hold is None else hold.reason,
        "label": manifest.label,
        "copies": {store: record.copied_at for store, record in one.copies.items()},
    }


def _damaged_line(context: Context, damage: Damage) -> dict[str, Any]:
    nothing = ("slot", "taken_at", "kind", "size_bytes", "rows", "verified", "failed", "hold", "label")
    return {
        "id": damage.set_id,
        "database": context.database.name,
        "state": "denied" if damage.denied else "damaged",
        "faults": [damage.text],
        **dict.fromkeys(nothing),
        "copies": {},
    }


def _row(line: dict[str, Any], now: datetime) -> list[str]:
    verified = "-"
    if line["failed"]:
        verified = f"FAILED {age(line['failed']['at'], now)} ago"
    elif line["verified"]:
        verified = f"{line['verified']['level']} {age(line['verified']['at'], now)} ago"
    return [
        line["id"],
        line["slot"] or "-",
        local_time(line["taken_at"]) if line["taken_at"] else "-",
        line["kind"] or "-",
        line["state"],
        "-" if line["size_bytes"] is None else human_bytes(line["size_bytes"]),
        "-" if line["rows"] is None else str(line["rows"]),
        verified,
        line["hold"] or "-",
        line["label"] or "-",
        ", ".join(sorted(line["copies"])) or "-",
    ]


def show(arguments: Namespace) -> int:
    """Show one set with its files, tables, records and stock commands; status 1 when it is not complete."""
    from backup_assets.restore.fetch import as_stored

    context = context_of(arguments)
    catalog = context.catalog_to_show()
    one = catalog.resolve(arguments.set, complete_only=False)
    stored = as_stored(context.store, context.place, one)
    paths = {a.role: address_of(context.store, context.place.key(a.name)) for a in stored.artifacts}
    script = _script(context, one)
    damaged = bool(one.faults or one.damaged_records)
    if arguments.json:
        say_json(
            {
                **_line(context, one, datetime.now(UTC)),
                "manifest": one.manifest.model_dump(mode="json"),
                "paths": paths,
                "records": [record.model_dump(mode="json") for record in one.records],
                "damaged_records": [damage.text for damage in one.damaged_records],
                "stock_commands": script,
            }
        )
        return DAMAGED if damaged else 0
    _say_set(one)
    _say_files(stored, paths)
    if not one.manifest.encryption:
        heading("tables")
        say_table(
            (Column("table"), Column("rows", number=True), Column("content hash", number=True)),
            [(f"{t.table_schema}.{t.name}", str(t.rows), t.content_hash or "-")
             for t in one.manifest.fingerprints.tables],
        )  # fmt: skip
    if one.manifest.fingerprints.integrity:
        heading("integrity queries")
        say_table(
            (Column("query"), Column("result", wide=True)),
            [(r.name, "; ".join(", ".join(v or "NULL" for v in row) for row in r.rows[:5]) or "no rows")
             for r in one.manifest.fingerprints.integrity],
        )  # fmt: skip
    if one.records or one.damaged_records:
        heading("records")
        rows = [(record.kind, local_time(record.at), _told(record)) for record in one.records]
        faults = [(damage, "NOT READABLE" if damage.denied else "DAMAGED") for damage in one.damaged_records]
        rows += [(damage.kind, "-", f"{fault}: {damage.text}") for damage, fault in faults]
        say_table((Column("record"), Column("when"), Column("what", wide=True)), rows)
    heading("restore with stock programs alone (PGHOST, PGPORT, PGUSER name the server)")
    say(script.rstrip())
    return DAMAGED if damaged else 0


def _script(context: Context, one: BackupSet) -> str:
    from backup_assets.restore.fetch import NOT_RESTORED, as_stored
    from backup_assets.restore.stock_commands import FullArchive, Step, as_text, stock_commands

    store, place = context.store, context.place
    stored = as_stored(store, place, one)
    keys = {a.role: place.key(a.name) for a in stored.artifacts if a.role not in NOT_RESTORED}
    facts = one.manifest.attachments
    full: FullArchive | None = None
    if facts is not None and facts.full_set != one.id:
        owner = context.catalog_to_show().find(facts.full_set)
        archive = as_stored(store, place, owner).artifact("archive") if owner else None
        name = archive.name if archive else f"assets/{facts.full_set}.tar.zst"
        full = FullArchive(place.key(name), archive.sha256 if archive else None)
    if isinstance(store, FolderStore):
        paths = {role: store.path_of(key) for role, key in keys.items()}
        there = FullArchive(store.path_of(str(full.path)), full.sha256) if full else None
        return as_text(stock_commands(stored, one.manifest, paths, there))
    # Elsewhere nothing can be read in place: the files are fetched by their own names first.
    wanted = [*keys.values(), *((str(full.path),) if full else ())]
    fetch = Step("the files, into this directory", tuple(_fetch_command(context, key) for key in wanted))
    names = {role: _file_name(key) for role, key in keys.items()}
    here = FullArchive(_file_name(str(full.path)), full.sha256) if full else None
    return as_text((fetch, *stock_commands(stored, one.manifest, names, here)))


def _file_name(key: str) -> str:
    return f"./{key.rpartition('/')[2]}"


def _fetch_command(context: Context, key: str) -> str:
    if isinstance(context.store, SshStore):
        return context.store.location.fetch_command(key, _file_name(key))
    from backup_assets.stores.s3 import S3Store

    if isinstance(context.store, S3Store):
        location = context.store.location
        options = ["--region", location.region]
        options += ["--endpoint-url", location.endpoint_url] if location.endpoint_url else []
        options += ["--profile", location.profile] if location.profile else []
        return shlex.join(["aws", "s3", "cp", *options, address_of(context.store, key), _file_name(key)])
    raise AssertionError(f"no stock program is known that fetches from {context.store.describe()}")


def _say_set(one: BackupSet) -> None:
    now = datetime.now(UTC)
    manifest, hold, proof = one.manifest, one.hold_at(now), one.proof_at(now)
    facts = [
        ("set", one.id),
        ("database", f"{manifest.source_database} ({manifest.database}, {manifest.env}, {manifest.tier})"),
        ("kind", manifest.kind),
        ("slot", manifest.slot),
        ("taken", local_time(one.taken_at)),
        ("state", one.state + "".join(f"; {fault}" for fault in one.faults)),
        ("verified", f"{proof.level}, {local_time(proof.at)}" if proof else "-"),
        ("size", f"{human_bytes(manifest.size_bytes)} ({manifest.size_bytes} bytes)"),
        ("encrypted", _encryption(one)),
        ("rows", _rows(manifest)),
        ("server", f"PostgreSQL {manifest.server.version}, {human_bytes(manifest.server.database_bytes)} on disk"),
        *((("system", str(system)),) if (system := server_of(manifest)) else ()),
        ("dumped by", f"pg_dump {manifest.client.version} from {manifest.client.directory}"),
        ("snapshot", f"LSN {manifest.snapshot.lsn}"),
        *((("rebuilt", _rebuilt(manifest.rebuilt)),) if manifest.rebuilt else ()),
        ("schema version", manifest.schema_version or "-"),
        ("needs", ", ".join(sorted(manifest.needs)) or "nothing else"),
        ("hold", f"{hold.reason}{f', until {local_time(hold.until)}' if hold.until else ''}" if hold else "-"),
        ("label", manifest.label or "-"),
        ("seconds", ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in manifest.durations.items())),
    ]
    if manifest.attachments is not None:
        a = manifest.attachments
        facts.append(
            (
                "attachments",
                f"{a.files} files, {human_bytes(a.bytes)}; {a.mode} archive with {a.archived_files} of them",
            )
        )
    facts += [("warning", warning) for warning in manifest.warnings]
    say_facts(facts)


def _rebuilt(facts: RebuiltFacts) -> str:
    return f"from {facts.source}; dumped {local_time(facts.dumped_at)} from the restored {facts.server}"


def _encryption(one: BackupSet) -> str:
    found = one.manifest.encryption or one.encryption
    return f"with {found.cipher} to {', '.join(found.recipients)}" if found else "no"


def _rows(manifest: Manifest) -> str:
    if manifest.encryption:
        return "told by the encrypted manifest alone"
    return f"{manifest.fingerprints.total_rows} in {len(manifest.fingerprints.tables)} tables"


def _say_files(stored: Manifest, paths: dict[str, str]) -> None:
    heading("files")
    say_table(
        (Column("file"), Column("bytes", number=True), Column("SHA-256"), Column("path", wide=True)),
        [(a.role, str(a.size_bytes), a.sha256, paths[a.role]) for a in stored.artifacts],
    )


def _told(record: Record) -> str:
    if isinstance(record, VerificationRecord):
        content = ", content compared" if record.content else ""
        outcome = "passed" if record.passed else "FAILED: " + _problems(record)
        told = f"{record.level} in {record.store}{content}: {outcome} ({sum(record.durations.values()):.1f} s)"
        believable = is_believed(record, datetime.now(UTC))
        return (
            told if believable else f"{told}; it does not count, its time is to come: a clock was wrong, verify again"
        )
    if isinstance(record, RestoreRecord):
        outcome = "done" if record.passed else "FAILED: " + _problems(record)
        kept = f", old one kept as {record.kept_old_database}" if record.kept_old_database else ""
        return f"into {record.database} at {record.target}{kept}: {outcome} ({sum(record.stages.values()):.1f} s)"
    if isinstance(record, DrillRecord):
        outcome = "passed" if record.passed else "FAILED: " + _problems(record)
        return f"from {record.store}: {outcome} ({record.total_seconds:.1f} s of {record.rto_hours * 3600:.0f} s)"
    if isinstance(record, CopyRecord):
        sent = f"{human_bytes(record.bytes)} sent ({record.seconds:.1f} s)"
        return f"to {record.store}: {len(record.artifacts)} files, {sent}"
    if isinstance(record, EncryptionRecord):
        size = human_bytes(sum(file.encrypted_size_bytes for file in record.files))
        return f"{record.cipher} to {', '.join(record.recipients)}: {len(record.files)} files, {size}"
    return record.reason


def _problems(record: VerificationRecord | RestoreRecord | DrillRecord) -> str:
    return "; ".join(map(str, record.problems[:5]))


def download(arguments: Namespace) -> int:
    """Copy a set and all that it needs into a directory."""
    from backup_assets.cli.progress_bar import progress_bar
    from backup_assets.restore.download import download_set

    context = context_of(arguments)
    catalog = context.catalog()
    chosen = catalog.resolve(arguments.set)
    tell_passed_over(arguments.set, catalog.passed_over(chosen))
    with progress_bar() as progress:
        result = download_set(context.store, context.place, chosen, arguments.to.absolute(), progress=progress)
    if arguments.json:
        say_json({"directory": result.directory, "files": result.files, "bytes": result.bytes})
    else:
        say_facts(
            [("directory", str(result.directory)), ("bytes", str(result.bytes)), ("files", str(len(result.files)))]
        )
        tell("README.txt there says how it is restored with stock programs; every file equals its SHA-256")
    return 0


def tell_passed_over(selector: str, sentences: Sequence[str]) -> None:
    """Warn of newer sets that could not be chosen for `latest`."""
    if selector == "latest":
        for sentence in sentences:
            tell(f"warning: {sentence}")


def sweep(arguments: Namespace) -> int:
    """Show, or with --apply remove, what no set needs."""
    context = context_of(arguments)
    swept = sweep_store(context.settings, context.place, context.store_name, datetime.now(UTC), apply=arguments.apply)
    if arguments.json:
        say_json([{"key": s.key, "size_bytes": s.size, "reason": s.reason, "removed": arguments.apply} for s in swept])
        return 0
    say_table(
        (Column("file", wide=True), Column("size", number=True), Column("reason", wide=True)),
        [(s.key, human_bytes(s.size), s.reason) for s in swept],
    )
    done = "removed" if arguments.apply else "would be removed; run it again with --apply"
    tell(
        f"{len(swept)} leftovers, {human_bytes(sum(s.size for s in swept))}: {done}"
        if swept
        else "nothing is left over"
    )
    return 0
