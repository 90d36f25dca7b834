from __future__ import annotations

import pytest

from backup_assets.errors import BackupError, CheckFailed, EnvironmentFault, Refused, SettingsError, TransientFault


def test_an_error_reads_as_what_why_and_next():
    error = Refused("it was refused", why="the reason", remedy="do this")

    assert str(error) == "it was refused\n  because: the reason\n  next: do this"
    assert str(Refused("it was refused")) == "it was refused"


@pytest.mark.parametrize(
    ("kind", "code", "retriable"),
    [
        (CheckFailed, 1, False),
        (Refused, 2, False),
        (SettingsError, 2, False),
        (EnvironmentFault, 3, False),
        (TransientFault, 3, True),
        (BackupError, 3, False),
    ],
)
def test_each_kind_has_its_exit_status_and_only_a_transient_one_is_tried_again(
    kind: type[BackupError], code: int, retriable: bool
):
    assert (kind("x").exit_code, kind("x").retriable) == (code, retriable)
