"""How long does it take to list very many sets from a folder and from S3, and does that grow in proportion?

Listed is as `backup-assets list` and retention do it: every manifest and every record is read, proven by its seal
and validated, and every file is looked for. "Again" is the second `list` of a day: the documents are read from the
copies that the first one kept.
"""

from __future__ import annotations

import http.client
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from backup_assets.named_stores import READERS
from backup_assets.sets.catalog import Catalog
from backup_assets.sets.place import ReadableStore
from backup_assets.stores.contract import Store
from backup_assets.stores.folder import FolderStore
from backup_assets.stores.remembered import Documents, RememberingStore
from backup_assets.stores.s3 import S3Store
from backup_assets_tests.bench.databases import processor_seconds, seconds
from backup_assets_tests.bench.many_sets import many_sets
from backup_assets_tests.sets.examples import ERP4
from backup_assets_tests.stores.object_server import object_server

SIZES = (1_000, 3_000, 10_000)
PLACES = ("a folder", "S3", "S3 again")


def _step(count: int, where: str) -> str:
    return f"{count:,} sets listed from {where}"


#: step, what it is compared with, and the goal for the ratio.
RATIOS = tuple(
    (_step(count, where), _step(SIZES[0], where), f"about {count // SIZES[0]}")
    for where in PLACES
    for count in SIZES[1:]
)


def measure(rounds: int, log: Callable[[str], None]) -> dict[str, list[float]]:
    """Return seconds by step, one value a round: of processor time for a folder (in memory by then), else by the clock.

    The S3 server works on the same machine.
    """
    results: dict[str, list[float]] = {}

    def timed(count: int, where: str, how: Callable[[Callable[[], None]], float], store: ReadableStore) -> None:
        name, readers = _step(count, where), 1 if where == PLACES[0] else READERS
        results.setdefault(name, []).append(how(partial(_list, store, readers, count)))
        log(f"round {len(results[name])}: {name}: {results[name][-1]:.2f} s")

    for count in SIZES:
        with _folder(count) as store:
            for _ in range(rounds):
                timed(count, "a folder", processor_seconds, store)
    for count in SIZES:
        with _bucket(count) as store:
            for _ in range(rounds):
                with tempfile.TemporaryDirectory(prefix="bench-documents-") as name:
                    remembering = RememberingStore(store, Documents(Path(name)))
                    timed(count, "S3", seconds, remembering)
                    timed(count, "S3 again", seconds, remembering)
    return results


def _list(store: ReadableStore, readers: int, count: int) -> None:
    sets = Catalog(store, ERP4, readers=readers).sets()
    if len(sets) != count or any(one.faults for one in sets):
        raise AssertionError(f"{len(sets)} of {count} sets were listed, or some as incomplete")


@contextmanager
def _folder(count: int) -> Iterator[Store]:
    with tempfile.TemporaryDirectory(prefix="bench-listing-") as name:
        for one in many_sets(count):
            for key, content in one.objects():
                path = Path(name) / key
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        yield FolderStore(Path(name), "local")


@contextmanager
def _bucket(count: int) -> Iterator[Store]:
    with object_server() as server:
        bucket = server.bucket()
        # Past the S3 service, into the file service below it: 40,000 uploads would take longer than all the rest.
        below = http.client.HTTPConnection("127.0.0.1", server.ports.filer, timeout=60)
        for one in many_sets(count):
            for key, content in one.objects():
                below.request("PUT", f"/buckets/{bucket}/{key}", content)
                answer = below.getresponse()
                answer.read()
                if answer.status != 201:
                    raise AssertionError(f"{key} was not stored: {answer.status}")
        yield S3Store(server.location(bucket), "s3")
