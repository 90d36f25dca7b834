from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from botocore.stub import Stubber

from backup_assets.aws.answers import Exists, Missing
from backup_assets.aws.rds.api import Kind, RdsApi, api_of
from backup_assets.settings_aws import RdsSettings
from backup_assets_tests.aws.conftest import CLUSTER, INSTANCE, OSAKA, OTHER_ACCOUNT, TOKYO, PretendedAws

TAGS = {"backup-assets:database": "erp4", "backup-assets:slot": "2026-11-22"}
NAMES = {"instance": INSTANCE, "cluster": CLUSTER}


@pytest.fixture(params=["instance", "cluster"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture
def api(aws: PretendedAws, kind: Kind) -> RdsApi:
    if kind == "instance":
        aws.make_instance()
    else:
        aws.make_cluster()
    return RdsApi(aws.access(), kind)


def test_the_settings_say_which_kind_it_is(aws: PretendedAws):
    assert api_of(aws.access(), RdsSettings(instance="a")).kind == "instance"
    assert api_of(aws.access(), RdsSettings(cluster="a")).kind == "cluster"


def test_a_source_is_told_in_the_same_words_for_both_kinds(api: RdsApi, aws: PretendedAws):
    source = api.source(NAMES[api.kind])

    assert (source.identifier, source.status) == (NAMES[api.kind], "available")
    assert (source.retention_days, source.deletion_protection, source.encrypted) == (14, True, True)
    assert source.kms_key_id == aws.tokyo_key
    assert source.engine_version == "17.6"
    assert source.port == 5432
    assert source.host
    assert source.host.endswith(".ap-northeast-1.rds.amazonaws.com")
    assert source.latest_restorable is not None


def test_a_source_that_is_not_there_is_missing(api: RdsApi):
    with pytest.raises(Missing, match=f"could not look at the {api.kind} nobody in ap-northeast-1"):
        api.source("nobody")


def test_automated_backups_of_a_former_instance_of_that_name_do_not_count(aws: PretendedAws):
    aws.make_instance()
    api = RdsApi(aws.access(), "instance")
    raw = aws.client("rds").describe_db_instances(DBInstanceIdentifier=INSTANCE)["DBInstances"][0]
    own, former = datetime(2026, 11, 8, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)

    with Stubber(api.client) as stub:
        stub.add_response("describe_db_instances", {"DBInstances": [raw]}, {"DBInstanceIdentifier": INSTANCE})
        backups = [
            {"DbiResourceId": "db-FORMER", "RestoreWindow": {"EarliestTime": former}},
            {"DbiResourceId": raw["DbiResourceId"], "RestoreWindow": {"EarliestTime": own}},
        ]
        stub.add_response(
            "describe_db_instance_automated_backups",
            {"DBInstanceAutomatedBackups": backups},
            {"DBInstanceIdentifier": INSTANCE},
        )
        assert api.source(INSTANCE).earliest_restorable == own


def test_an_instance_without_automated_backups_reaches_nowhere(aws: PretendedAws):
    aws.make_instance()
    api = RdsApi(aws.access(), "instance")
    raw = aws.client("rds").describe_db_instances(DBInstanceIdentifier=INSTANCE)["DBInstances"][0]

    with Stubber(api.client) as stub:
        stub.add_response("describe_db_instances", {"DBInstances": [raw]})
        stub.add_client_error("describe_db_instance_automated_backups", "DBInstanceAutomatedBackupNotFound", "", 404)
        assert api.source(INSTANCE).earliest_restorable is None


def test_a_snapshot_bears_its_tags_and_is_found_again(api: RdsApi, aws: PretendedAws):
    before = datetime.now(UTC) - timedelta(seconds=5)

    made = api.create_snapshot(NAMES[api.kind], "first", TAGS)

    found = api.snapshot("first")
    assert found == made
    assert found is not None
    assert found.tags == TAGS
    assert found.is_available
    assert found.encrypted
    assert (found.source, found.kms_key_id) == (NAMES[api.kind], aws.tokyo_key)
    assert (found.region, found.account) == (TOKYO, "123456789012")
    assert found.taken_at is not None
    assert before < found.taken_at < datetime.now(UTC) + timedelta(seconds=5)
    assert found.taken_at.tzinfo is UTC


def test_a_name_that_is_taken_is_told(api: RdsApi):
    api.create_snapshot(NAMES[api.kind], "first", TAGS)

    with pytest.raises(Exists, match="could not take the snapshot first"):
        api.create_snapshot(NAMES[api.kind], "first", TAGS)


def test_a_snapshot_that_is_not_there_is_none(api: RdsApi):
    assert api.snapshot("nothing") is None


def test_snapshots_are_listed_newest_first_over_several_pages(api: RdsApi):
    for number in range(105):
        api.create_snapshot(NAMES[api.kind], f"number-{number}", TAGS)

    listed = api.snapshots(NAMES[api.kind])

    assert len(listed) == 105
    assert [one.taken_at for one in listed] == sorted((one.taken_at for one in listed if one.taken_at), reverse=True)


def test_snapshots_of_another_source_are_not_listed(api: RdsApi):
    api.create_snapshot(NAMES[api.kind], "first", TAGS)

    assert [one.identifier for one in api.snapshots(NAMES[api.kind])] == ["first"]
    assert api.snapshots("another") == ()


def test_snapshots_outlive_their_source(aws: PretendedAws):
    aws.make_instance()
    api = RdsApi(aws.access(), "instance")
    api.create_snapshot(INSTANCE, "first", TAGS)
    rds = aws.client("rds")
    rds.modify_db_instance(DBInstanceIdentifier=INSTANCE, DeletionProtection=False)
    rds.delete_db_instance(DBInstanceIdentifier=INSTANCE, SkipFinalSnapshot=True)

    assert [one.identifier for one in api.snapshots(INSTANCE)] == ["first"]


def test_those_of_a_source_that_is_not_there_are_asked_for_without_naming_it(api: RdsApi):
    # RDS demands that a source that is named exists in that region.
    asked: list[dict[str, Any]] = []
    api.client.meta.events.register("before-parameter-build.rds", lambda params, **_: asked.append(dict(params)))

    api.snapshots(NAMES[api.kind])

    assert [set(request) for request in asked] == [{"SnapshotType"}]


def test_a_copy_goes_to_the_other_region_under_the_key_there(api: RdsApi, aws: PretendedAws):
    original = api.create_snapshot(NAMES[api.kind], "first", TAGS)
    osaka = api.within(OSAKA)

    copy = osaka.copy_snapshot(original, "first", {"a": "b"}, from_region=TOKYO, kms_key_id=aws.osaka_key)

    assert copy.kms_key_id == aws.osaka_key
    assert copy.encrypted
    assert copy.tags == {"a": "b"}
    assert (copy.region, copy.source) == (OSAKA, NAMES[api.kind])
    assert osaka.snapshots(NAMES[api.kind]) == (copy,)


def test_a_copy_across_regions_bears_a_request_that_its_own_region_signed(api: RdsApi, aws: PretendedAws):
    original = api.create_snapshot(NAMES[api.kind], "first", TAGS)
    osaka = api.within(OSAKA)
    sent: list[dict[str, list[str]]] = []
    osaka.client.meta.events.register(
        "before-send.rds", lambda request, **_: sent.append(parse_qs(_text(request.body)))
    )

    osaka.copy_snapshot(original, "first", TAGS, from_region=TOKYO, kms_key_id=aws.osaka_key)

    (form,) = sent
    presigned = parse_qs(urlsplit(form["PreSignedUrl"][0]).query)
    assert presigned["DestinationRegion"] == [OSAKA]
    assert presigned["KmsKeyId"] == [aws.osaka_key]
    assert f"/{TOKYO}/rds/aws4_request" in unquote(presigned["X-Amz-Credential"][0])
    assert any(original.arn in values for values in presigned.values())


def test_a_copy_within_a_region_needs_no_such_request(api: RdsApi, aws: PretendedAws):
    original = api.create_snapshot(NAMES[api.kind], "first", TAGS)
    sent: list[str] = []
    api.client.meta.events.register("before-send.rds", lambda request, **_: sent.append(_text(request.body)))

    api.copy_snapshot(original, "second", TAGS, from_region=TOKYO, kms_key_id=aws.tokyo_key)

    assert "PreSignedUrl" not in sent[0]


@pytest.mark.parametrize("doing", ["create", "copy"])
def test_what_was_just_begun_bears_its_tags_although_the_answer_does_not_repeat_them(
    api: RdsApi, aws: PretendedAws, doing: str
):
    original = api.create_snapshot(NAMES[api.kind], "first", TAGS)
    api.client.meta.events.register(
        "after-call.rds", lambda parsed, **_: [one.pop("TagList", None) for one in parsed.values()]
    )

    if doing == "create":
        begun = api.create_snapshot(NAMES[api.kind], "second", TAGS)
    else:
        begun = api.copy_snapshot(original, "second", TAGS, from_region=TOKYO, kms_key_id=aws.tokyo_key)

    assert begun.tags == TAGS


def test_the_copy_of_an_old_snapshot_is_as_old_as_that(aws: PretendedAws):
    aws.make_cluster()
    api = RdsApi(aws.access(), "cluster")
    original = api.create_snapshot(CLUSTER, "first", TAGS)
    # Of clusters RDS tells the time of copying only.
    tags = {"backup-assets:taken-at": "2026-01-02T03:04:05Z"}

    copy = api.within(OSAKA).copy_snapshot(original, "first", tags, from_region=TOKYO, kms_key_id=aws.osaka_key)

    assert copy.taken_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_sharing_adds_accounts_and_is_told(api: RdsApi):
    api.create_snapshot(NAMES[api.kind], "first", TAGS)
    assert api.shared_with("first") == frozenset()

    api.share_snapshot("first", (OTHER_ACCOUNT,))

    assert api.shared_with("first") == {OTHER_ACCOUNT}


def test_a_tag_is_added_and_changed(api: RdsApi):
    made = api.create_snapshot(NAMES[api.kind], "first", TAGS)

    api.tag(made.arn, {"backup-assets:drill": "passed", "backup-assets:slot": "2026-11-23"})

    found = api.snapshot("first")
    assert found is not None
    assert found.tags == {**TAGS, "backup-assets:drill": "passed", "backup-assets:slot": "2026-11-23"}


def test_a_snapshot_is_deleted_once_and_for_all(api: RdsApi):
    api.create_snapshot(NAMES[api.kind], "first", TAGS)

    api.delete_snapshot("first")
    api.delete_snapshot("first")

    assert api.snapshot("first") is None


def test_the_size_is_told_where_rds_knows_it(aws: PretendedAws):
    aws.make_instance()
    api = RdsApi(aws.access(), "instance")
    raw = {
        "DBSnapshotIdentifier": "first",
        "DBSnapshotArn": "arn:aws:rds:ap-northeast-1:1:snapshot:first",
        "DBInstanceIdentifier": INSTANCE,
        "Status": "creating",
        "FullSnapshotSizeInBytes": 12345,
    }
    with Stubber(api.client) as stub:
        stub.add_response("describe_db_snapshots", {"DBSnapshots": [raw]})
        found = api.snapshot("first")

    assert found is not None
    assert (found.size_bytes, found.taken_at, found.is_over) == (12345, None, False)


def _text(body: str | bytes) -> str:
    return body.decode() if isinstance(body, bytes) else body
