"""Looking at objects: whoever asks first is told what is wrong around it."""

from __future__ import annotations

from pathlib import Path

import pytest

from backup_assets.errors import EnvironmentFault
from backup_assets.stores.s3 import S3Store
from backup_assets.stores.s3_location import S3Location
from backup_assets_tests.sets.examples import put
from backup_assets_tests.stores.conformance import KEY


def test_a_configuration_of_aws_that_cannot_be_read_is_told_by_every_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text("[profile\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    store = S3Store(S3Location("unread", "ap-northeast-1", sse_s3=True), "bucket")

    for asked in (
        store.check, lambda: store.stat(KEY), lambda: put(store, KEY, b"x"), lambda: list(store.list("")),
        lambda: store.tags_of(KEY), lambda: store.delete(KEY),
    ):  # fmt: skip
        with pytest.raises(EnvironmentFault, match=r"could not .* the request cannot be made") as told:
            asked()
        assert "Unable to parse config file" in told.value.why
