from __future__ import annotations

import dagster as dg
import pytest

from backup_assets.errors import BackupError, CheckFailed, TransientFault
from backup_assets.faults import as_failure, failure_of


def test_a_failure_says_all_that_the_error_says():
    failure = failure_of(CheckFailed("it is damaged", why="two bytes differ", remedy="use another"))

    assert failure.description == "it is damaged\n  because: two bytes differ\n  next: use another"
    assert {name: value.value for name, value in failure.metadata.items()} == {
        "why": "two bytes differ",
        "next": "use another",
    }


@pytest.mark.parametrize(("error", "again"), [(CheckFailed("x"), False), (TransientFault("x"), True)])
def test_only_a_transient_fault_may_be_tried_again(error: BackupError, again: bool):
    with pytest.raises(dg.Failure) as caught, as_failure():
        raise error

    assert caught.value.allow_retries is again


def test_an_error_that_is_none_of_ours_passes_unchanged():
    with pytest.raises(ZeroDivisionError), as_failure():
        raise ZeroDivisionError
