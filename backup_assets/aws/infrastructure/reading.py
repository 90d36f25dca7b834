"""What did the settings of the infrastructure say on a day, read from any store?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from backup_assets.aws.infrastructure.diff import Change, changes
from backup_assets.aws.infrastructure.document import FORMAT, without_values
from backup_assets.ciphers.configured import configured_cipher
from backup_assets.errors import CheckFailed
from backup_assets.local import work_directory
from backup_assets.named_stores import catalog_in
from backup_assets.restore.fetch import fetch_set
from backup_assets.sets.backup_set import BackupSet
from backup_assets.sets.place import Place
from backup_assets.settings import Settings
from backup_assets.stores.contract import Store

_ROLE = "infrastructure"


def read_document(settings: Settings, store: Store, place: Place, chosen: BackupSet) -> dict[str, Any]:
    """Return the document of a set: `format`, `version`, `env` and `settings`.

    What is encrypted is decrypted below BACKUP_DIR, and removed again. Raises CheckFailed when it is missing, damaged
    or from a newer version; MissingPrivateKey, LockedPrivateKey.
    """
    with work_directory(settings, _ROLE) as directory:
        fetched = fetch_set(store, place, catalog_in(store, place), chosen, directory, settings.encryption)
        path, artifact = fetched.paths[_ROLE], fetched.artifact(_ROLE)
        if artifact.encryption is not None:  # since its capture
            plain = directory / "infrastructure.json"
            configured_cipher(settings.encryption, artifact.encryption).decrypt(
                path, plain, sha256_plain=None, sha256_cipher=artifact.sha256
            )
            path = plain
        content = path.read_bytes()
    try:
        document = json.loads(content)
        if (document["format"], document["version"]) == (FORMAT, 1) and isinstance(document["settings"], dict):
            return document
    except (ValueError, KeyError, TypeError):
        pass
    raise CheckFailed(
        f"{artifact.name} is no document of the infrastructure that this version reads",
        why=f"it does not say that its format is {FORMAT}, version 1",
        remedy="read it with a newer version of backup-assets, or as the JSON that it is",
    )


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Change, ...]:
    """Return what is different in the document ``new``.

    Values of environment variables that are told as hashes are not compared: every document has a key of its own.
    """
    return changes(without_values(old["settings"]), without_values(new["settings"]))
