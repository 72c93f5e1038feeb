"""Cursors that only their own persona can use again, for the list they came from.

A cursor of Scale's may say anything, and whoever holds one might continue somebody else's list with it. So a caller
gets each one encrypted and bound to the persona, the tool and what the list was of. Whatever else comes back, be it
another's, made up, or cut off, is refused in the same words.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import secrets

from scale_mcp.tools.card import ToolFailure

KEY_BYTES = 32
NONCE_BYTES = 12
LONGEST = 16_000  # characters of a cursor worth looking at
FORM = re.compile(r"[A-Za-z0-9_-]+")


class BadCursor(ToolFailure):
    """A cursor that was not given to this persona for this list."""

    code = "invalid_cursor"

    def __init__(self, argument: str) -> None:
        super().__init__(
            f"This {argument} does not belong to this list. Take the one from the page before as it is, with the same "
            f"filters, or leave {argument} out to begin anew."
        )


class CursorSeal:
    """Seals cursors for one persona. Replicas with the same key open each other's."""

    def __init__(self, key: bytes, persona_id: str) -> None:
        """``key`` has 32 bytes."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if len(key) != KEY_BYTES:
            raise ValueError(f"a key of {KEY_BYTES} bytes is needed, not of {len(key)}")
        self._cipher = AESGCM(key)
        self._persona_id = persona_id

    def seal(self, cursor: str, *, tool: str, scope: tuple[str, ...] = ()) -> str:
        """The cursor for the persona to hand back. ``scope`` is what the list is of, such as its project and batch."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, cursor.encode(), self._bound_to(tool, scope))
        return base64.urlsafe_b64encode(nonce + sealed).decode().rstrip("=")

    def open(self, sealed: str, *, argument: str, tool: str, scope: tuple[str, ...] = ()) -> str:
        """What ``seal`` was given. Raises ``BadCursor``, which names ``argument``, for anything else."""
        from cryptography.exceptions import InvalidTag

        try:
            content = _decoded(sealed)
            return self._cipher.decrypt(
                content[:NONCE_BYTES], content[NONCE_BYTES:], self._bound_to(tool, scope)
            ).decode()
        except (InvalidTag, ValueError):
            raise BadCursor(argument) from None

    def _bound_to(self, tool: str, scope: tuple[str, ...]) -> bytes:
        return json.dumps(["cursor", self._persona_id, tool, *scope]).encode()


def _decoded(text: str) -> bytes:
    if len(text) > LONGEST or not FORM.fullmatch(text):
        raise ValueError
    try:
        content = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise ValueError from None
    # The last character of base64 may have bits that no byte needs: one cursor has one spelling.
    if base64.urlsafe_b64encode(content).decode().rstrip("=") != text:
        raise ValueError
    return content
