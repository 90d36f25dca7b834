"""Does the container's UI answer? Other commands than `dev` serve nothing and are healthy as long as they run.

Takes nothing, or for a test the path of a file like ``/proc/1/cmdline``. Exits with 0, or with 1 and a sentence.
"""

from __future__ import annotations

import argparse
import http.client
import sys
from pathlib import Path

#: What the container runs: `dagster dev …` in its place, or with `docker run --init` the command line as it was given.
MAIN_PROCESS = Path("/proc/1/cmdline")
PROGRAMS = ("backup-assets", "dagster")
#: Below Docker's own limit for a check, so that it is this program which says what is wrong.
TIMEOUT_SECONDS = 8.0


def served_address(command: list[str]) -> tuple[str, int] | None:
    """Return where `dev` in this argument list listens, as seen from inside; None for any other command."""
    names = [Path(argument).name for argument in command]
    following = [
        command[index + 2 :]
        for index, name in enumerate(names)
        if name in PROGRAMS and command[index + 1 : index + 2] == ["dev"]
    ]
    if not following:
        return None
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=3000)
    options, _ = parser.parse_known_args(following[0])
    return options.host, options.port  # Linux takes 0.0.0.0 and :: for itself here


def main(main_process: Path) -> int | str:
    """Return 0, or what is wrong."""
    address = served_address(main_process.read_bytes().decode(errors="replace").split("\0"))
    if address is None:
        return 0
    connection = http.client.HTTPConnection(*address, timeout=TIMEOUT_SECONDS)
    url = f"http://{address[0]}:{address[1]}/server_info"
    try:
        connection.request("GET", "/server_info")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"{url} does not answer: {error}"
    finally:
        connection.close()
    return 0 if status == http.client.OK else f"{url} answers with status {status}"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else MAIN_PROCESS))
