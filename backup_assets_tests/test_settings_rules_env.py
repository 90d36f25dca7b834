from __future__ import annotations

from pathlib import Path

import pytest

from backup_assets_tests.test_settings_env import mistakes


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"DB_HOST": "db"}, "DB_NAME: missing"),
        ({"DB_NAME": "x", "DB_HOST": "db", "DB_CONTAINER": "pg"}, "DB_CONTAINER: not together with DB_HOST"),
        ({"DB_NAME": "x", "DB_CONTAINER_ENGINE": "podman"}, "DB_CONTAINER_ENGINE: only together with DB_CONTAINER"),
        ({"DB_NAME": "x", "SCRATCH_PORT": "7432"}, "SCRATCH_PORT: only together with SCRATCH_HOST"),
        ({"DB_NAME": "x", "PDF_PROVIDER": "local"}, "ASSET_DIR: missing"),
        ({"DB_NAME": "x", "PDF_PROVIDER": "s3", "ASSET_DIR": "."}, "ASSET_DIR: only with PDF_PROVIDER=local"),
        ({"DB_NAME": "x", "PDF_PROVIDER": "Locl"}, "PDF_PROVIDER: found 'Locl'; did you mean local?"),
        ({"DB_NAME": "x", "ASSET_FILE_COLUMN": "a.b"}, "ASSET_FILE_COLUMN: only together with ASSET_DIR"),
        ({"DB_NAME": "x", "ASSET_DIR": "."}, "ASSET_DIR: "),
        ({"DB_NAME": "x", "BACKUP_SCHEDULE": "6h", "BACKUP_TIME": "02:00"}, "BACKUP_TIME: only with `every: day`"),
        ({"DB_NAME": "x", "BACKUP_DIR": "sets", "ASSET_DIR": "sets/pdf"}, "ASSET_DIR: "),
        (
            {"DB_NAME": "x", "S3_BUCKET": "b", "SSE_KMS_KEY_ID": "k", "SSE_S3": "AES256"},
            "SSE_S3: `sse_s3` (SSE_S3) and `sse_kms_key_id` (SSE_KMS_KEY_ID) exclude each other",
        ),
        ({"DB_NAME": "x", "S3_BUCKET": "b"}, "SSE_KMS_KEY_ID: missing, and so is `sse_s3` (SSE_S3)"),
        ({"DB_NAME": "x", "S3_REGION": "r", "SSE_S3": "AES256"}, "S3_BUCKET: missing"),
        ({"DB_NAME": "x", "S3_BUCKET": "b", "SSE_S3": "AES"}, "SSE_S3: found 'AES'; expected one of AES256"),
        ({"DB_NAME": "x", "FOLDER_COPY_MUST_BE_MOUNT": "1"}, "FOLDER_COPY_DIR: missing"),
        ({"DB_NAME": "x", "FOLDER_COPY_DIR": "u", "FOLDER_COPY_MUST_BE_MOUNT": "maybe"}, "FOLDER_COPY_MUST_BE_MOUNT: "),
        ({"DB_NAME": "x", "FOLDER_COPY_DIR": ".backups/copy"}, "FOLDER_COPY_DIR: "),
        (
            {"DB_NAME": "x", "S3_BUCKET": "b", "SSE_S3": "AES256", "S3_ENDPOINT_URL": "https://u:hunter2@host"},
            "S3_ENDPOINT_URL: holds a user or password",
        ),
    ],
)
def test_variables_that_do_not_go_together_make_one_clear_mistake(
    tmp_path: Path, variables: dict[str, str], said: str
) -> None:
    found = mistakes(tmp_path, **variables)
    assert found.startswith(said)
    assert "\n" not in found
    assert "hunter2" not in found


def test_a_file_column_without_a_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pdf").mkdir()
    found = mistakes(tmp_path, DB_NAME="x", ASSET_DIR="pdf", ASSET_FILE_COLUMN="a.b,pdf_path")
    assert found.startswith("ASSET_FILE_COLUMN: expected table.column")
