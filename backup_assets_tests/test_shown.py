from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, get_args

import dagster as dg
import pytest
from dagster._config import ConfigType, Field
from dagster._core.definitions.repository_definition import RepositoryDefinition

from backup_assets.capture.assets import CaptureConfig
from backup_assets.definitions import build_definitions
from backup_assets.restore.automation import RestoreConfig
from backup_assets.settings import Settings
from backup_assets.settings_aws import AwsSettings, RdsSettings
from backup_assets.settings_loading import demo_settings, load_settings
from backup_assets.settings_stores import StoreSettings
from backup_assets.shown import CONSOLE, DOCUMENTATION, bucket_console, rds_console
from backup_assets_tests.docs.pages import ROOT, anchors_of

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)
#: Everything that adds an asset, a check, a job, a schedule or a sensor.
EVERYTHING = """
env: production
backup_dir: sets
encryption: {recipients: [0123456789ABCDEF0123456789ABCDEF01234567]}
stores:
  usb: {kind: folder, directory: /mnt/usb}
  tokyo: {kind: s3, bucket: erp4-tokyo, prefix: backups, sse_s3: AES256, region: ap-northeast-1}
  osaka: {kind: s3, bucket: erp4-osaka, sse_s3: AES256, region: ap-northeast-3, copied_from: tokyo}
  other: {kind: ssh, host: other.example, remote_dir: /srv/backups}
aws:
  infrastructure: {buckets: [erp4-attachments]}
  backup_plan: {}
  events: {queue_url: "https://sqs.ap-northeast-1.amazonaws.com/111122223333/backup-assets"}
databases:
  erp4:
    server: {host: db.internal.example}
    important_tables: [invoices]
    attachments: {directory: attachments, files: [{table: invoices, column: pdf_path}]}
    secrets: {files: [.env], secrets_manager: [erp4/jwt]}
    rds:
      instance: erp4-prod
      copies: {region: ap-northeast-3, kms_key_id: alias/osaka}
      drill: {security_groups: [sg-0123456789abcdef0]}
  wiki:
    server: {host: db.internal.example, port: 5433}
    rds: {cluster: wiki-prod}
"""


@cache
def repository_of(name: str, directory: Path) -> RepositoryDefinition:
    return build_definitions(settings_of(name, directory), NOW).get_repository_def()


def settings_of(name: str, directory: Path) -> Settings:
    if name == "demo":
        return demo_settings(directory / "backups", directory / "demo")
    (directory / "attachments").mkdir(exist_ok=True)
    (directory / ".env").write_text("TOKEN=x\n")
    (directory / "backup.yaml").write_text(EVERYTHING)
    return load_settings({}, directory)


@pytest.fixture(scope="module", params=["demo", "everything"])
def a_repository(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RepositoryDefinition:
    return repository_of(request.param, tmp_path_factory.mktemp(request.param))


def specs_of(repository: RepositoryDefinition) -> dict[str, dg.AssetSpec]:
    found = [spec for one in repository.assets_defs_by_key.values() for spec in one.specs]
    return {spec.key.to_user_string(): spec for spec in found}


def check_specs_of(repository: RepositoryDefinition) -> dict[str, dg.AssetCheckSpec]:
    graph = repository.asset_graph
    return {f"{key.asset_key.to_user_string()} {key.name}": graph.get_check_spec(key) for key in graph.asset_check_keys}


def is_sentence(text: str | None) -> bool:
    """Return whether a text is something that a person can read: more than a word, and whole."""
    return text is not None and len(text.split()) >= 4 and (text[0].isupper() or text.startswith("`"))


def pages_of(metadata: Any) -> set[str]:
    return {str(value.value) for key, value in metadata.items() if key == DOCUMENTATION}


def test_what_is_looked_at_is_everything_that_can_be_defined(tmp_path: Path) -> None:
    repository = repository_of("everything", tmp_path)
    names = {key.split("/")[-1] for key in specs_of(repository)}
    assert names >= {
        "postgres", "attachments", "environment", "db_dump", "globals", "pdf_archive", "secrets", "metadata",
        "important_tables", "encrypted", "important_tables_encrypted", "s3_upload", "cross_region_copy", "folder_copy",
        "remote_copy", "restore_drill", "release", "retention", "verification", "monthly_report", "infrastructure",
        "infrastructure_retention", "aws_events", "rds_automated_backups", "rds_snapshot", "rds_snapshot_copy",
        "rds_retention", "rds_restore_drill",
    }  # fmt: skip


def test_every_asset_says_what_it_is_whose_it_is_and_what_to_read(a_repository: RepositoryDefinition) -> None:
    for name, spec in specs_of(a_repository).items():
        assert is_sentence(spec.description), name
        assert spec.owners, name
        assert spec.kinds, name
        assert spec.group_name == spec.key.path[0], name
        assert len(pages_of(spec.metadata)) == 1, name


def test_every_check_says_what_it_proves(a_repository: RepositoryDefinition) -> None:
    checks = check_specs_of(a_repository)
    assert len(checks) >= 10
    for name, spec in checks.items():
        assert is_sentence(spec.description), name


def test_every_job_says_what_it_does_whose_it_is_and_what_to_read(a_repository: RepositoryDefinition) -> None:
    for job in a_repository.get_all_jobs():
        if job.name.startswith("__"):  # Dagster's own, of which the pages show nothing
            continue
        assert is_sentence(job.description), job.name
        assert job.owners, job.name
        assert len(pages_of(job.metadata)) == 1, job.name


def test_every_schedule_says_what_it_launches_and_whose_it_is(a_repository: RepositoryDefinition) -> None:
    for schedule in a_repository.schedule_defs:
        assert is_sentence(schedule.description), schedule.name
        assert schedule.job.name in str(schedule.description), schedule.name
        assert schedule.owners, schedule.name


def test_every_sensor_says_what_it_does_and_whose_it_is(a_repository: RepositoryDefinition) -> None:
    for sensor in a_repository.sensor_defs:
        assert is_sentence(sensor.description), sensor.name
        assert sensor.owners, sensor.name


def test_pages_that_know_no_markdown_are_given_none(a_repository: RepositoryDefinition) -> None:
    plain = [one.description for one in (*a_repository.schedule_defs, *a_repository.sensor_defs)]
    plain += [text for _, text in fields_of(a_repository)]
    for text in plain:
        assert "`" not in str(text)
        assert "\n" not in str(text)


def test_every_page_that_is_named_is_there(a_repository: RepositoryDefinition) -> None:
    named = {page for spec in specs_of(a_repository).values() for page in pages_of(spec.metadata)}
    named |= {page for job in a_repository.get_all_jobs() for page in pages_of(job.metadata)}
    assert named
    for target in named:
        page, _, anchor = target.partition("#")
        assert (ROOT / page).is_file(), target
        assert not anchor or anchor in anchors_of(ROOT / page), target


def fields_of(repository: RepositoryDefinition) -> Iterator[tuple[str, str | None]]:
    """Yield every field that the launchpad shows of the steps of our jobs, with what it says of it."""
    for job in repository.get_all_jobs():
        for node in job.nodes:
            schema = node.definition.config_field if isinstance(node.definition, dg.OpDefinition) else None
            if schema is not None and "aws_events" not in node.name:  # a sensor fills that in
                yield from _fields(f"{job.name} {node.name}", schema.config_type)


def _fields(where: str, kind: ConfigType) -> Iterator[tuple[str, str | None]]:
    for name, field in getattr(kind, "fields", {}).items():
        assert isinstance(field, Field)
        yield f"{where} {name}", field.description


def test_every_field_of_the_launchpad_says_what_it_means(a_repository: RepositoryDefinition) -> None:
    fields = dict(fields_of(a_repository))
    assert {"erp4_backup_job erp4_capture label", "erp4_restore_job erp4_restore restore_confirm"} <= set(fields)
    assert [name for name, text in fields.items() if len((text or "").split()) < 4] == []


@pytest.mark.parametrize("config", [CaptureConfig, RestoreConfig])
def test_the_launchpad_shows_every_text_that_may_be_filled_in(config: type[dg.Config]) -> None:
    # What has no default is not written into it. An empty name of a database is no request to replace the live one.
    texts = {name for name, field in config.model_fields.items() if str in get_args(field.annotation)} - {"into"}
    assert {name for name in texts if config.model_fields[name].default is None} == set()


def test_a_copy_in_aws_leads_to_its_bucket_in_the_console(tmp_path: Path) -> None:
    specs = specs_of(repository_of("everything", tmp_path))
    console = {name: str(spec.metadata[CONSOLE].value) for name, spec in specs.items() if CONSOLE in spec.metadata}

    assert console["erp4/s3_upload"] == (
        "https://console.aws.amazon.com/s3/buckets/erp4-tokyo?region=ap-northeast-1&prefix=backups/erp4/production/"
    )
    assert console["erp4/rds_snapshot"].endswith("#database:id=erp4-prod;is-cluster=false")
    assert console["wiki/rds_snapshot"].endswith("#database:id=wiki-prod;is-cluster=true")
    assert not {"erp4/folder_copy", "erp4/remote_copy"} & set(console)


def test_what_is_not_in_aws_has_no_page_in_its_console() -> None:
    elsewhere = StoreSettings(name="minio", kind="s3", bucket="b", endpoint_url="https://minio.example")
    assert bucket_console(elsewhere, "erp4/local") is None
    china = StoreSettings(name="beijing", kind="s3", bucket="b", region="cn-north-1")
    assert bucket_console(china, "erp4/local") is None
    assert rds_console(RdsSettings(instance="erp4"), AwsSettings(endpoint_url="http://127.0.0.1:5000")) == {}
