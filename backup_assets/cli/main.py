"""What does `backup-assets` do with its arguments, and how does it end?"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from backup_assets.cli.arguments import parser
from backup_assets.cli.output import tell, tell_error
from backup_assets.errors import BackupError

INTERRUPTED = 130
_BROKEN_PIPE = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    0 done, 1 a check failed, 2 refused or wrong usage, 3 the environment is at fault, 130 interrupted.
    """
    try:
        arguments = parser().parse_args(argv)
    except SystemExit as left:  # argparse has said why
        return left.code if isinstance(left.code, int) else 2
    try:
        # Only the command's own module is loaded: those that need Dagster cost a second, `list` does not wait for it.
        command = importlib.import_module(f"backup_assets.cli.{arguments.module}")
        status = int(getattr(command, arguments.function)(arguments))
        sys.stdout.flush()
    except BackupError as error:
        tell_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        tell("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    return status


if __name__ == "__main__":
    sys.exit(main())
