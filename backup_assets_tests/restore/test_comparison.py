from __future__ import annotations

from typing import Any

import pytest

from backup_assets.restore.comparison import differences
from backup_assets.sets.manifest import Fingerprints, IntegrityResult, LargeObjects, SequenceValue, TableFingerprint

CUSTOMERS = TableFingerprint(table_schema="public", name="customers", rows=20, content_hash="111")
INVOICES = TableFingerprint(table_schema="public", name="invoices", rows=100, content_hash="222")
NUMBERS = SequenceValue(table_schema="public", name="numbers", last_value=7, is_called=True)
TOTAL = IntegrityResult(name="total", query="SELECT sum(total) FROM invoices", columns=("sum",), rows=(("7575.00",),))
EXPECTED = Fingerprints(
    tables=(CUSTOMERS, INVOICES),
    sequences=(NUMBERS,),
    large_objects=LargeObjects(count=2, content_hash="333"),
    integrity=(TOTAL,),
)


def found(**changes: Any) -> Fingerprints:
    return EXPECTED.model_copy(update=changes)


def test_equal_figures_have_no_difference():
    assert differences(EXPECTED, EXPECTED, content=True) == ()


@pytest.mark.parametrize(
    ("changes", "what", "expected", "seen"),
    [
        ({"tables": (CUSTOMERS,)}, "table public.invoices", "100 rows", "no such table"),
        (
            {"tables": (CUSTOMERS, INVOICES.model_copy(update={"rows": 99}))},
            "rows of public.invoices",
            "100",
            "99",
        ),
        (
            {"tables": (CUSTOMERS, INVOICES.model_copy(update={"content_hash": "9"}))},
            "content of public.invoices",
            "222",
            "9",
        ),
        (
            {"tables": (CUSTOMERS, INVOICES.model_copy(update={"content_hash": None}))},
            "content of public.invoices",
            "222",
            "None",
        ),
        (
            {"tables": (CUSTOMERS, INVOICES, INVOICES.model_copy(update={"name": "extra"}))},
            "table public.extra",
            "no such table",
            "an unknown table",
        ),
        ({"sequences": ()}, "sequence public.numbers", "7", "no such sequence"),
        ({"large_objects": LargeObjects(count=1)}, "large objects", "2", "1"),
        (
            {"large_objects": LargeObjects(count=2, content_hash="4")},
            "content of large objects",
            "333",
            "4",
        ),
        (
            {"integrity": (TOTAL.model_copy(update={"rows": (("7575.01",), (None,))}),)},
            "integrity query total",
            "(7575.00)",
            "(7575.01); (NULL)",
        ),
        ({"integrity": ()}, "integrity query total", "(7575.00)", "not run"),
    ],
)
def test_each_difference_is_named_with_both_values(changes: dict[str, Any], what: str, expected: str, seen: str):
    (problem,) = differences(EXPECTED, found(**changes), content=True)

    assert (problem.what, problem.expected, problem.found) == (what, expected, seen)


def test_without_content_only_the_hashes_do_not_count():
    other = found(
        tables=(CUSTOMERS, INVOICES.model_copy(update={"content_hash": None})), large_objects=LargeObjects(count=2)
    )

    assert differences(EXPECTED, other, content=False) == ()
    assert len(differences(EXPECTED, other, content=True)) == 2


def test_a_hash_that_was_never_taken_is_not_compared():
    expected = found(tables=(CUSTOMERS.model_copy(update={"content_hash": None}), INVOICES))

    assert differences(expected, EXPECTED, content=True) == ()


def test_a_sequence_that_moved_on_while_the_source_was_dumped_is_no_difference():
    assert differences(EXPECTED, found(sequences=(NUMBERS.model_copy(update={"last_value": 9}),)), content=True) == ()


def test_many_rows_of_an_integrity_query_are_shown_shortly():
    rows = tuple((str(n),) for n in range(50))
    (problem,) = differences(EXPECTED, found(integrity=(TOTAL.model_copy(update={"rows": rows}),)), content=True)

    assert problem.found.endswith("and 45 more rows")
