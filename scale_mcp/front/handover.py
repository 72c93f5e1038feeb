"""What the front leaves to the real server: the wire, the bytes that are still to be served, the answers given."""

from __future__ import annotations

# Typing imports would cost the front what it saves, hence the plain class.


class Handover:
    """The state of the conversation when the front steps back.

    source, sink   private descriptors of the wire; 0 and 1 have been pointed elsewhere
    unserved       bytes to read before the source: the handshake again, and everything that was not answered
    answered       ids of the replayed requests: the client has their answers, so the next one to each is dropped
    awaited        whether the client waits for an answer; not so when it has just fallen silent
    """

    __slots__ = ("answered", "awaited", "sink", "source", "unserved")

    def __init__(
        self, source: int, sink: int, unserved: bytes, answered: list[str | int], *, awaited: bool = True
    ) -> None:
        self.source = source
        self.sink = sink
        self.unserved = unserved
        self.answered = answered
        self.awaited = awaited


_waiting: Handover | None = None


def leave(handover: Handover) -> None:
    """Leave the conversation to whoever serves stdio next in this process."""
    global _waiting
    _waiting = handover


def take() -> Handover | None:
    """The conversation that the front began, once; None when there was no front."""
    global _waiting
    handover, _waiting = _waiting, None
    return handover
