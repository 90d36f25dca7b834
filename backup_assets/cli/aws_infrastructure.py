"""How are the documents of the infrastructure listed, read and compared?"""

from __future__ import annotations

import json
from argparse import Namespace
from datetime import UTC, datetime

from backup_assets.aws.infrastructure.place import KIND, infrastructure_databases
from backup_assets.aws.infrastructure.reading import compare, read_document
from backup_assets.cli.context import Context
from backup_assets.cli.output import Column, age, local_time, say, say_json, say_table, tell
from backup_assets.errors import CheckFailed, Refused
from backup_assets.progress import human_bytes
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.catalog import Catalog
from backup_assets.settings_loading import load_settings

_LISTED = (
    Column("id"), Column("slot"), Column("taken"), Column("state"), Column("size", number=True), Column("encrypted"),
    Column("read back"), Column("copies"),
)  # fmt: skip


def list_documents(arguments: Namespace) -> int:
    """List the documents of a store, newest first; status 1 when one is damaged."""
    context = _context(arguments)
    catalog = context.catalog_to_show()
    sets, now = catalog.sets(), datetime.now(UTC)
    if arguments.json:
        say_json([_line(one, now) for one in sets])
    elif sets:
        say_table(_LISTED, [_row(one, now) for one in sets])
    else:
        tell(f"no document of the infrastructure yet in {context.store.describe()}")
    for damage in catalog.problems:
        tell(f"damaged: {damage.text}")
    return CheckFailed.exit_code if catalog.problems or any(one.faults for one in sets) else 0


def show(arguments: Namespace) -> int:
    """Print a document, decrypted where it has to be."""
    context = _context(arguments)
    chosen = _chosen(context.catalog(), arguments.set)
    document = read_document(context.settings, context.store, context.place, chosen)
    say(json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False))
    return 0


def diff(arguments: Namespace) -> int:
    """Show every setting that is different in the later one of two documents; status 1 when there is one."""
    context = _context(arguments)
    catalog = context.catalog()
    old, new = _chosen(catalog, arguments.old), _chosen(catalog, arguments.new)
    found = compare(
        read_document(context.settings, context.store, context.place, old),
        read_document(context.settings, context.store, context.place, new),
    )
    if arguments.json:
        say_json({"old": old.id, "new": new.id, "changes": [vars(change) for change in found]})
    else:
        for change in found:
            say(str(change))
    tell(f"{len(found)} differences between {old.id} and {new.id}")
    return CheckFailed.exit_code if found else 0


def _context(arguments: Namespace) -> Context:
    settings = load_settings()
    for database in infrastructure_databases(settings):
        return Context(settings, database, arguments.store)
    raise Refused(
        "nothing is written down of the infrastructure",
        why="`aws.infrastructure` is not set",
        remedy="set it in backup.yaml: docs/aws.md says what it captures",
    )


def _chosen(catalog: Catalog, selector: str) -> BackupSet:
    return catalog.resolve(selector, kind=KIND)


def _line(one: BackupSet, now: datetime) -> dict[str, object]:
    proof = one.proof_at(now)
    return {
        "id": one.id,
        "slot": one.manifest.slot,
        "taken_at": one.taken_at,
        "state": one.state,
        "faults": list(one.faults),
        "size_bytes": one.manifest.size_bytes,
        "encrypted": _is_encrypted(one),
        "verified": None if proof is None else {"at": proof.at, "content": proof.content},
        "copies": {store: record.copied_at for store, record in one.copies.items()},
        "not_captured": list(one.manifest.warnings),
    }


def _row(one: BackupSet, now: datetime) -> list[str]:
    proof = one.proof_at(now)
    return [
        one.id,
        one.manifest.slot,
        local_time(one.taken_at),
        one.state,
        human_bytes(one.manifest.size_bytes),
        "yes" if _is_encrypted(one) else "no",
        "-" if proof is None else f"{age(proof.at, now)} ago",
        ", ".join(sorted(one.copies)) or "-",
    ]


def _is_encrypted(one: BackupSet) -> bool:
    return one.is_encrypted or any(artifact.encryption for artifact in one.manifest.artifacts)
