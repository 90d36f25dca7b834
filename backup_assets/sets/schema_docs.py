"""How is the published schema of the manifest written? By ``python -m backup_assets.sets.schema_docs``."""

from __future__ import annotations

from pathlib import Path

from backup_assets.sets.manifest import manifest_schema_text

SCHEMA_FILE = Path(__file__).parents[2] / "docs" / "manifest.schema.json"


def write_schema(path: Path = SCHEMA_FILE) -> None:
    """Write the JSON Schema of the manifest to ``path``."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(manifest_schema_text(), encoding="utf-8")


if __name__ == "__main__":
    write_schema()
