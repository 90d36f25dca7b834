"""How long is waited."""

from __future__ import annotations

import pytest

from backup_assets.aws.provision.pace import Pace
from backup_assets.errors import EnvironmentFault


def test_the_first_look_is_at_once_and_the_last_after_the_deadline() -> None:
    clock, slept, looks = iter([0.0, 10.0, 59.0, 61.0]), [], 0

    with pytest.raises(EnvironmentFault, match="the work has not ended after 1 minutes") as raised:
        for _ in Pace(5.0, 60.0, slept.append, lambda: next(clock)).looks("the work", "wait"):
            looks += 1
    assert (looks, slept) == (3, [5.0, 5.0])
    assert raised.value.remedy == "wait"
