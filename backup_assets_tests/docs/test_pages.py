from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import get_args

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from backup_assets.aws.events import assets as aws_events
from backup_assets.aws.events.event import CATEGORIES
from backup_assets.aws.infrastructure import assets as infrastructure
from backup_assets.aws.rds import assets as rds
from backup_assets.aws.rds.drill.assets import ASSET as RDS_DRILL
from backup_assets.aws.rds.rebuild.assets import ASSET as RDS_REBUILD
from backup_assets.capture.assets import CaptureConfig
from backup_assets.capture.specs import QUICK_CHECKS, capture_specs
from backup_assets.cli.arguments import parser
from backup_assets.offsite.assets import ASSETS, CHECK, CROSS_COPY
from backup_assets.offsite.encrypted_assets import CHECK as ENCRYPTED_CHECK
from backup_assets.restore.automation import RestoreConfig
from backup_assets.restore.drill_assets import ASSET as DRILL
from backup_assets.restore.rotation_assets import IN_TIME as ROTATION_IN_TIME
from backup_assets.retention.assets import CHECK as RETENTION_CHECK
from backup_assets.sets.manifest import ServerFacts
from backup_assets.settings_docs import settings_page
from backup_assets.settings_loading import load_settings
from backup_assets.settings_variables import VARIABLES
from backup_assets.watch.checks import CHECKS as WATCH_CHECKS
from backup_assets.watch.figures import ObjectiveName
from backup_assets.watch.kinds import Kind
from backup_assets.watch.metrics import METRICS
from backup_assets.watch.report_assets import ASSET as REPORT
from backup_assets.watch.sensors import NAME as WATCH_SENSOR
from backup_assets_tests.docs.pages import DOCS, ROOT, anchors_of, blocks_of, links_of, pages, prose_of

README = ROOT / "README.md"
COMMAND = ".venv/bin/backup-assets"
#: Variables that are no settings: a confirmation, libpq's, and names of an example; and words of others in capitals.
OTHER_VARIABLES = {
    "AWS_SESSION_TOKEN", "BACKUP_DOCKER_NETWORK", "BACKUP_DOCKER_VOLUMES_FROM", "BACKUP_DRILL_ATTACHMENTS",
    "BACKUP_ECS_RUN_TASK", "BACKUP_IMAGE", "BACKUP_INSTANCE", "BACKUP_PG_MAJORS", "DAGSTER_HOME",
    "DAGSTER_LOGS_BUCKET", "DAGSTER_PG_URL", "DATABASE_URL", "DEEP_ARCHIVE", "ERP4_PASSWORD", "EUC_JP",
    "FULL_ID", "GPG_TTY", "PG_MAJORS", "RESTORE_CONFIRM",
}  # fmt: skip
#: What PostgreSQL's, GNU's, Docker's and other stock programs take.
STOCK_OPTIONS = {
    "--build-arg", "--clean", "--compress", "--compress-algo", "--create", "--dbname", "--env-file", "--globals-only",
    "--encoding", "--if-exists", "--kill", "--lc-collate", "--lc-ctype", "--list", "--template",
    "--no-owner", "--no-privileges", "--no-recursion", "--no-tablespaces", "--only", "--rounds",
    "--snapshot",
}  # fmt: skip
#: Words with an underscore that pages quote and that are neither settings nor assets: files, functions, names.
OTHER_WORDS = {
    "authorized_keys", "backup_assets", "content_sha256", "db_password", "end_offset", "erp4_backup", "erp4_backup_job",
    "erp4_copy", "erp4_old", "erp4_release_backup_job", "erp4_restore_job", "for_roles", "full_set",
    "hashtextextended",
    "in_process", "lc_messages", "max_concurrent_runs", "ordered_at", "run_launcher", "store_tokyo",
    "pg_dump", "pg_dumpall", "pg_read_all_data", "pg_restore", "pg_upgrade", "restores_within_rto",
    "transaction_timeout", "upload_file",
}  # fmt: skip


def subcommands() -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of the commands of `backup-assets` by name."""
    (action,) = (action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(action.choices)


def options_of(command: str) -> set[str]:
    """Return the options of a command of `backup-assets`, those of its own commands included."""
    return set(_options(subcommands()[command]))


def _options(command: argparse.ArgumentParser) -> Iterator[str]:
    for action in command._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from _options(inner)


def shell_lines(path: Path) -> list[str]:
    return [line for block in blocks_of(path) if block.language == "sh" for line in block.body.splitlines()]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target in links_of(page):
        if re.match(r"https?://", target):
            continue
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), f"{page.name} links {target}"
        assert linked.resolve().is_relative_to(ROOT)
        assert not anchor or anchor in anchors_of(linked), f"{page.name} links {target}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    waiting = [README]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        if page.suffix == ".md":
            linked = [(page.parent / target.partition("#")[0]).resolve() for target in links_of(page)]
            waiting += [path for path in linked if path.is_file()]
    assert [page for page in pages() if page not in reached] == []


def test_every_make_target_that_the_readme_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"^make ([a-z]+)$", quoted_in(README), re.MULTILINE))
    named |= {line.split()[1] for line in shell_lines(README) if line.startswith("make ")}
    assert {"demo", "dev", "test"} <= named <= targets


@pytest.mark.parametrize(
    "page", [README, *(DOCS / name for name in ("off-site.md", "secrets.md", "watch.md"))], ids=lambda page: page.name
)
def test_every_command_of_a_page_is_one_that_the_program_takes(page: Path) -> None:
    commands = [line.partition(COMMAND)[2] for line in shell_lines(page) if COMMAND in line]
    assert len(commands) > 4
    for command in commands:
        parser().parse_args(shlex.split(command))


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    for name in re.findall(r"backup-assets ([a-z][a-z-]*)\b", quoted_in(page)):
        assert name in subcommands(), f"{page.name} names backup-assets {name}"


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_option_that_a_page_names_exists(page: Path) -> None:
    known = STOCK_OPTIONS | {option for command in subcommands() for option in options_of(command)}
    named = set(re.findall(r"(?<!\S)(--[a-z-]+)", quoted_in(page)))
    assert named <= known, f"{page.name} names {sorted(named - known)}"


def test_the_variables_of_the_readme_configure_the_database_that_it_shows(tmp_path: Path) -> None:
    lines = [line for line in shell_lines(README) if line.startswith("export ")]
    words = [word for line in lines for word in shlex.split(line, comments=True)[1:]]
    settings = load_settings(dict(word.split("=", 1) for word in words), tmp_path)
    assert (settings.env, settings.backup_dir) == ("production", Path("/srv/backups"))
    assert settings.databases[0].server.host == "db.internal"


def test_the_yaml_of_the_readme_can_be_used_as_it_is(tmp_path: Path) -> None:
    (example,) = [block.body for block in blocks_of(README) if block.language == "yaml"]
    (tmp_path / "pdf").mkdir()
    (tmp_path / "backup.yaml").write_text(example.replace("/srv/erp4/pdf", str(tmp_path / "pdf")))
    settings = load_settings({"ERP4_PASSWORD": "x"}, tmp_path)
    assert [database.name for database in settings.databases] == ["erp4"]
    assert settings.databases[0].schedule.every == "6h"


def test_the_stores_of_the_off_site_page_can_be_used_as_they_are(tmp_path: Path) -> None:
    page = DOCS / "off-site.md"
    examples: list[list[tuple[str, str, str | None]]] = []
    for block in blocks_of(page):
        if block.language == "yaml" and "stores:" in block.body:
            (tmp_path / "backup.yaml").write_text(block.body)
            stores = load_settings({}, tmp_path).stores
            examples.append([(store.name, store.kind, store.copied_from) for store in stores])
    assert [("usb", "folder", None), ("tokyo", "s3", None)] in examples
    assert [("tokyo", "s3", None), ("osaka", "s3", "tokyo")] in examples
    lines = [line for line in shell_lines(page) if line.startswith("export ")]
    for name in ("erp4_backup", "erp4_known_hosts"):
        (tmp_path / name).touch()
    words = [word.replace("/home/backup/.ssh", str(tmp_path)) for line in lines for word in shlex.split(line)[1:]]
    stores = load_settings(dict(word.split("=", 1) for word in words), tmp_path / "elsewhere").stores
    assert {"folder", "s3", "s3_copy", "remote"} <= {store.name for store in stores if store.embedded is None}


def test_the_settings_of_the_secrets_page_can_be_used_as_they_are(tmp_path: Path) -> None:
    page = DOCS / "secrets.md"
    (example,) = [block.body for block in blocks_of(page) if block.language == "yaml"]
    for name in (".env", "jwt.key"):
        (tmp_path / name).touch()
    (tmp_path / "backup.yaml").write_text(example.replace("/srv/erp4", str(tmp_path)))
    secrets = load_settings({}, tmp_path).databases[0].secrets
    assert secrets is not None
    lines = [line.replace("/srv/erp4", str(tmp_path)) for line in shell_lines(page) if line.startswith("export ")]
    words = [word for line in lines for word in shlex.split(line)[1:]]
    variables = {"DB_NAME": "erp4", **dict(word.split("=", 1) for word in words)}
    given = load_settings(variables, tmp_path / "elsewhere").databases[0].secrets
    assert given == secrets.model_copy(update={"profile": None})


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_variable_that_a_page_names_exists(page: Path) -> None:
    known = {variable.name for variable in VARIABLES} | OTHER_VARIABLES
    named = set(re.findall(r"(?<![\w.$/])([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)\b", quoted_in(page)))
    assert named <= known, f"{page.name} names {sorted(named - known)}"


def test_every_field_asset_and_check_that_a_page_names_exists() -> None:
    demo = load_settings({}, Path("/nonexistent"))
    assets = {spec.key.path[-1] for spec in capture_specs(demo.databases[0])}
    known = OTHER_WORDS | assets | {*QUICK_CHECKS, CHECK, ENCRYPTED_CHECK, *ASSETS.values(), CROSS_COPY, DRILL, REPORT}
    known |= set(re.findall(r"`([a-z][a-z0-9_]*)`", settings_page())) | {*WATCH_CHECKS, *get_args(ObjectiveName)}
    known |= {*get_args(Kind), WATCH_SENSOR, *(one.name for one in METRICS)}
    known |= {
        rds.AUTOMATED_BACKUPS,
        rds.SNAPSHOT,
        rds.SNAPSHOT_COPY,
        rds.RETENTION,
        RDS_DRILL,
        RDS_REBUILD,
        infrastructure.RETENTION,
    }
    known |= {f"{infrastructure.ASSET}_{ASSETS['s3']}", aws_events.ASSET, *CATEGORIES, aws_events.MESSAGES_READ}
    known |= {*ServerFacts.model_fields}
    known |= {RETENTION_CHECK, ROTATION_IN_TIME, *CaptureConfig.model_fields, *RestoreConfig.model_fields}
    for page in pages():
        if page.name != "settings.md":
            words = set(re.findall(r"(?<![\w./<{*-])([a-z][a-z0-9]*(?:_[a-z0-9]+)+)(?![\w./>*])", quoted_in(page)))
            assert words <= known, f"{page.name} names {sorted(words - known)}"


def quoted_in(page: Path) -> str:
    """Return what a page quotes as code within its text."""
    return "\n".join(" ".join(text.split()) for text in re.findall(r"`([^`]+)`", prose_of(page)))


@pytest.mark.parametrize(
    "text", ["GPL-3.0-only", "License :: OSI Approved :: GNU General Public License (GPL)", "AGPL"]
)
def test_the_gpl_is_recognised(text: str) -> None:
    assert is_gpl(text)


def test_no_dependency_is_under_the_gpl() -> None:
    licences = {name: licence_of(name) for name in dependencies_of("backup-assets")}
    assert len(licences) > 20
    assert {name: text for name, text in licences.items() if is_gpl(text)} == {}


def is_gpl(text: str) -> bool:
    """Return whether the words name the GPL or AGPL, and not the LGPL."""
    return re.search(r"\bA?GPL|(?<!Lesser )General Public License", text) is not None


def dependencies_of(name: str, extras: tuple[str, ...] = ("",), seen: set[str] | None = None) -> set[str]:
    """Return the names of everything that is installed with a distribution."""
    seen = set() if seen is None else seen
    for text in metadata.requires(name) or []:
        wanted = Requirement(text)
        known = canonicalize_name(wanted.name)
        applies = wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in extras)
        if applies and known not in seen:
            seen.add(known)
            dependencies_of(wanted.name, ("", *wanted.extras), seen)
    return seen


def licence_of(name: str) -> str:
    """Return what a distribution says of its licence: its expression, its classifiers, or its free text's start."""
    described = metadata.metadata(name).json
    classifiers = [text for text in described.get("classifier", ()) if text.startswith("License")]
    return str(described.get("license_expression") or " ".join(classifiers) or described.get("license", "")[:100])


def test_decisions_are_numbered_without_gaps_and_have_all_three_parts() -> None:
    records = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    assert [path.name[:4] for path in records] == [f"{number:04d}" for number in range(1, len(records) + 1)]
    index = (DOCS / "decisions" / "README.md").read_text(encoding="utf-8")
    for path in records:
        text = path.read_text(encoding="utf-8")
        title = text.splitlines()[0].removeprefix(f"# {path.name[:4]} ")
        assert f"| [{path.name[:4]}]({path.name}) | {title} |" in index
        assert [part for part in ("**Context.**", "**Decision.**", "**Consequences.**") if part not in text] == []


def test_the_licence_is_the_one_that_the_package_declares() -> None:
    assert metadata.metadata("backup-assets")["License-Expression"] == "Apache-2.0"
    assert "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text()


def test_every_condition_that_is_told_is_explained() -> None:
    page = (DOCS / "alerts.md").read_text(encoding="utf-8")
    assert not [kind for kind in get_args(Kind) if f"| `{kind}` |" not in page]
