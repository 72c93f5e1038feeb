"""Identifiers in Scale's forms: 24 hex digits for tasks, projects and people, UUIDs for files and results."""

from __future__ import annotations

import itertools
import os
import time
import uuid as uuids

_PROCESS = os.urandom(5).hex()
_counter = itertools.count(int.from_bytes(os.urandom(3)))


def object_id(at: float | None = None) -> str:
    """A new Mongo ObjectId: 4 bytes of seconds (``at``, or the real time), 5 random, 3 counted."""
    seconds = int(time.time() if at is None else at) & 0xFFFFFFFF
    return f"{seconds:08x}{_PROCESS}{next(_counter) & 0xFFFFFF:06x}"


def uuid() -> str:
    """A new random UUID in its usual spelling."""
    return str(uuids.uuid4())
