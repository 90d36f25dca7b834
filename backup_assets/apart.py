"""Would what happens to this machine happen to a further store too?"""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import urlsplit

from backup_assets.settings_stores import StoreSettings

OWN_HOSTS = ("localhost", "127.0.0.1", "::1")


def not_apart(configured: StoreSettings, backup_dir: Path) -> str:
    """Return why what happens to the local store would happen to this one too, or nothing.

    Of a folder whose settings say that it is off-site, nothing is known and its settings are believed: a synced
    directory lies on this disk, and its content elsewhere. Raises OSError when a folder cannot be looked at.
    """
    if configured.off_site:
        return ""
    if configured.kind == "folder" and configured.directory is not None:
        same = configured.directory.stat().st_dev == _existing(backup_dir).stat().st_dev
        return f"{configured.name} is on the same file system as BACKUP_DIR" if same else ""
    if configured.kind == "ssh":
        own = {*OWN_HOSTS, socket.gethostname().lower()}
        return f"{configured.name} is this machine itself" if (configured.host or "").lower() in own else ""
    if configured.embedded is not None:
        return f"{configured.name} is the demo's own server on this machine, standing for {configured.region}"
    host = urlsplit(configured.endpoint_url or "").hostname
    return f"{configured.name} is a service on this machine" if host in OWN_HOSTS else ""


def is_off_site(configured: StoreSettings, why_not_apart: str) -> bool:
    """Return whether a store survives the loss of this site: as its settings say, else by its kind."""
    if configured.off_site is not None:
        return configured.off_site
    return configured.kind != "folder" and not why_not_apart


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
