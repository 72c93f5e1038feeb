"""A secret as it is stored: encrypted with a key of its own, which in turn is encrypted with a master key.

``v1.<master key id>.<wrapped data key>.<encrypted secret>``: AES-256-GCM twice, each with a random 96-bit nonce before
its ciphertext, in base64url. The secret is bound to its row and purpose, so that it opens nowhere else; the data key
only to the master key's id, so that another master key can take it over without touching the secret.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from typing import TYPE_CHECKING, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

if TYPE_CHECKING:
    from scale_mcp.hosting.master_keys import MasterKey

VERSION = "v1"
NONCE = 12  # bytes


class NotAuthentic(Exception):
    """What should be opened was changed, was sealed with another key, or belongs elsewhere."""


class Envelope(NamedTuple):
    """A sealed secret in its parts. All of it may be seen."""

    master_id: str
    wrapped_key: bytes
    content: bytes

    @classmethod
    def read(cls, text: str) -> Envelope:
        """Raises ``NotAuthentic`` for anything that ``str(envelope)`` did not write."""
        parts = text.split(".")
        if len(parts) != 4 or parts[0] != VERSION:
            raise NotAuthentic
        try:
            return cls(parts[1], _decoded(parts[2]), _decoded(parts[3]))
        except (binascii.Error, ValueError):
            raise NotAuthentic from None

    def __str__(self) -> str:
        return ".".join((VERSION, self.master_id, _encoded(self.wrapped_key), _encoded(self.content)))


def seal(secret: SecretStr, master: MasterKey, row: str, purpose: str) -> Envelope:
    data_key = AESGCM.generate_key(bit_length=256)
    return Envelope(
        master.id,
        master.wrap(data_key, _key_binding(master.id)),
        encrypt(data_key, secret.get_secret_value().encode(), _secret_binding(row, purpose)),
    )


def unseal(envelope: Envelope, master: MasterKey, row: str, purpose: str) -> SecretStr:
    """Raises ``NotAuthentic`` unless exactly this was sealed by this master key for this row and purpose."""
    return SecretStr(
        decrypt(
            master.unwrap(envelope.wrapped_key, _key_binding(master.id)),
            envelope.content,
            _secret_binding(row, purpose),
        ).decode()
    )


def rewrap(envelope: Envelope, old: MasterKey, new: MasterKey) -> Envelope:
    """The same secret under another master key. Raises ``NotAuthentic`` when ``old`` is not the one it is under."""
    data_key = old.unwrap(envelope.wrapped_key, _key_binding(old.id))
    return Envelope(new.id, new.wrap(data_key, _key_binding(new.id)), envelope.content)


def encrypt(key: bytes, plain: bytes, associated: bytes) -> bytes:
    nonce = secrets.token_bytes(NONCE)
    return nonce + AESGCM(key).encrypt(nonce, plain, associated)


def decrypt(key: bytes, encrypted: bytes, associated: bytes) -> bytes:
    """Raises ``NotAuthentic`` when it was not encrypted with this key and this associated data."""
    try:
        return AESGCM(key).decrypt(encrypted[:NONCE], encrypted[NONCE:], associated)
    except (InvalidTag, ValueError):  # the latter: shorter than a nonce
        raise NotAuthentic from None


def _secret_binding(row: str, purpose: str) -> bytes:
    return json.dumps(["scale-mcp vault", VERSION, "secret", row, purpose]).encode()


def _key_binding(master_id: str) -> bytes:
    return json.dumps(["scale-mcp vault", VERSION, "data key", master_id]).encode()


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
