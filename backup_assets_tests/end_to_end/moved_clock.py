"""How do programs get a wall clock that a test moves, while whatever only counts (a sleep, a timeout) goes on?"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path

import pytest

#: Put before the C library: its wall clocks show so many seconds more, or less, as a shared file says. It has no
#: headers, so that the smallest compiler without any is enough.
SOURCE = """
struct timespec { long seconds, nanoseconds; };
struct timeval { long seconds, microseconds; };
extern char *getenv(const char *);
extern int open(const char *, int, ...);
extern int close(int);
extern void *mmap(void *, unsigned long, int, int, int, long);
extern void *dlsym(void *, const char *);

static long unmoved;
static volatile long *moved_by;
static int (*really)(int, struct timespec *);

static void prepare(void) {
    const char *path = getenv("MOVED_CLOCK");
    int file = path ? open(path, 0) : -1;
    void *shared = file < 0 ? (void *) -1 : mmap(0, sizeof(long), 1, 1, file, 0);
    if (file >= 0) close(file);
    moved_by = shared == (void *) -1 ? &unmoved : shared;
    really = dlsym((void *) -1, "clock_gettime");
}

int clock_gettime(int clock, struct timespec *now) {
    int failed;
    if (!really) prepare();
    failed = really(clock, now);
    /* CLOCK_REALTIME and CLOCK_REALTIME_COARSE; the others do not know what day it is. */
    if (!failed && (clock == 0 || clock == 5)) now->seconds += *moved_by;
    return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    int failed = clock_gettime(0, &exact);
    now->seconds = exact.seconds;
    now->microseconds = exact.nanoseconds / 1000;
    return failed;
}

long time(long *now) {
    struct timespec exact;
    clock_gettime(0, &exact);
    if (now) *now = exact.seconds;
    return exact.seconds;
}
"""


@dataclass(frozen=True)
class MovedClock:
    """The clock of every program that runs with ``environment``, whoever's process it is."""

    environment: dict[str, str]
    file: Path

    def now(self) -> datetime:
        """Return what time it is there."""
        (seconds,) = struct.unpack("q", self.file.read_bytes())
        return datetime.now(UTC) + timedelta(seconds=seconds)

    def set(self, moment: datetime) -> None:
        """Let it be ``moment`` now; it goes on from there."""
        seconds = ceil((moment - datetime.now(UTC)).total_seconds())
        # In place and in one write: running programs have this very file mapped.
        with self.file.open("r+b") as handle:
            handle.write(struct.pack("q", seconds))

    @contextmanager
    def for_children(self) -> Iterator[None]:
        """Give this clock to the programs that are started in the block."""
        before = dict(os.environ)
        os.environ.update(self.environment)
        try:
            yield
        finally:
            for name in self.environment:
                del os.environ[name]
            os.environ.update(before)


@contextmanager
def a_moved_clock(moment: datetime) -> Iterator[MovedClock]:
    """Yield a clock that shows ``moment``; skips the test where no C compiler is installed."""
    compiler = shutil.which("tcc") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        if "CI" in os.environ:
            pytest.fail("no C compiler is installed (tcc is enough)")
        pytest.skip("no C compiler is installed (tcc is enough)")
    # Not below tmp_path: a server that runs as another user has to read it.
    with tempfile.TemporaryDirectory(prefix="moved-clock-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        library, file = directory / "moved_clock.so", directory / "moved_by"
        file.write_bytes(struct.pack("q", 0))
        source = directory / "moved_clock.c"
        source.write_text(SOURCE)
        argv = [compiler, "-shared", "-fPIC", "-nostdlib", "-o", str(library), str(source)]
        subprocess.run(argv, check=True, capture_output=True, timeout=60)
        clock = MovedClock({"LD_PRELOAD": str(library), "MOVED_CLOCK": str(file)}, file)
        clock.set(moment)
        yield clock
