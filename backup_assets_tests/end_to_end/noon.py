"""How is it noon for programs whose time zone no setting decides, as it is that of the demo?"""

from __future__ import annotations

import os
import shutil
import zoneinfo
from importlib.resources import files
from pathlib import Path

from backup_assets_tests.midday import ZONE

#: The zone of a schedule that names none, and so that of the demo.
DEFAULT = "Asia/Tokyo"


def noon_by_default(directory: Path) -> dict[str, str]:
    """Return the variables with which a program takes the default zone for one where it is noon as the tests begin.

    No slot ends then while a test looks at it, and no schedule of the night or of a check begins a run beside its own.
    ``directory`` is made; it holds what such a program finds before the zones of the system.
    """
    zone = directory / DEFAULT
    zone.parent.mkdir(parents=True)
    places = [Path(place) / ZONE for place in zoneinfo.TZPATH]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        zone.write_bytes((files("tzdata") / "zoneinfo" / ZONE).read_bytes())
    else:
        shutil.copy(found, zone)
    return {"PYTHONTZPATH": os.pathsep.join([str(directory), *zoneinfo.TZPATH])}
