"""In which regions has something been restored, whatever the settings say now?"""

from __future__ import annotations

import re

from backup_assets.files import make_private_directory, replace_durably
from backup_assets.settings import Settings
from backup_assets.stores.disk_faults import explained

#: Below BACKUP_DIR, and no object of the store there: its name begins with a dot. An empty file for each region.
DIRECTORY = ".restored-regions"
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d+")


def note_region(settings: Settings, region: str) -> None:
    """Remember that something is restored in a region; raises EnvironmentFault when that cannot be written down."""
    path = settings.backup_dir / DIRECTORY / region
    with explained(f"note the region {region}", settings.backup_dir):
        if not path.exists():
            make_private_directory(path.parent)
            replace_durably(path, b"")


def noted_regions(settings: Settings) -> tuple[str, ...]:
    """Return the regions in which anything was ever restored from here, by name; raises EnvironmentFault."""
    directory = settings.backup_dir / DIRECTORY
    with explained("read the regions in which something was restored", settings.backup_dir):
        if not directory.is_dir():
            return ()
        return tuple(sorted(path.name for path in directory.iterdir() if _REGION.fullmatch(path.name)))
