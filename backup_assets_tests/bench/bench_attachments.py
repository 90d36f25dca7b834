"""How fast attachments are archived, against the same work done by `tar | zstd`.

Run as `python -m backup_assets_tests.bench.bench_attachments [scale]`; scale 1 is 20,000 files and 2 GB, half of it
incompressible. Needs twice that space below TMPDIR for the time of the run.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from backup_assets import process
from backup_assets.capture.attachments import archive_differential, archive_full
from backup_assets.restore.attachments import check_archive, check_rows_and_files, restore_attachments

FILES = 20_000
BYTES = 2_000_000_000
MARGIN_NS = 10_000_000_000


def make_files(directory: Path, count: int, total: int) -> None:
    """Fill `directory` with files of equal size, every second one incompressible."""
    size = total // count
    words = [b"%d invoice line total amount customer\n" % number for number in range(1000)]
    for number in range(count):
        path = directory / f"{number % 100:02d}" / f"{number:06d}.pdf"
        path.parent.mkdir(exist_ok=True)
        chosen = random.Random(number)
        content = chosen.randbytes(size) if number % 2 else b"".join(chosen.choices(words, k=size // 30))[:size]
        path.write_bytes(content)


def _timed(work: Callable[[], object]) -> float:
    begun = time.monotonic()
    work()
    return round(time.monotonic() - begun, 3)


def _tar_zstd(source: Path, archive: Path) -> None:
    with (
        archive.open("wb") as out,
        process.started(["zstd", "-1", "-T0", "-q", "-c"], timeout=600, stdin=None, stdout=out) as compress,
        process.started(["tar", "-c", "-C", str(source), "."], timeout=600, stdout=compress.stdin),
    ):
        pass


def _restic(work: Path, *arguments: str) -> None:
    repository = {"RESTIC_REPOSITORY": str(work / "restic"), "RESTIC_PASSWORD": "bench"}
    process.run(["restic", "--quiet", "--no-cache", *arguments], timeout=600, env=repository)


def run(scale: float) -> dict[str, float]:
    """Return seconds by stage, ratios to `tar | zstd`, and the peak memory in MB."""
    count, total = int(FILES * scale), int(BYTES * scale)
    work = Path(tempfile.mkdtemp(prefix="bench-attachments-"))
    figures: dict[str, float] = {"files": count, "bytes": total}
    try:
        source = work / "source"
        source.mkdir()
        make_files(source, count, total)
        os.sync()
        figures["tar_zstd"] = _timed(lambda: _tar_zstd(source, work / "stock.tar.zst"))
        full, index = work / "full.tar.zst", work / "full.index"
        # The clock is moved so that files made seconds ago count as settled.
        figures["full"] = _timed(
            lambda: archive_full(source, full, index, set_id="full", now_ns=lambda: time.time_ns() + MARGIN_NS)
        )
        figures["tar_zstd_again"] = _timed(lambda: _tar_zstd(source, work / "stock.tar.zst"))
        (work / "stock.tar.zst").unlink()
        if shutil.which("restic"):
            _restic(work, "init")
            figures["restic_first"] = _timed(lambda: _restic(work, "backup", str(source)))
        for path in sorted(source.rglob("*.pdf"))[::100]:
            path.write_bytes(path.read_bytes()[::-1])
        other, other_index = work / "diff.tar.zst", work / "diff.index"
        figures["differential"] = _timed(
            lambda: archive_differential(source, index, other, other_index, set_id="diff", full_set="full")
        )
        if shutil.which("restic"):
            figures["restic_second"] = _timed(lambda: _restic(work, "backup", str(source)))
        figures["check_full"] = _timed(lambda: check_archive(index, full))
        names = [f"{number % 100:02d}/{number:06d}.pdf" for number in range(count)]
        figures["rows_and_files"] = _timed(lambda: check_rows_and_files(names, index, work))
        figures["restore"] = _timed(
            lambda: restore_attachments(
                work / "restored", index_path=other_index, archive_path=other, full_archive_path=full
            )
        )
        stock = (figures["tar_zstd"] + figures["tar_zstd_again"]) / 2
        figures["full_to_tar_zstd"] = round(figures["full"] / stock, 3)
        figures["differential_to_full"] = round(figures["differential"] / figures["full"], 3)
        figures["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    finally:
        shutil.rmtree(work)
    return figures


if __name__ == "__main__":
    print(json.dumps(run(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0), indent=1))
