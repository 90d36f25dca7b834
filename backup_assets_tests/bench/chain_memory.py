"""How much memory does the whole chain take, however large an object is?"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from backup_assets.settings import Settings
from backup_assets.settings_capture import AttachmentsSettings
from backup_assets_tests.bench.chain import TIMEOUT, Site, chain_settings, discard, run_chain
from backup_assets_tests.bench.databases import Bench, own_peak_mb, settings_as_json
from backup_assets_tests.ciphers.keys import random_file

SIZES = (60_000_000, 2_000_000_000)


def peak_memory_mb(bench: Bench, site: Site, size: int) -> float:
    """Return the peak memory of a process of ours that runs the chain on one attachment of ``size`` random bytes.

    That of its child programs (pg_dump, gpg) is not counted.
    """
    settings = chain_settings(bench, site, jobs=None, hashes="never")
    try:
        with tempfile.TemporaryDirectory(prefix="attachment-", dir=bench.workdir) as name:
            random_file(Path(name) / "scan.pdf", size)
            update = {"attachments": AttachmentsSettings(directory=Path(name))}
            database = settings.databases[0].model_copy(update=update)
            done = subprocess.run(
                [sys.executable, "-m", __name__],
                input=settings_as_json(settings.model_copy(update={"databases": (database,)})),
                capture_output=True,
                text=True,
                check=True,
                timeout=TIMEOUT,
            )
    finally:
        discard(settings, site)
    return float(done.stdout.strip().splitlines()[-1])


def main() -> int:
    """Run one chain with the settings given as JSON on stdin; print the peak memory of this process in MB."""
    import backup_assets.definitions  # noqa: F401 - loaded, as in a run of Dagster's

    run_chain(Settings.model_validate(json.load(sys.stdin)))
    print(own_peak_mb())
    return 0


if __name__ == "__main__":
    sys.exit(main())
