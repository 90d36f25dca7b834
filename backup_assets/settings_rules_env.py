"""Which environment variables do not go together, or need one that is not set?"""

from __future__ import annotations

from collections.abc import Mapping

from backup_assets.settings_tree import suggestion
from backup_assets.settings_variables import file_columns


def contradicting_variables(given: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return which variables do not go together, or need one that is not set."""
    found: list[tuple[str, str]] = []
    if "DB_NAME" not in given:
        found.append(("DB_NAME", "missing; it names the database to back up"))
    if "DB_CONTAINER" in given and "DB_HOST" in given:
        found.append(("DB_CONTAINER", "not together with DB_HOST: the server is reached inside its container"))
    if "DB_CONTAINER_ENGINE" in given and "DB_CONTAINER" not in given:
        found.append(("DB_CONTAINER_ENGINE", "only together with DB_CONTAINER"))
    if "GPG_RECIPIENT" in given and "AGE_RECIPIENT" in given:
        found.append(("AGE_RECIPIENT", "not together with GPG_RECIPIENT; keep the one that is meant"))
    if "REMOTE_HOST" in given and "REMOTE_DIR" not in given:
        found.append(("REMOTE_DIR", "missing; REMOTE_HOST needs the directory there"))
    for first, start in (("REMOTE_HOST", "REMOTE_"), ("S3_BUCKET", "S3_COPY_"), ("S3_COPY_BUCKET", "S3_COPY_")):
        found += [
            (name, f"only together with {first}")
            for name in given
            if name.startswith(start) and first not in given
        ]  # fmt: skip
    found += [
        (name, "only together with SCRATCH_HOST")
        for name in ("SCRATCH_PORT", "SCRATCH_USER", "SCRATCH_PASSWORD")
        if name in given and "SCRATCH_HOST" not in given
    ]
    provider = given.get("PDF_PROVIDER")
    if provider == "local" and "ASSET_DIR" not in given:
        found.append(("ASSET_DIR", "missing; PDF_PROVIDER=local says that attachments lie in a folder"))
    if provider not in (None, "local"):
        if suggestion(provider, ["local"]):
            # Taken for another provider, it would leave the attachments out of every backup.
            found.append(("PDF_PROVIDER", f"found {provider!r}{suggestion(provider, ['local'])}"))
        elif "ASSET_DIR" in given:
            found.append(("ASSET_DIR", f"only with PDF_PROVIDER=local, not {provider!r}; unset one of the two"))
    if "ASSET_FILE_COLUMN" in given:
        if "ASSET_DIR" not in given:
            found.append(("ASSET_FILE_COLUMN", "only together with ASSET_DIR"))
        elif any(not part["table"] or not part["column"] for part in file_columns(given["ASSET_FILE_COLUMN"])):
            found.append(("ASSET_FILE_COLUMN", "expected table.column or schema.table.column, with commas between"))
    return found
