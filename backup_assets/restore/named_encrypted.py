"""How are files that the operator names decrypted, with what belongs to them?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from backup_assets.capture.attachments_index import read_index
from backup_assets.ciphers.configured import configured_cipher
from backup_assets.errors import Refused
from backup_assets.restore.named_files import ARCHIVE_SUFFIX, INDEX_SUFFIX, NamedFiles
from backup_assets.sets.backup_id import id_in_name
from backup_assets.sets.manifest import CipherName
from backup_assets.sets.place import MANIFEST_SUFFIX, META
from backup_assets.settings import Settings

_CIPHERS: dict[str, CipherName] = {".gpg": "gpg", ".age": "age"}


def decrypted(files: NamedFiles, settings: Settings, directory: Path) -> NamedFiles:
    """Return ``files`` with every encrypted one replaced by its plain content in ``directory``, 0600.

    What is looked for beside a file (its manifest, the index and the full archive of an attachment archive) is
    decrypted, too, where it lies there encrypted. Raises as `Cipher.decrypt`; the files themselves are trusted.
    """
    plain = replace(
        files,
        dump=_plain(files.dump, settings, directory),
        globals=_plain(files.globals, settings, directory) if files.globals else None,
        assets=_plain(files.assets, settings, directory) if files.assets else None,
    )
    if plain.dump != files.dump and (set_id := id_in_name(files.dump.name)):
        name = f"{set_id}{MANIFEST_SUFFIX}"
        folders = (files.dump.parent, files.dump.absolute().parent.parent / META)
        _first(folders, name, settings, directory)
    if files.assets is not None and plain.assets is not None and plain.assets != files.assets:
        folders = (files.assets.parent,)
        index = _first(folders, plain.assets.name.removesuffix(ARCHIVE_SUFFIX) + INDEX_SUFFIX, settings, directory)
        header = read_index(index)[0] if index else None
        if header is not None and header.full_set != header.set_id:
            _first(folders, f"{header.full_set}{ARCHIVE_SUFFIX}", settings, directory)
    return plain


def _first(folders: tuple[Path, ...], name: str, settings: Settings, directory: Path) -> Path | None:
    for folder in folders:
        for suffix in _CIPHERS:
            path = folder / f"{name}{suffix}"
            if path.is_file():
                return _plain(path, settings, directory)
    return None


def _plain(path: Path, settings: Settings, directory: Path) -> Path:
    cipher = _CIPHERS.get(path.suffix)
    if cipher is None:
        return path
    if not path.is_file():
        raise Refused(f"there is no file {path}", remedy="correct its path")
    target = directory / path.stem
    configured_cipher(settings.encryption, cipher).decrypt(path, target)
    return target
