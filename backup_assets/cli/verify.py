"""How is a set proven good from the command line?"""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from backup_assets.cli.context import Context, context_of
from backup_assets.cli.output import Column, say_json, say_table, tell
from backup_assets.restore.verification import Proof, verify_set
from backup_assets.sets.backup_set import BackupSet

FAILED = 1


def verify(arguments: Namespace) -> int:
    """Verify one set, or all; status 1 when any fails, or with --all when a manifest cannot be read."""
    context = context_of(arguments)
    catalog = context.catalog()
    if arguments.all:
        chosen = catalog.sets()
        damaged = [damage.text for damage in catalog.problems if damage.kind == "manifest"]
    else:
        # An incomplete set is examined too: that it cannot be restored is the answer, and goes on record.
        chosen = [catalog.resolve(arguments.set, complete_only=False)]
        damaged = []
    if not chosen and not damaged:
        tell(f"there is no set in {context.store.describe()}")
        return FAILED
    proofs: list[Proof] = []
    for one in chosen:
        proofs.append(_verify(context, one, arguments))
        if not arguments.json:
            _say([proofs[-1]])
    if arguments.json:
        say_json({"sets": [_as_json(proof) for proof in proofs], "damaged": damaged})
    for text in damaged:
        tell(f"damaged: {text}")
    for proof in proofs:
        for problem in proof.record.problems:
            tell(f"error: {proof.record.set_id}: {problem}")
    return FAILED if damaged or any(not proof.record.passed for proof in proofs) else 0


def _verify(context: Context, one: BackupSet, arguments: Namespace) -> Proof:
    return verify_set(
        context.database,
        context.settings,
        context.store,
        one,
        level=arguments.level,
        content=arguments.content,
        log=tell,
    )


def _say(proofs: list[Proof]) -> None:
    say_table(
        (
            Column("set"),
            Column("outcome"),
            Column("level"),
            Column("content"),
            Column("rows", number=True),
            Column("tables", number=True),
            Column("seconds", number=True),
        ),
        [
            (
                proof.record.set_id,
                "ok" if proof.record.passed else "fail",
                proof.record.level,
                "compared" if proof.record.content else "not compared",
                str(proof.rows),
                str(proof.tables),
                f"{sum(proof.record.durations.values()):.1f}",
            )
            for proof in proofs
        ],
    )


def _as_json(proof: Proof) -> dict[str, Any]:
    return {**proof.record.model_dump(mode="json"), "rows": proof.rows, "tables": proof.tables}
