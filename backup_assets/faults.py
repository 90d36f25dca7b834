"""How our errors reach Dagster: as a Failure with the same three sentences, retried only where that may help."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import dagster as dg

from backup_assets.errors import BackupError

#: Set by whoever runs a job in its own process: errors are added as they happen, whole and not as text.
RAISED: ContextVar[list[BackupError] | None] = ContextVar("backup_assets_raised", default=None)


def failure_of(error: BackupError) -> dg.Failure:
    """Return the Failure that shows an error in the UI; only a transient fault may be retried."""
    raised = RAISED.get()
    if raised is not None:
        raised.append(error)
    metadata = {"why": error.why, "next": error.remedy}
    return dg.Failure(
        description=str(error),
        metadata={name: text for name, text in metadata.items() if text},
        allow_retries=error.retriable,
    )


@contextmanager
def as_failure() -> Iterator[None]:
    """Turn an error of ours that leaves the block into a Failure."""
    try:
        yield
    except BackupError as error:
        raise failure_of(error) from None


def failure_or_retry(
    context: dg.AssetExecutionContext, error: BackupError, retries: dg.RetryPolicy
) -> dg.Failure | dg.RetryRequested:
    """Return what to raise for an error: another attempt as ``retries`` says for a transient fault, else its Failure.

    A step must not have ``retries`` as its own policy: Dagster would apply it to an interrupt too, so that a run which
    somebody ends begins again.
    """
    attempts = context.op_execution_context.retry_number
    if not error.retriable or attempts >= retries.max_retries:
        return failure_of(error)
    wait = float(retries.calculate_delay(attempts + 1))
    context.log.warning(f"{error}\n  this is tried again in {wait:.0f} s")
    return dg.RetryRequested(max_retries=retries.max_retries, seconds_to_wait=wait)
