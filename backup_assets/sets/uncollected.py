"""How are thousands of documents parsed without the garbage collector walking through all of them again and again?

Parsing makes many objects and no garbage in cycles. The collector, which counts new objects alone, looks through
everything that lives each time their number has grown by a quarter: measured with 10,000 manifests of 30 tables each
that is two thirds of the time of parsing.

Switching it off is not enough, as all that was made meanwhile would be looked through when it is on again, and with it
most of what came before. So what lives at the end of the block goes to the oldest generation unseen, by freezing and
releasing it, which takes no time. Garbage in cycles among it is found by the next full collection.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_pauses = 0
_was_enabled = False


@contextmanager
def uncollected() -> Iterator[None]:
    """Pause the garbage collector of the whole process for a block; for work of a second at most, never for a wait.

    Blocks may overlap in several threads: the last one to end switches the collector on again, if it was on.
    """
    global _pauses, _was_enabled  # the collector is global too
    with _lock:
        if _pauses == 0:
            _was_enabled = gc.isenabled()
            gc.disable()
        _pauses += 1
    try:
        yield
    finally:
        with _lock:
            _pauses -= 1
            if _pauses == 0 and _was_enabled:
                gc.freeze()
                gc.unfreeze()
                gc.enable()
