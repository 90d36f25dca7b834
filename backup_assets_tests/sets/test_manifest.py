"""The manifest: written, read back, refused when damaged."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import jsonschema
import pytest
from pydantic import ValidationError

from backup_assets.errors import CheckFailed
from backup_assets.sets.manifest import Manifest, manifest_schema
from backup_assets.sets.sealed import SEAL_BYTES, seal
from backup_assets_tests.sets.examples import NOW, a_manifest

#: Documents as the first version stored them.
STORED_BEFORE = Path(__file__).parent / "stored_before"


def changed(manifest: Manifest, **members: object) -> bytes:
    """Return a well-sealed document that says something else than the model allows."""
    return seal(manifest.model_copy(update=members))


def test_a_manifest_reads_back_as_it_was_written() -> None:
    manifest = a_manifest(requires=("2026-11-21-20261120T170003Z-1a2b3c4d",))

    assert Manifest.from_json(manifest.to_json(), "here") == manifest


@pytest.mark.parametrize("name", ["manifest.json", "envelope.json"])
def test_what_the_first_version_stored_is_written_again_byte_for_byte(name: str) -> None:
    content = (STORED_BEFORE / name).read_bytes()

    assert Manifest.from_json(content, name).to_json() == content


def test_a_stored_manifest_satisfies_the_published_schema() -> None:
    jsonschema.validate(json.loads(a_manifest().to_json()), manifest_schema())


def test_the_published_schema_refuses_an_unsealed_manifest() -> None:
    with pytest.raises(jsonschema.ValidationError, match="content_sha256"):
        jsonschema.validate(json.loads(a_manifest().model_dump_json()), manifest_schema())


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "cut off"),
        (b"{}", "cut off"),
        (a_manifest().to_json()[:-SEAL_BYTES], "cut off"),
        (a_manifest().to_json().replace(b'"rows": 1', b'"rows": 2'), "changed after"),
        (changed(a_manifest(), version=2), "version"),
        (changed(a_manifest(), slot="2026-11-21"), "does not belong to slot"),
        (changed(a_manifest(), id="nonsense"), "not the id of a backup set"),
        (changed(a_manifest(), artifacts=a_manifest().artifacts[:1] * 2), "same name"),
    ],
)
def test_a_damaged_manifest_fails_with_its_place_and_the_reason(content: bytes, why: str) -> None:
    with pytest.raises(CheckFailed) as caught:
        Manifest.from_json(content, "erp4/prod/meta/a.manifest.json")

    assert "erp4/prod/meta/a.manifest.json" in caught.value.what
    assert why in caught.value.why


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValidationError, match="timezone"):
        Manifest.model_validate({**a_manifest().model_dump(), "generated_at": datetime(2026, 11, 22)})  # noqa: DTZ001


def test_a_duration_that_json_cannot_write_is_refused() -> None:
    with pytest.raises(ValidationError, match="finite"):
        Manifest.model_validate({**a_manifest().model_dump(), "durations": {"dump": float("nan")}})


def test_a_differential_needs_its_full_set_also_when_requires_forgot_it() -> None:
    full = a_manifest(run="11111111")

    assert a_manifest(NOW, run="22222222", full_set=full.id).needs == {full.id}
    assert full.needs == frozenset()
