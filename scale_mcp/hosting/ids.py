"""Ids that say what they are of, and that nobody guesses."""

from __future__ import annotations

import base64
import secrets


def new_id(kind: str) -> str:
    """``per_mfzwizltoq2gk3tu``: the kind, and 80 random bits in lower case letters and digits."""
    return f"{kind}_{base64.b32encode(secrets.token_bytes(10)).decode().lower()}"
