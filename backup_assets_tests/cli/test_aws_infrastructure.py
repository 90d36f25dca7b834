"""Documents of the infrastructure, read through the command line from the stores that hold them."""

# ruff: noqa: F811 - fixtures are named again where they are used

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from backup_assets.aws.infrastructure.capture import capture_infrastructure
from backup_assets.aws.infrastructure.place import KIND, infrastructure_databases
from backup_assets.local import place_of
from backup_assets.named_stores import catalog_in, store_named
from backup_assets.offsite.copies import copy_slot
from backup_assets.offsite.encrypted import encrypt_sets
from backup_assets.settings_loading import load_settings
from backup_assets_tests.aws.conftest import INSTANCE, PretendedAws, aws, moto_address  # noqa: F401 - fixtures
from backup_assets_tests.aws.infrastructure.estate import BUCKET, CANARY, FUNCTION, make_estate, set_parameter
from backup_assets_tests.ciphers.keys import Keyrings
from backup_assets_tests.cli.conftest import Command

CHANGED = "rds_parameter_groups/erp4-parameters/log_min_duration_statement: 1000 → 5000"


@pytest.fixture
def estate(aws: PretendedAws, an_empty_directory: Path) -> PretendedAws:
    make_estate(aws)
    configure(aws, an_empty_directory)
    return aws


def configure(aws: PretendedAws, directory: Path, **others: Any) -> None:
    infrastructure = {"lambda_functions": [FUNCTION], "buckets": [BUCKET], **others.pop("infrastructure", {})}
    tree = {
        "env": "prod",
        "backup_dir": "local",
        "databases": {
            "erp4": {
                "server": {"host": "erp4.example.com"},
                "rds": {"instance": INSTANCE},
                "schedule": {"timezone": "UTC"},
            }
        },
        "aws": {"endpoint_url": aws.endpoint_url, "infrastructure": infrastructure},
        **others,
    }
    (directory / "backup.yaml").write_text(yaml.safe_dump(tree))


def written_down(day: int) -> str:
    """Return the id of the document that the asset makes on that day."""
    settings = load_settings()
    wanted = settings.aws.infrastructure
    assert wanted is not None
    moment = datetime(2026, 11, day, 2, 0, tzinfo=UTC)
    slot, run = f"2026-11-{day}", f"{day:08x}-0000"
    done = capture_infrastructure(settings, wanted, slot, run, log=[].append, now=lambda: moment)
    return done.manifest.id


def test_documents_are_listed_shown_and_compared(command: Command, estate: PretendedAws) -> None:
    assert "no document" in command("aws", "infrastructure", "list").err
    first = written_down(21)
    set_parameter(estate, "log_min_duration_statement", "5000")
    second = written_down(22)

    listed = json.loads(command("aws", "infrastructure", "list", "--json").out)
    assert [(one["id"], one["state"], one["encrypted"]) for one in listed] == [
        (second, "complete", False), (first, "complete", False),
    ]  # fmt: skip
    assert second in command("aws", "infrastructure", "list").out
    shown = command("aws", "infrastructure", "show", "2026-11-21")
    assert shown.status == 0
    assert json.loads(shown.out)["settings"]["rds"][INSTANCE]["BackupRetentionPeriod"] == 14
    different = command("aws", "infrastructure", "diff", first)
    assert (different.status, different.out.splitlines()) == (1, [CHANGED])
    same = command("aws", "infrastructure", "diff", second, second)
    assert (same.status, same.out) == (0, "")


def test_an_encrypted_copy_on_another_disk_is_read_there(
    command: Command,
    aws: PretendedAws,
    an_empty_directory: Path,
    keyrings: Keyrings,
) -> None:
    make_estate(aws)
    (an_empty_directory / "usb").mkdir()
    usb = {"kind": "folder", "directory": str(an_empty_directory / "usb")}
    to_lena = {"recipients": [keyrings.lena], "gpg_homedir": str(keyrings.host)}
    configure(aws, an_empty_directory, stores={"usb": usb}, encryption=to_lena)
    taken = written_down(22)
    settings = load_settings()
    (database,) = infrastructure_databases(settings)
    sets = catalog_in(store_named(settings, "local"), place_of(database, settings)).sets()
    encrypt_sets(database, settings, sets, log=[].append)
    copy_slot(database, settings, store_named(settings, "usb"), "2026-11-22", KIND, log=[].append)

    refused = command("aws", "infrastructure", "show", "--store", "usb")
    assert refused.status != 0
    assert keyrings.lena[-16:] in refused.err
    configure(
        aws, an_empty_directory, stores={"usb": usb},
        encryption={**to_lena, "gpg_homedir": str(keyrings.lena_home)},
    )  # fmt: skip
    shown = command("aws", "infrastructure", "show", taken, "--store", "usb")
    assert json.loads(shown.out)["settings"]["rds"][INSTANCE]["BackupRetentionPeriod"] == 14
    assert not any((an_empty_directory / "local" / ".work").iterdir())


def test_values_encrypted_at_capture_are_shown_to_who_has_the_key(
    command: Command,
    aws: PretendedAws,
    an_empty_directory: Path,
    keyrings: Keyrings,
) -> None:
    make_estate(aws)
    encryption = {"recipients": [keyrings.lena], "gpg_homedir": str(keyrings.lena_home)}
    configure(aws, an_empty_directory, encryption=encryption, infrastructure={"values": True})
    written_down(22)

    shown = command("aws", "infrastructure", "show")

    assert shown.status == 0, shown.err
    assert json.loads(shown.out)["settings"]["lambda"][FUNCTION]["Environment"]["TOKEN"] == CANARY


def test_a_document_that_was_changed_is_not_shown(command: Command, estate: PretendedAws) -> None:
    taken = written_down(22)
    path = Path(f"local/infrastructure/prod/assets/{taken}.infrastructure.json")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"1000", b"2000"))

    shown = command("aws", "infrastructure", "show")

    assert (shown.status, shown.out) == (1, "")
    assert "damaged" in shown.err
    path.unlink()
    assert command("aws", "infrastructure", "list").status == 1


def test_where_nothing_is_written_down_it_says_what_to_configure(
    command: Command, an_empty_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_NAME", "erp4")
    ended = command("aws", "infrastructure", "list")
    assert ended.status == 2
    assert "set it in backup.yaml" in ended.err
