"""How a piece of work runs beside another: in a second thread, its error not lost, its end always awaited."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Result(Generic[Value]):
    """What the second thread came to; ask for it after the block of :func:`beside` has ended."""

    def __init__(self) -> None:
        self._values: list[Value] = []
        self._error: BaseException | None = None

    def run(self, work: Callable[[], Value]) -> None:
        """Do the work and keep its value or its error."""
        try:
            self._values.append(work())
        except BaseException as error:  # noqa: BLE001 - carried over to the thread that waits, and raised there
            self._error = error

    @property
    def error(self) -> BaseException | None:
        """What the work has raised so far, or None."""
        return self._error

    def value(self) -> Value:
        """Return the work's value; raises what the work raised."""
        if self._error is not None:
            raise self._error
        return self._values[0]


@contextmanager
def beside(work: Callable[[], Value], interrupt: Callable[[], None] | None = None) -> Iterator[Result[Value]]:
    """Run ``work`` in a second thread beside the block, and wait for it at the block's end.

    When the block fails, ``interrupt`` is called to make the work end early. When the work had failed before, its
    error is raised instead of the block's: the end of the shared snapshot is what made the block fail.
    """
    result: Result[Value] = Result()
    thread = threading.Thread(target=result.run, args=(work,), daemon=True)
    thread.start()
    try:
        yield result
    except Exception as failure:
        cause = result.error
        if interrupt is not None:
            interrupt()
        if cause is not None:
            raise cause from failure
        raise
    except BaseException:
        if interrupt is not None:
            interrupt()
        raise
    finally:
        thread.join()
