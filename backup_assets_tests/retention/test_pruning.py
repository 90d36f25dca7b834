"""Plans of real stores, applied: folders, another role, and a bucket whose role may not delete."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from backup_assets.errors import SettingsError
from backup_assets.named_stores import store_named
from backup_assets.retention.pruning import Pruned, policy_of, prune, prune_all, survey
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.records import HoldRecord
from backup_assets.settings import Settings
from backup_assets.settings_retention import RetentionSettings
from backup_assets.settings_stores import StoreSettings
from backup_assets.settings_watch import ObjectivesSettings
from backup_assets.stores.contract import AccessDenied, Store
from backup_assets_tests.offsite.copying import folder_store, sets_in, settings_with
from backup_assets_tests.sets.examples import put_record, put_set
from backup_assets_tests.sets.histories import DAY, HOUR, NIGHT, NOW, a_set, nightly
from backup_assets_tests.stores.object_server import REGION, object_server

FEW = RetentionSettings(daily=3, weekly=1, monthly=1)


def keeping_few(settings: Settings, **changes: object) -> Settings:
    database = settings.databases[0].model_copy(update={"retention": FEW, **changes})
    return settings.model_copy(update={"databases": (database,)})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A local store and a folder, of which three days are kept."""
    (tmp_path / "usb").mkdir()
    return keeping_few(settings_with(tmp_path / "backups", folder_store(tmp_path / "usb")))


def fill(store: Store, sets: list[BackupSet]) -> None:
    for one in sets:
        put_set(store, one.manifest)
        for record in one.records:
            put_record(store, record)


def filled(settings: Settings, sets: list[BackupSet], *names: str) -> None:
    for name in names or ("local", "usb"):
        fill(store_named(settings, name, writing=True), sets)


def pruned(settings: Settings, name: str = "local", *, now: datetime = NOW, **options: bool) -> Pruned:
    database = settings.databases[0]
    return prune(database, settings, name, surveyed=survey(database, settings, now=now), **options)


def files_in(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def test_without_apply_nothing_is_changed(settings: Settings, tmp_path: Path) -> None:
    filled(settings, nightly(6))
    before = files_in(tmp_path)
    done = pruned(settings)
    assert done.plan is not None
    assert (len(done.plan.deleted), done.applied, done.deleted) == (3, False, ())
    assert files_in(tmp_path) == before


def test_applied_the_plan_leaves_exactly_what_it_keeps(settings: Settings, tmp_path: Path) -> None:
    sets = nightly(6)
    filled(settings, sets)
    done = pruned(settings, apply=True)
    assert done.is_well
    assert sorted(one.set_id for one in done.deleted) == sorted(one.id for one in sets[3:])
    assert sorted(sets_in(settings, "local")) == sorted(one.id for one in sets[:3])
    assert not any(one.id in name for name in files_in(settings.backup_dir) for one in sets[3:])
    assert len(sets_in(settings, "usb")) == 6
    assert pruned(settings, apply=True).deleted == ()


def test_every_store_is_pruned_by_what_it_holds_itself(settings: Settings) -> None:
    filled(settings, nightly(6), "local")
    filled(settings, nightly(6)[2:], "usb")
    assert len(pruned(settings, "usb").plan.deleted) == 0  # type: ignore[union-attr]
    assert [reason.code for reason in pruned(settings, "usb").plan.blocked] == ["older_than_rpo"]  # type: ignore[union-attr]
    assert len(pruned(settings).plan.deleted) == 3  # type: ignore[union-attr]


def test_a_proof_that_did_not_come_to_the_copy_yet_counts_there(settings: Settings) -> None:
    sets = nightly(6)
    filled(settings, sets, "local")
    for one in sets:
        put_set(store_named(settings, "usb"), one.manifest)
    assert len(pruned(settings, "usb", apply=True).deleted) == 3


def test_a_hold_that_did_not_come_to_the_copy_yet_holds_there(settings: Settings) -> None:
    sets = nightly(6)
    filled(settings, sets)
    record = HoldRecord(set_id=sets[5].id, placed_at=NOW - HOUR, reason="audit", tool_version="0.1.0")
    put_record(store_named(settings, "local"), record)
    assert len(pruned(settings, "usb", apply=True).deleted) == 2
    assert sets[5].id in sets_in(settings, "usb")


def test_a_share_that_is_too_large_is_deleted_only_when_it_is_allowed(settings: Settings) -> None:
    filled(settings, nightly(12))
    refused = pruned(settings, apply=True)
    assert (refused.deleted, refused.is_well, len(sets_in(settings, "local"))) == ((), False, 12)
    # The week and the month that are kept have the newest set of all for theirs.
    assert len(pruned(settings, apply=True, allow_large_share=True).deleted) == 9


def test_a_plan_that_is_stopped_is_nothing_amiss_where_no_set_was_due(settings: Settings) -> None:
    late = datetime.now(NIGHT.tzinfo) - 30 * HOUR
    filled(settings, [a_set(late), a_set(late - DAY)])
    idle = pruned(settings, apply=True, now=datetime.now(NIGHT.tzinfo))
    assert idle.plan is not None
    assert [reason.code for reason in idle.plan.blocked] == ["older_than_rpo"]
    assert idle.is_well
    filled(settings, [a_set(late - day * DAY) for day in range(2, 6)])
    assert not pruned(settings, apply=True, now=datetime.now(NIGHT.tzinfo)).is_well


def test_a_store_that_does_not_answer_is_told_and_keeps_no_other_from_being_pruned(
    settings: Settings, tmp_path: Path
) -> None:
    sets = [a_set(datetime.now(NIGHT.tzinfo) - HOUR - day * DAY) for day in range(6)]
    filled(settings, sets, "local")
    (tmp_path / "usb").rmdir()
    local, usb = prune_all(settings.databases[0], settings, apply=True)
    assert len(local.deleted) == 3
    assert usb.error is not None
    assert "does not exist" in usb.error.what
    assert not usb.is_well


@pytest.fixture
def some_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that no service knows, and no second attempt."""
    for name, value in {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("some_credentials")
def test_a_store_that_prunes_itself_and_does_not_answer_is_told_because_holds_may_be_there(tmp_path: Path) -> None:
    bucket = StoreSettings(
        name="tokyo", kind="s3", bucket="erp4", region=REGION, endpoint_url="http://127.0.0.1:9",
        addressing_style="path", sse_s3="AES256",
    )  # fmt: skip
    host = StoreSettings(name="remote", kind="ssh", host="127.0.0.1", port=1, remote_dir="/srv/backups")
    settings = keeping_few(settings_with(tmp_path / "backups", bucket, host))
    filled(settings, [a_set(datetime.now(NIGHT.tzinfo) - HOUR - day * DAY) for day in range(6)], "local")

    local, tokyo, remote = prune_all(settings.databases[0], settings, apply=True)

    assert (len(local.deleted), local.is_well) == (3, True)
    for one in (tokyo, remote):
        assert one.skipped
        assert one.error is not None
        assert not one.is_well
    assert "cannot be reached" in str(tokyo.error)
    assert "127.0.0.1" in str(remote.error)


def test_another_host_is_pruned_by_its_own_days_or_not_at_all(tmp_path: Path) -> None:
    host = StoreSettings(name="remote", kind="ssh", host="h", remote_dir="/r")
    settings = settings_with(tmp_path / "backups", host)
    assert "REMOTE_KEEP_DAYS" in prune(settings.databases[0], settings, "remote", apply=True).skipped
    by_age = settings_with(tmp_path / "backups", host.model_copy(update={"keep_days": 30}))
    assert policy_of(by_age.databases[0], by_age, "remote").keep_days == 30
    assert policy_of(by_age.databases[0], by_age, "local").keep_days is None


def test_an_unknown_store_is_refused(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="there is no store dropbox"):
        pruned(settings, "dropbox")


def test_the_policy_is_what_is_configured(settings: Settings) -> None:
    changed = keeping_few(settings, objectives=ObjectivesSettings(rpo_hours=6))
    policy = policy_of(changed.databases[0], changed, "local")
    assert (policy.daily, policy.weekly, policy.monthly, policy.rpo, str(policy.zone)) == (
        3,
        1,
        1,
        6 * HOUR,
        "Asia/Tokyo",
    )


def test_a_role_that_may_not_delete_is_one_line_and_nothing_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with object_server() as server:
        bucket = StoreSettings(
            name="tokyo", kind="s3", bucket=server.bucket(), region=REGION, endpoint_url=server.url,
            addressing_style="path", sse_s3="AES256",
        )  # fmt: skip
        settings = keeping_few(settings_with(tmp_path / "backups", bucket))
        for identity in ("admin", "reader"):
            keys = server.credentials(identity)
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys.access_key_id)
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys.secret_access_key)
            if identity == "admin":
                filled(settings, nightly(6), "tokyo")
                # A second name of the same server, so that nothing of the first role is remembered.
                other = bucket.model_copy(update={"endpoint_url": server.url.replace("127.0.0.1", "localhost")})
                settings = settings.model_copy(update={"stores": (other,)})

        by_default = [one for one in prune_all(settings.databases[0], settings, apply=True) if one.store == "tokyo"]
        named = pruned(settings, "tokyo", apply=True)

        assert "lifecycle" in by_default[0].skipped
        assert isinstance(named.error, AccessDenied)
        assert "may not delete" in named.error.what
        assert (named.deleted, named.failed, len(sets_in(settings, "tokyo"))) == ((), (), 6)
        assert {reason.code for reason in named.plan.blocked} == set()  # type: ignore[union-attr]
