"""The templates themselves: does AWS know everything in them, and can they be changed without replacing anything?"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

import pytest
from cfnlint.api import ManualArgs, lint
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from backup_assets.aws.policies import KEY_CARE
from backup_assets.aws.provision.template import CREATE_ONLY, _parsed, resources_of, template_text
from backup_assets.aws.provision.wanted import SLOTS
from backup_assets.aws.scope import Roles
from backup_assets.aws.statements import KEY_USES
from backup_assets_tests.aws.conftest import OSAKA, TOKYO
from backup_assets_tests.docs.pages import DOCS

_ACTION = re.compile(r"`([a-z0-9-]+:[A-Z][A-Za-z]+)`")
REGIONS = {"first": TOKYO, "second": OSAKA}
EVERYTHING = {
    "Environment": "production",
    "Name": "backup-assets",
    "Vault": "backup-assets",
    "LockDays": "14",
    "RestoreTestingPlan": "backup_assets",
    "TestedRds": "arn:aws:rds:ap-northeast-1:123456789012:db:erp4-prod",
    "TestedAurora": "arn:aws:rds:ap-northeast-1:123456789012:cluster:erp4-cluster",
    **{slot: f"arn:aws:rds:ap-northeast-1:123456789012:db:{slot.lower()}" for slot in SLOTS},
}


def all_resources() -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for template in REGIONS:
        for name, one in _parsed(template_text(template))["Resources"].items():
            yield template, name, one


def test_every_template_of_the_folder_is_looked_at_here() -> None:
    names = {one.name for one in files("backup_assets.aws.provision").joinpath("templates").iterdir()}

    assert names == {f"{name}.yaml" for name in REGIONS}


@pytest.mark.parametrize("name", REGIONS)
def test_aws_knows_everything_in_a_template(name: str) -> None:
    found = lint(template_text(name), config=ManualArgs(regions=list(REGIONS.values())))

    assert [f"{one.rule.id} {one.message}" for one in found] == []


def test_the_page_lists_what_cloudformation_needs_and_nothing_that_takes_away() -> None:
    takes_away = ("Delete", "Remove", "Detach", "Untag", "Disable")
    needed: set[str] = set()
    for kind in {one["Type"] for _, _, one in all_resources()}:
        handlers = PROVIDER_SCHEMA_MANAGER.get_resource_schema(TOKYO, kind).schema["handlers"]
        for name in ("create", "read", "update"):
            needed |= set(handlers.get(name, {}).get("permissions", ()))
    part = (DOCS / "aws.md").read_text().partition("## Plan and apply\n")[2].partition("\n## ")[0]
    listed = {one for line in part.splitlines() if line.startswith("| CloudFormation") for one in _ACTION.findall(line)}

    assert listed == {one for one in needed if not one.partition(":")[2].startswith(takes_away)}


def test_the_lint_finds_what_is_wrong() -> None:
    broken = template_text("first").replace("BackupVaultName:", "VaultName:")

    assert lint(broken, config=ManualArgs(regions=[TOKYO]))


def test_what_holds_data_or_keys_outlives_its_stack() -> None:
    kinds = {"AWS::Backup::BackupVault", "AWS::KMS::Key", "AWS::KMS::Alias", "AWS::SQS::Queue", "AWS::S3::Bucket"}
    holding = [(template, name, one) for template, name, one in all_resources() if one["Type"] in kinds]

    assert {name for _, name, _ in holding} == {"BackupVault", "Key", "KeyAlias", "Events"}
    assert all(one["DeletionPolicy"] == one["UpdateReplacePolicy"] == "Retain" for _, _, one in holding)


@pytest.mark.parametrize("kind", sorted({one["Type"] for _, _, one in all_resources()}))
def test_the_properties_that_cannot_be_changed_are_those_of_the_schemas(kind: str) -> None:
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(TOKYO, kind).schema
    paths = (*schema.get("createOnlyProperties", ()), *schema.get("conditionalCreateOnlyProperties", ()))
    known = {path.split("/")[2] for path in paths} - {"EventBusName"}  # which no template sets

    assert set(CREATE_ONLY[kind]) == known


def test_what_cannot_be_changed_depends_on_no_attribute() -> None:
    # With `GetAtt` CloudFormation announces a conditional replacement whenever the other resource changes.
    for _, name, one in all_resources():
        for prop in CREATE_ONLY[one["Type"]]:
            assert "GetAtt" not in str(one["Properties"].get(prop)), name


def test_locks_are_of_governance_mode() -> None:
    locks = [
        made.body["Properties"]["LockConfiguration"]
        for template in REGIONS
        for made in resources_of(template_text(template), EVERYTHING).values()
        if made.type == "AWS::Backup::BackupVault"
    ]

    assert locks == [{"MinRetentionDays": "14"}] * 2  # ChangeableForDays would make it compliance


def test_the_slots_are_those_of_the_template() -> None:
    selections = {
        made.body["Properties"]["BackupSelection"]["Resources"][0]
        for made in resources_of(template_text("first"), EVERYTHING).values()
        if made.type == "AWS::Backup::BackupSelection"
    }

    assert selections == {EVERYTHING[slot] for slot in SLOTS}


class TestTheKey:
    @pytest.fixture
    def statements(self) -> dict[str, Any]:
        key = resources_of(template_text("second"), EVERYTHING)["Key"].body["Properties"]
        assert key["EnableKeyRotation"] == "true"
        return {one["Sid"]: one for one in key["KeyPolicy"]["Statement"]}

    def test_caring_for_it_is_what_it_is_for_other_keys(self, statements: dict[str, Any]) -> None:
        assert tuple(statements["Care"]["Action"]) == KEY_CARE

    def test_the_account_may_do_with_it_what_cloudformation_has_to_do(self, statements: dict[str, Any]) -> None:
        # KMS asks the key's own policy too: https://docs.aws.amazon.com/kms/latest/developerguide/alias-access.html
        needed: set[str] = set()
        for kind in ("AWS::KMS::Key", "AWS::KMS::Alias"):
            handlers = PROVIDER_SCHEMA_MANAGER.get_resource_schema(OSAKA, kind).schema["handlers"]
            needed |= {action for name in ("create", "read", "update") for action in handlers[name]["permissions"]}
        of_the_account = [
            action
            for one in statements.values()
            if one["Effect"] == "Allow" and "Condition" not in one and one["Principal"]["AWS"] != "*"
            for action in one["Action"]
        ]

        # There is no key yet, or none is asked about; and what takes away or stops is not given.
        of_no_key = {"kms:CreateKey", "kms:ListAliases"}
        assert {one for one in needed if "Untag" not in one and "Disable" not in one} - of_no_key <= set(of_the_account)

    def test_the_account_cannot_give_the_use_of_it_to_anybody(self, statements: dict[str, Any]) -> None:
        assert not set(statements["Care"]["Action"]) & {*KEY_USES, "kms:CreateGrant"}

    def test_only_the_service_role_stores_copies(self, statements: dict[str, Any]) -> None:
        users = [sid for sid, one in statements.items() if one["Effect"] == "Allow" and "kms:Decrypt" in one["Action"]]

        # Whoever makes the vault uses the key through AWS Backup; what RDS keeps is reached through RDS.
        assert users == ["MakingTheVault", "StoringCopies"]
        via = statements["MakingTheVault"]["Condition"]["StringEquals"]["kms:ViaService"]
        assert via == "backup.${AWS::Region}.amazonaws.com"
        condition = statements["StoringCopies"]["Condition"]
        assert condition["ArnEquals"]["aws:PrincipalArn"].endswith(":role/backup-assets-aws-backup")
        assert condition["StringEquals"] == {"kms:CallerAccount": {"Ref": "AWS::AccountId"}}

    def test_a_custodian_grants_to_the_restorer_and_uses_nothing(self, statements: dict[str, Any]) -> None:
        roles = Roles()
        granting, never = statements["Granting"]["Condition"], statements["NeverThese"]
        assert granting["StringEquals"]["kms:GranteePrincipal"].endswith(f":role/{roles.restorer}")
        assert granting["ArnEquals"]["aws:PrincipalArn"].endswith(f":role/{roles.custodian}")
        denied = {arn.rpartition("/")[2] for arn in never["Condition"]["ArnEquals"]["aws:PrincipalArn"]}
        assert denied == {roles.administrator, roles.custodian}
        assert set(never["Action"]) == set(KEY_USES)

    def test_every_statement_for_everyone_is_limited_to_a_role_of_the_account(self, statements: dict[str, Any]) -> None:
        open_to_all = [
            one for one in statements.values() if one["Effect"] == "Allow" and one["Principal"] == {"AWS": "*"}
        ]

        assert len(open_to_all) == 4
        for one in open_to_all:
            assert one["Condition"]["StringEquals"]["kms:CallerAccount"] == {"Ref": "AWS::AccountId"}
            assert "*" not in one["Condition"]["ArnEquals"]["aws:PrincipalArn"]


def test_events_of_both_regions_are_the_same() -> None:
    patterns = [
        _parsed(template_text(name))["Resources"]["EventsRule"]["Properties"]["EventPattern"] for name in REGIONS
    ]

    assert all(one == other for one, other in itertools.pairwise(patterns))
