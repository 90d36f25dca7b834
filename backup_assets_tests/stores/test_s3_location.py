"""Times in the answers of S3, which are read without botocore's slow parser where that is safe."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from backup_assets.stores.s3_location import _moment

MOMENT = datetime(2026, 11, 22, 12, 34, 56, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T12:34:56Z",
        "2026-11-22T12:34:56.000Z",
        "2026-11-22T21:34:56+09:00",
        "Sun, 22 Nov 2026 12:34:56 GMT",
        "20261122T123456Z",
        MOMENT.timestamp(),
        str(int(MOMENT.timestamp())),
    ],
)
def test_every_form_of_a_time_is_the_same_moment(text: str) -> None:
    assert _moment(text) == MOMENT


def test_what_is_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="Invalid timestamp"):
        _moment("2026-11-22Tnever.Z")
