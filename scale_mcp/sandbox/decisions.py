"""What Scale does not document, decided once. Each entry asks the question, states the choice, and holds its value.

The code refers to entries by name (``decisions.PICKUP_DELAY.value``), so that searching for a name shows the question,
the choice and every place that depends on it. Areas may add entries; the order is that of the resources.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True)
class Decision(Generic[Value]):
    """One open question and the sandbox's answer to it."""

    question: str
    choice: str
    value: Value


# Requests and keys

KEY_MODES = Decision(
    "Which keys are test keys?",
    "`test_…` and `…|test`; `live_…` is live; anything else is refused with 401.",
    ("test_", "|test", "live_"),
)
UNAUTHORIZED_TEXT = Decision("What does a 401 say?", "One short sentence.", "Invalid API key.")
LIMIT_OUT_OF_RANGE = Decision("Is a `limit` outside 1–100 clamped or refused?", "Refused with 400.", 400)
BODY_TOO_LARGE = Decision("What does a body far above 80 MB get?", "413, as HTTP has it.", 413)
PROJECT_NOT_FOUND = Decision(
    "What does the 404 of an unknown project say?", "Its name, in quotes.", 'Project "{name}" not found.'
)
BATCH_NOT_FOUND = Decision(
    "What does the 404 of an unknown batch say?", "Its name, in quotes.", 'Batch "{name}" not found.'
)
