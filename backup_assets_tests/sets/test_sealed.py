"""The seal of a stored document."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup_assets.sets.manifest import Manifest
from backup_assets.sets.sealed import SEAL_BYTES, unseal
from backup_assets_tests.sets.examples import a_manifest

SEALED = a_manifest().to_json()


def test_a_sealed_document_opens_to_what_was_sealed() -> None:
    assert Manifest.model_validate_json(unseal(SEALED)) == a_manifest()


@settings(deadline=None)
@given(st.integers(0, len(SEALED) - 1), st.integers(0, 7))
def test_any_flipped_bit_breaks_the_seal(position: int, bit: int) -> None:
    damaged = bytearray(SEALED)
    damaged[position] ^= 1 << bit

    with pytest.raises(ValueError, match="content_sha256"):
        unseal(bytes(damaged))


@settings(deadline=None)
@given(st.integers(0, len(SEALED) - 1))
def test_a_document_cut_anywhere_breaks_the_seal(length: int) -> None:
    with pytest.raises(ValueError, match="content_sha256"):
        unseal(SEALED[:length])


def test_stock_tools_check_the_seal(tmp_path: Path) -> None:
    file = tmp_path / "a.manifest.json"
    file.write_bytes(SEALED)

    shown = subprocess.run(["tail", "-n", "2", file], capture_output=True, text=True, check=True).stdout
    computed = subprocess.run(
        ["sh", "-c", f"head -c -{SEAL_BYTES} {file} | sha256sum"], capture_output=True, text=True, check=True
    ).stdout

    assert computed.split()[0] in shown
