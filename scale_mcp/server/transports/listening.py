"""Listening sockets for the servers of this project."""

from __future__ import annotations

import socket

WAITING = 128  # connections that may wait to be accepted


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at ``host`` and ``port`` (0 takes any free port). Raises ``OSError``.

    It names TCP as its protocol, or asyncio leaves Nagle's delay on for the connections it accepts: an answer of two
    writes then waits 40 ms for an acknowledgement. ``socket.create_server`` does not name it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host.strip("[]"), port))
        listener.listen(WAITING)
    except OSError:
        listener.close()
        raise
    return listener
