"""A TCP port for a server that is yet to be started, or for one that never is."""

from __future__ import annotations

import socket

_HELD: list[socket.socket] = []


def free_port() -> int:
    """Return a port of 127.0.0.1 that the system gives to nobody else as long as this process lives.

    A socket that does not listen has it: who connects is refused, and a server that asks for this very port gets it,
    because servers bind with SO_REUSEADDR. Between the choice of a port and a start that takes seconds, any other
    program could be given a port that is merely free.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    _HELD.append(held)
    return held.getsockname()[1]
