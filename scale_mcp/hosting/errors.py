"""What an operator asked for and cannot have."""

from __future__ import annotations


class OperatorError(Exception):
    """What was asked for cannot be done. The text is for the operator: what is wrong and how to cure it."""
