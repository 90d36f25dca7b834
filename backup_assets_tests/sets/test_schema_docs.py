"""The published schema is the one that the code makes."""

from __future__ import annotations

from pathlib import Path

from backup_assets.sets.schema_docs import SCHEMA_FILE, write_schema


def test_the_published_schema_is_not_stale(tmp_path: Path) -> None:
    write_schema(tmp_path / "manifest.schema.json")

    fresh = (tmp_path / "manifest.schema.json").read_text(encoding="utf-8")
    assert SCHEMA_FILE.read_text(encoding="utf-8") == fresh, "run: python -m backup_assets.sets.schema_docs"
