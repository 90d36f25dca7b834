"""What does a script, and what does our chain do until a backup lies encrypted in two buckets?"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from backup_assets.capture.capture import Capture
from backup_assets.capture.request import CaptureRequest
from backup_assets.local import local_store, place_of
from backup_assets.named_stores import catalog_in, store_named
from backup_assets.offsite.copies import copy_slot
from backup_assets.offsite.cross_copies import cross_copy_slot
from backup_assets.offsite.encrypted import encrypt_sets
from backup_assets.process import run
from backup_assets.settings import Settings
from backup_assets.settings_encryption import EncryptionSettings
from backup_assets_tests.bench.databases import Bench, bare_dump, seconds
from backup_assets_tests.ciphers.keys import new_home, new_key
from backup_assets_tests.offsite.cross_copying import a_bucket_store, use_profiles
from backup_assets_tests.sources import no_log, no_progress
from backup_assets_tests.stores.object_server import REGION, ObjectServer, object_server

PROGRAMS = ("aws", "gpg")
TIMEOUT = 3600.0
SLOT = "2026-01-01"
STAGES = ("capture", "encrypt", "to the first bucket", "to the second")


@dataclass(frozen=True)
class Site:
    """Where backups are sent: an S3 server on this machine, and the key that they are encrypted to."""

    server: ObjectServer
    encryption: EncryptionSettings
    environment: dict[str, str] = field(repr=False)

    def remove(self, *buckets: str) -> None:
        """Remove buckets with what they hold, so that no step finds a fuller disk than the one before."""
        client = self.server.client()
        for bucket in buckets:
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
                for entry in page.get("Contents", ()):
                    client.delete_object(Bucket=bucket, Key=entry["Key"])
            client.delete_bucket(Bucket=bucket)


def missing_programs() -> list[str]:
    """Return the programs of the scripts that are not installed here."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


@contextmanager
def a_site() -> Iterator[Site]:
    """Start an S3 server and make a key; both are gone at the end."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-chain-") as name,
        object_server() as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        directory = Path(name)
        use_profiles(server, directory, patch)
        home = new_home(directory / "gpg")
        try:
            key = new_key(home, "Backups")
            keys = server.credentials("admin")
            environment = {
                "AWS_ACCESS_KEY_ID": keys.access_key_id,
                "AWS_SECRET_ACCESS_KEY": keys.secret_access_key,
                "AWS_DEFAULT_REGION": REGION,
                "AWS_CONFIG_FILE": os.devnull,
            }
            yield Site(server, EncryptionSettings(recipients=(key,), gpg_homedir=home), environment)
        finally:
            run(["gpgconf", "--homedir", str(home), "--kill", "all"], timeout=60)


def script(bench: Bench, site: Site, *, tuned: bool) -> float:
    """Return the seconds of the shell script: dump, encrypt, upload, copy from bucket to bucket."""
    encryption = site.encryption
    plain, sealed = bench.workdir / "script.dump", bench.workdir / "script.dump.gpg"
    gpg = ["gpg", "--homedir", str(encryption.gpg_homedir), "--batch", "--yes", "--trust-model", "always"]
    options = ["--compress-algo", "none"] if tuned else []
    first, second = (site.server.bucket() for _ in range(2))
    aws = ["aws", "--endpoint-url", site.server.url, "s3", "cp", "--only-show-errors", "--sse", "AES256"]

    def work() -> None:
        run([*gpg, *options, "-r", encryption.recipients[0], "-o", str(sealed), "-e", str(plain)], timeout=TIMEOUT)
        for source, bucket in ((str(sealed), first), (f"s3://{first}/{sealed.name}", second)):
            run([*aws, source, f"s3://{bucket}/{sealed.name}"], timeout=TIMEOUT, env=site.environment)

    try:
        dumped = bare_dump(bench, "-Fc", *(["--compress=zstd:1"] if tuned else []), keep=plain)
        return dumped + seconds(work)
    finally:
        plain.unlink(missing_ok=True)
        sealed.unlink(missing_ok=True)
        site.remove(first, second)


def chain_settings(bench: Bench, site: Site, *, jobs: int | None, hashes: str) -> Settings:
    """Return settings for one chain into a fresh local store and two fresh buckets."""
    tokyo = a_bucket_store(site.server, "tokyo")
    osaka = a_bucket_store(site.server, "osaka", copied_from="tokyo")
    _, settings = bench.settings(jobs=jobs, hashes=hashes)
    return settings.model_copy(update={"stores": (tokyo, osaka), "encryption": site.encryption})


def run_chain(settings: Settings) -> dict[str, float]:
    """Do everything that a backup does without the trial restore; return the seconds of each stage."""
    database = settings.databases[0]
    tokyo, osaka = settings.stores
    request = CaptureRequest(slot=SLOT, run_id=str(uuid.uuid4()))

    def encrypt() -> None:
        wanted = catalog_in(local_store(settings), place_of(database, settings)).sets()
        _require_done(encrypt_sets(database, settings, wanted, log=no_log))

    def upload() -> None:
        target = store_named(settings, tokyo.name, writing=True)
        _require_done(copy_slot(database, settings, target, SLOT, log=no_log))

    steps: tuple[Callable[[], object], ...] = (
        Capture(database, settings, request, progress=no_progress, log=no_log).run,
        encrypt,
        upload,
        lambda: _require_done(cross_copy_slot(database, settings, osaka, SLOT, log=no_log)),
    )
    return {stage: seconds(step) for stage, step in zip(STAGES, steps, strict=True)}


def _require_done(outcomes: Any) -> None:
    for outcome in outcomes:
        if outcome.error is not None:
            raise outcome.error
    if not outcomes:
        raise AssertionError("nothing was done")


def chain(bench: Bench, site: Site, *, jobs: int | None, hashes: str) -> dict[str, float]:
    """Return the seconds of each stage of one chain, and leave nothing behind."""
    settings = chain_settings(bench, site, jobs=jobs, hashes=hashes)
    try:
        return run_chain(settings)
    finally:
        discard(settings, site)


def discard(settings: Settings, site: Site) -> None:
    """Remove the local store and the buckets of one chain."""
    shutil.rmtree(settings.backup_dir, ignore_errors=True)
    site.remove(*(store.bucket for store in settings.stores if store.bucket))
