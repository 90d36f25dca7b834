"""The id of a set: written, read back, ordered."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup_assets.errors import Refused
from backup_assets.sets.backup_id import BackupId, id_in_name

slots = st.from_regex(r"[0-9][0-9A-Za-z]{0,8}(-[0-9A-Za-z]{1,8}){0,3}", fullmatch=True)
moments = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
runs = st.uuids().map(str)


@settings(deadline=None)
@given(slots, moments, runs)
def test_every_id_reads_back_as_it_was_made(slot: str, moment: datetime, run: str) -> None:
    made = BackupId.make(slot, moment, run)

    assert BackupId.parse(str(made)) == made
    assert made.slot == slot
    assert made.taken_at == moment.replace(microsecond=0)
    assert run.startswith(made.run)
    assert id_in_name(f"{made}.dump.zst") == str(made)


@settings(deadline=None)
@given(slots, moments, runs)
def test_a_slot_that_looks_like_an_id_stays_the_slot(slot: str, moment: datetime, run: str) -> None:
    inner = str(BackupId.make(slot, moment, run))

    assert BackupId.parse(str(BackupId.make(inner, moment, run))).slot == inner


def test_ids_are_ordered_by_the_time_taken_and_not_by_their_text() -> None:
    early = BackupId.parse("2026-11-23-20261121T170003Z-ffffffff")
    late = BackupId.parse("2026-11-22-20261121T170004Z-00000000")

    assert early < late


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-22",
        "2026-11-22-20261321T170003Z-1a2b3c4d",
        "2026-11-22-20261121T170003Z-1A2B3C4D",
        "2026-11-22-20261121T170003Z-1a2b3c4d\n",
        "2026-11-22-2026112１T170003Z-1a2b3c4d",
        "../2026-11-22-20261121T170003Z-1a2b3c4d",
        "2026-11-22-20261121T170003Z-1a2b3c4d.dump",
    ],
)
def test_what_is_no_id_is_refused_with_the_text_in_the_message(text: str) -> None:
    with pytest.raises(Refused) as caught:
        BackupId.parse(text)

    assert repr(text) in caught.value.what


@pytest.mark.parametrize("name", ["notes.txt", ".DS_Store", "", "2026-11-22.dump"])
def test_the_name_of_a_foreign_file_has_no_id(name: str) -> None:
    assert id_in_name(name) is None
