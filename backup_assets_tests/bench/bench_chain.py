"""How long does a backup take until it lies encrypted in two buckets, against the scripts that it replaces?"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from backup_assets_tests.bench import bench_upload
from backup_assets_tests.bench.chain import STAGES, a_site, chain, script
from backup_assets_tests.bench.chain_memory import SIZES, peak_memory_mb
from backup_assets_tests.bench.databases import make_database, prepared
from backup_assets_tests.ciphers.keys import random_file

USUAL = "script: pg_dump -Fc, gpg, aws s3 cp, copy"
TUNED = "tuned script: zstd:1, gpg without compression"
#: Our chain, by the step's name: jobs of the dump, content hashes.
CHAINS: dict[str, tuple[int | None, str]] = {
    "chain, no content hashes": (None, "never"),
    "chain, content hashes": (None, "always"),
    "chain with jobs 2, no content hashes": (2, "never"),
    "chain with jobs 2, content hashes": (2, "always"),
}
#: step, what it is compared with, and the goal for the ratio.
RATIOS = (
    *((name, USUAL, "at most 0.25") for name in CHAINS),
    *((name, TUNED, "at most 0.75") for name in CHAINS),
    *bench_upload.RATIOS,
)


def measure(home: Path, size: str, rounds: int, log: Callable[[str], None]) -> dict[str, list[float]]:
    """Return seconds by step, one value a round; the steps of a round follow each other on the same machine.

    A chain runs inside this process: the start of Python is not counted, and that of `aws` is, as in a script.
    """
    bench = prepared(home, size)
    results: dict[str, list[float]] = {}

    def took(number: int, name: str, taken: float) -> None:
        results.setdefault(name, []).append(taken)
        log(f"round {number + 1}: {name}: {taken:.2f} s")

    with a_site() as site, tempfile.TemporaryDirectory(prefix="upload-", dir=bench.workdir) as directory:
        source = random_file(Path(directory) / "file", bench_upload.FILE_BYTES)
        for number in range(rounds):
            took(number, USUAL, script(bench, site, tuned=False))
            took(number, TUNED, script(bench, site, tuned=True))
            for name, (jobs, hashes) in CHAINS.items():
                stages = chain(bench, site, jobs=jobs, hashes=hashes)
                took(number, name, sum(stages.values()))
                for stage in STAGES:
                    took(number, f"{name}: {stage}", stages[stage])
            for name, taken in bench_upload.upload_seconds(site, source).items():
                took(number, name, taken)
        small = make_database(bench, "bench_small", 0)
        for object_bytes in SIZES:
            name = f"peak memory with an object of {object_bytes / 1e6:,.0f} MB, MB"
            results[name] = [peak_memory_mb(small, site, object_bytes)]
            log(f"{name}: {results[name][0]:.0f}")
    return results
