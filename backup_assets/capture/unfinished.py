"""What is there of a set before its manifest, and how is it committed?"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backup_assets.capture.quick_checks import QuickChecks
from backup_assets.errors import EnvironmentFault
from backup_assets.sets.manifest import Artifact, Manifest
from backup_assets.stores.contract import Place
from backup_assets.stores.folder import FolderStore


class Unfinished:
    """The files of a set that has no manifest yet, with what is to be said of them there."""

    def __init__(self, store: FolderStore, place: Place) -> None:
        self.store = store
        self.place = place
        self.checks = QuickChecks()
        self.artifacts: list[Artifact] = []
        self.warnings: list[str] = []
        #: In seconds, by stage.
        self.durations: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Note how long the block takes."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.durations[name] = round(self.durations.get(name, 0.0) + time.monotonic() - begun, 3)

    @contextmanager
    def partial(self, name: str) -> Iterator[Path]:
        """Yield where the file ``name`` is written; what the block has not adopted is removed."""
        partial = self.store.partial_for(self.place.key(name))
        try:
            yield partial
        finally:
            partial.unlink(missing_ok=True)

    def adopt(
        self, kind: str, role: str, name: str, form: str, partial: Path, sha256: str, encryption: str | None = None
    ) -> None:
        """Make a finished partial the file ``name`` of the set."""
        with self.stage("commit"):
            size = partial.stat().st_size
            described = {"kind": kind, "role": role, "name": name, "format": form, "encryption": encryption}
            artifact = Artifact.model_validate({**described, "size_bytes": size, "sha256": sha256})
            self.store.adopt(self.place.key(name), partial, sha256=sha256, size=size)
        self.artifacts.append(artifact)

    def commit(self, manifest: Manifest) -> None:
        """Put the manifest, with which the set exists; raises EnvironmentFault when a file is not there any more."""
        self._require_there(manifest)
        content = manifest.to_json()
        key = self.place.manifest_key(manifest.id)
        self.store.put(key, content, sha256=hashlib.sha256(content).hexdigest(), size=len(content))

    def _require_there(self, manifest: Manifest) -> None:
        """Raise EnvironmentFault unless every file is there in its size: hours may have passed since it was stored."""
        found = {artifact.name: self.store.stat(self.place.key(artifact.name)) for artifact in manifest.artifacts}
        lost = [a.name for a in manifest.artifacts if (one := found[a.name]) is None or one.size != a.size_bytes]
        if lost:
            raise EnvironmentFault(
                f"the set {manifest.id} is not committed: what was stored of it is not there any more",
                why=f"{', '.join(lost)} is gone from {self.store.describe()}, or has another size",
                remedy="find out what removes files there, a `backup-assets sweep --apply` meanwhile perhaps, then "
                "take the backup again",
            )
