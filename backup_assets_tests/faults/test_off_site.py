"""Copies, deletions and retention in stores that fail at any call: no half set, no lost one, no wrong byte.

A connection that is cut or stalls, and processes and servers that are killed, are in `test_interrupted.py`.
"""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from backup_assets.errors import BackupError, CheckFailed
from backup_assets.local import local_store
from backup_assets.named_stores import catalog_in, store_named
from backup_assets.offsite.copies import copy_sets
from backup_assets.offsite.encrypted import encrypt_sets, remove_plain_files
from backup_assets.restore.fetch import fetch_set
from backup_assets.retention.pruning import prune, survey
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.deletion import delete_sets
from backup_assets.sets.manifest import Manifest
from backup_assets.settings import Settings
from backup_assets.settings_encryption import EncryptionSettings
from backup_assets.settings_retention import RetentionSettings
from backup_assets.stores.contract import ConflictingObject, Store
from backup_assets_tests.ciphers.keys import AgeKeys
from backup_assets_tests.offsite.copying import copied, folder_store, hold, sets_in, settings_with
from backup_assets_tests.offsite.cross_copying import (
    a_bucket_store,
    bucket,
    cross_copied,
    requests_to,
    tokyo_and_osaka,
    use_profiles,
)
from backup_assets_tests.offsite.test_another_host import host_store
from backup_assets_tests.sets.examples import ERP4, dump_of, put_record
from backup_assets_tests.sets.histories import DAY, HOUR, NIGHT, a_set
from backup_assets_tests.sources import no_log
from backup_assets_tests.stores.conftest import another_host, objects
from backup_assets_tests.stores.faulty import Fault, FaultyStore, Kind, Operation, Stopped
from backup_assets_tests.stores.object_server import ObjectServer
from backup_assets_tests.stores.ssh_server import SshServer

__all__ = ["another_host", "objects"]

FEW = RetentionSettings(daily=2, weekly=1, monthly=1, largest_share=1.0)
STEPS = 8
#: What each action asks of the store, and how a store that keeps its promises can fail at it.
OPERATIONS: dict[str, tuple[Operation, ...]] = {
    "copy": ("put", "put", "put", "list"),
    "delete": ("list", "open", "delete", "delete"),
    "prune": ("list", "open", "delete", "delete"),
}
FAILURES: tuple[Kind, ...] = ("fail", "fail_after", "stop")


@dataclass
class World:
    """A local store, a further one, and what of the further one must be there whatever happens."""

    settings: Settings
    name: str
    random: random.Random
    directory: Path
    taken: dict[str, BackupSet] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    compared: set[str] = field(default_factory=set)
    deleted: int = 0
    failures: int = 0

    @property
    def store(self) -> Store:
        return store_named(self.settings, self.name, writing=True)

    @property
    def now(self) -> datetime:
        return max((one.taken_at for one in self.taken.values()), default=NIGHT) + 2 * HOUR

    def found(self) -> dict[str, BackupSet]:
        return {one.id: one for one in catalog_in(self.store, ERP4).sets()}

    # -- what an operator and the schedule do ------------------------------------------------------------------------

    def capture(self) -> None:
        fulls = [one for one in self.taken.values() if not one.manifest.needs]
        base = fulls[-1] if fulls and self.random.random() < 0.4 else None
        one = a_set(NIGHT + len(self.taken) * DAY, full=base)
        hold(self.settings, one.manifest)
        for record in one.records:
            put_record(local_store(self.settings), record)
        self.taken[one.id] = one

    def copy(self, target: Store) -> list[BackupError]:
        database = self.settings.databases[0]
        local = sets_in(self.settings, "local")
        if self.settings.encryption.encrypts:
            done = encrypt_sets(database, self.settings, list(local.values()), log=no_log)
            assert not [one.error for one in done if one.error]
            remove_plain_files(database, self.settings, log=no_log)
        local = sets_in(self.settings, "local")
        copied = copy_sets(database, self.settings, target, list(local.values()), log=no_log)
        return [one.error for one in copied if one.error is not None]

    def delete(self, target: Store) -> None:
        catalog = catalog_in(self.store, ERP4)
        if not catalog.sets():
            return
        one = self.random.choice(catalog.sets())
        chosen = [other for other in catalog.sets() if other.id == one.id or one.id in catalog.closure_ids(other)]
        self._expect_to_lose({other.id for other in chosen})
        delete_sets(target, ERP4, chosen, now=self.now)

    def prune(self, target: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        database = self.settings.databases[0]
        surveyed = survey(database, self.settings, now=self.now)
        planned = prune(database, self.settings, self.name, surveyed=surveyed)
        assert planned.plan is not None
        self._expect_to_lose({one.id for one in planned.plan.deleted})
        with monkeypatch.context() as patched:
            patched.setattr("backup_assets.retention.pruning.store_named", lambda *_, **__: target)
            done = prune(database, self.settings, self.name, apply=True, surveyed=surveyed)
        assert done.plan == planned.plan

    def _expect_to_lose(self, ids: set[str]) -> None:
        self.deleted += len(ids & self.kept)
        self.kept -= ids

    def step(self, action: str, fault: Fault | None, monkeypatch: pytest.MonkeyPatch) -> None:
        target = FaultyStore(self.store, fault or Fault("put", "fail", nth=10_000))
        try:
            if action == "copy":
                self.failures += bool(self.copy(target))
            elif action == "delete":
                self.delete(target)
            else:
                self.prune(target, monkeypatch)
        except (BackupError, Stopped):
            assert fault is not None
            self.failures += 1

    # -- what must hold ----------------------------------------------------------------------------------------------

    def require_truth(self, *, every: bool = False) -> None:
        """Every set that nobody deleted is listed, and each that is new among them (or ``every`` one) comes back."""
        catalog = catalog_in(self.store, ERP4)
        whole = {one.id: one for one in catalog.sets() if one.state == "complete"}
        assert len(whole) == len(catalog.sets())  # half of one is no set at all
        assert self.kept <= whole.keys()
        assert catalog.problems == ()
        self.kept = set(whole)
        self.compared &= self.kept
        for set_id in sorted(self.kept if every else self.kept - self.compared):
            require_fetched(self.settings, self.store, self.taken[set_id].manifest, self.directory)
            self.compared.add(set_id)


def require_fetched(settings: Settings, store: Store, manifest: Manifest, directory: Path) -> None:
    """Fetch a set with what it needs, and compare everything with what was captured."""
    catalog = catalog_in(store, ERP4)
    with TemporaryDirectory(dir=directory) as fresh:
        fetched = fetch_set(store, ERP4, catalog, catalog.resolve(manifest.id), Path(fresh), settings.encryption)
        assert fetched.backup_set.manifest == manifest
        assert fetched.paths["dump"].read_bytes() == dump_of(manifest.id)
        archives = [fetched.paths["archive"], *([fetched.full_archive] if manifest.needs else [])]
        assert [path and path.read_bytes() for path in archives] == [b"attachments"] * len(archives)


def encrypting(settings: Settings, keys: AgeKeys) -> Settings:
    encryption = EncryptionSettings(cipher="age", recipients=(keys.lena,), age_identity_file=keys.lena_file)
    return settings.model_copy(update={"encryption": encryption})


@pytest.fixture(params=["folder", "folder, encrypted", "s3", "s3, encrypted", "ssh"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """A local store and a further one named `there`, of which few sets are kept."""
    kind, _, encrypted = request.param.partition(", ")
    (tmp_path / "there").mkdir()
    if kind == "folder":
        store = folder_store(tmp_path / "there", "there")
    elif kind == "s3":
        server: ObjectServer = request.getfixturevalue("objects")
        use_profiles(server, tmp_path, request.getfixturevalue("monkeypatch"))
        store = a_bucket_store(server, "there")
    else:
        another: SshServer = request.getfixturevalue("another_host")
        store = host_store(another, tmp_path / "there", "there").model_copy(update={"keep_days": 2})
    made = settings_with(tmp_path / "local", store)
    database = made.databases[0].model_copy(update={"retention": FEW})
    made = made.model_copy(update={"databases": (database,)})
    return encrypting(made, request.getfixturevalue("age_keys")) if encrypted else made


@pytest.fixture
def fetched(tmp_path: Path) -> Path:
    (tmp_path / "fetched").mkdir()
    return tmp_path / "fetched"


@pytest.mark.parametrize("seed", [1])
def test_whatever_fails_at_any_call_no_half_set_is_shown_and_none_is_lost(
    settings: Settings, fetched: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(settings, "there", random.Random(seed), fetched)
    for _ in range(3):
        world.capture()
    world.step("copy", None, monkeypatch)
    world.require_truth()

    local_and_plain = settings.stores[0].kind == "folder" and not settings.encryption.encrypts
    for number in range(5 * STEPS if local_and_plain else STEPS):
        if number % 3 == 0:
            world.capture()
        action = world.random.choice(("copy", "copy", "delete", "prune"))
        operation, kind = world.random.choice(OPERATIONS[action]), world.random.choice(FAILURES)
        world.step(action, Fault(operation, kind, nth=world.random.randrange(5)), monkeypatch)
        world.require_truth()

    assert world.failures > 2
    assert world.deleted > 0
    assert world.copy(world.store) == []
    world.require_truth(every=True)
    assert world.kept == set(world.taken)
    world.step("prune", None, monkeypatch)
    world.require_truth()
    assert set(world.found()) == world.kept


@pytest.mark.parametrize("kind", FAILURES)
def test_a_deletion_that_ends_at_any_call_shows_no_half_set(
    settings: Settings, fetched: Path, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(settings, "there", random.Random(0), fetched)
    for nth in range(4):  # the manifest, a record, two files
        world.capture()
        world.step("copy", None, monkeypatch)
        world.step("delete", Fault("delete", kind, nth=nth), monkeypatch)
        world.require_truth()

    assert world.failures == 4
    assert world.deleted > 0


@pytest.mark.parametrize("nth", range(4))
@pytest.mark.parametrize("kind", ["truncate", "flip"])
def test_a_store_that_stores_something_else_and_says_that_all_is_well_is_never_believed(
    settings: Settings, fetched: Path, kind: Kind, nth: int
) -> None:
    world = World(settings, "there", random.Random(nth), fetched)
    world.capture()
    (one,) = world.taken.values()

    assert world.copy(FaultyStore(world.store, Fault("put", kind, nth=nth))) == []

    lied = nth < 3 + settings.encryption.encrypts
    if lied:
        with pytest.raises(BackupError) as unfetched:
            require_fetched(settings, world.store, one.manifest, fetched)
        assert isinstance(unfetched.value, CheckFailed) or "there is no" in unfetched.value.what
        (again,) = world.copy(world.store)
        assert isinstance(again, ConflictingObject)
        world.store.delete(again.what.partition(" exists in ")[0])
    assert world.copy(world.store) == []
    require_fetched(settings, world.store, one.manifest, fetched)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_second_bucket_never_shows_a_half_set_wherever_a_copy_or_a_deletion_ends(
    objects: ObjectServer, fetched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    use_profiles(objects, tmp_path, monkeypatch)
    osaka = a_bucket_store(objects, "osaka", copied_from="tokyo")
    settings = tokyo_and_osaka(tmp_path, a_bucket_store(objects, "tokyo"), osaka)
    world = World(settings, "osaka", random.Random(seed), fetched)
    for _ in range(3):
        world.capture()
    for one in world.taken.values():
        copied(settings, to="tokyo", slot=one.manifest.slot)

    for _ in range(STEPS):
        if world.random.random() < 0.5:
            world.step("delete", Fault("delete", "stop", nth=world.random.randrange(4)), monkeypatch)
        else:
            slot = world.random.choice([*world.taken.values()]).manifest.slot
            with requests_to(bucket(settings, "osaka"), stop_at=world.random.randrange(6)), suppress(Stopped):
                cross_copied(settings, slot)
        world.require_truth()

    assert world.deleted > 0
    for one in world.taken.values():
        assert not [done.error for done in cross_copied(settings, one.manifest.slot).values() if done.error]
    world.require_truth(every=True)
    assert world.kept == set(world.taken)
