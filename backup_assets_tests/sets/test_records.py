"""Records: written, read back, refused when damaged."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from backup_assets.errors import CheckFailed
from backup_assets.sets.place import record_kind_of
from backup_assets.sets.records import (
    CopiedArtifact,
    CopyRecord,
    DrillRecord,
    HoldRecord,
    Problem,
    Record,
    ReleaseRecord,
    RestoreRecord,
    VerificationRecord,
    parse_record,
    record_key,
)
from backup_assets.sets.sealed import seal
from backup_assets_tests.sets.examples import ERP4, NOW, a_manifest, a_verification

#: Documents as the first version stored them.
STORED_BEFORE = Path(__file__).parent / "stored_before"
ID = a_manifest().id
RECORDS: list[Record] = [
    a_verification(ID),
    a_verification(ID, passed=False, level="stored", content=False),
    HoldRecord(set_id=ID, placed_at=NOW, reason="リリース前", until=NOW + timedelta(days=1), tool_version="0.1.0"),
    ReleaseRecord(set_id=ID, released_at=NOW, reason="released", tool_version="0.1.0"),
    RestoreRecord(
        set_id=ID,
        target="localhost:5432",
        database="erp4",
        started_at=NOW,
        stages={"database": 1.5},
        passed=True,
        kept_old_database="erp4_before",
        tool_version="0.1.0",
    ),
    CopyRecord(
        set_id=ID,
        store="usb",
        copied_at=NOW,
        bytes=10,
        seconds=0.5,
        artifacts=(CopiedArtifact(name=f"db/{ID}.dump", size_bytes=10, sha256="0" * 64),),
        tool_version="0.1.0",
    ),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.kind)
def test_every_record_reads_back_as_it_was_written(record: Record) -> None:
    assert parse_record(record.to_json(), "here") == record


@pytest.mark.parametrize(
    ("name", "tag"), [("passed", "e17de585"), ("failed", "8f6149c2"), ("hold", "f416a7ec"), ("release", "8af45393")]
)
def test_a_record_of_the_first_version_keeps_its_bytes_and_its_key(name: str, tag: str) -> None:
    content = (STORED_BEFORE / f"{name}.json").read_bytes()

    record = parse_record(content, name)

    assert record.to_json() == content
    assert record_key(ERP4, record).endswith(f".20261122T120000Z-{tag}.json")


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.kind)
def test_the_key_of_a_record_says_its_set_and_kind_and_depends_on_its_content(record: Record) -> None:
    key = record_key(ERP4, record)

    assert key.startswith(f"erp4/prod/meta/{ID}.{record.kind}.20261122T120000Z-")
    assert record_kind_of(ERP4.name(key)) == record.kind
    assert record_key(ERP4, record) == key
    assert record_key(ERP4, record.model_copy(update={"tool_version": "0.2.0"})) != key


def test_a_failed_verification_that_a_bit_turned_into_a_passed_one_is_refused() -> None:
    content = RECORDS[1].to_json().replace(b'"passed": false', b'"passed": true')

    with pytest.raises(CheckFailed) as caught:
        parse_record(content, "the key")

    assert "the key" in caught.value.what
    assert "changed after it was written" in caught.value.why


def test_a_record_of_an_unknown_kind_is_refused_by_name() -> None:
    with pytest.raises(CheckFailed, match="damaged or from a newer version"):
        parse_record(seal(RECORDS[0].model_copy(update={"kind": "prophecy"})), "the key")


def test_a_verification_cannot_pass_with_problems_nor_fail_without() -> None:
    with pytest.raises(ValidationError, match="passed with problems"):
        VerificationRecord.model_validate({**RECORDS[0].model_dump(), "problems": (Problem(what="rows"),)})
    with pytest.raises(ValidationError, match="failed without a problem"):
        VerificationRecord.model_validate({**RECORDS[0].model_dump(), "passed": False})


def test_a_drill_is_after_later_ones_only_and_says_nothing_where_no_clock_was_wrong() -> None:
    made = DrillRecord(
        set_id=ID, tool_version="0.1.0", passed=True, started_at=NOW, store="usb", total_seconds=60.0, rto_hours=4.0,
        within_rto=True, taken_at=NOW, age_hours=1.0, fetched_bytes=10,
    )  # fmt: skip
    assert b'"after"' not in made.to_json()

    with pytest.raises(ValidationError, match="not later than its own time"):
        DrillRecord.model_validate({**made.model_dump(), "after": (NOW,)})
    later = made.model_copy(update={"after": (NOW + timedelta(hours=1),)})
    assert parse_record(later.to_json(), "the key") == later


@pytest.mark.parametrize(
    ("level", "passed", "proof"),
    [("readable", True, False), ("restored", True, True), ("drilled", True, True), ("restored", False, False)],
)
def test_only_a_passed_restore_or_drill_is_proof(level: str, passed: bool, proof: bool) -> None:
    assert a_verification(ID, level=level, passed=passed).is_proof is proof  # type: ignore[arg-type]
