"""Master keys: 32 random bytes each, with a name. They seal the keys of the vault's secrets and are never in it.

They are written ``id:key`` (32 bytes in base64url), one after the other by commas or on lines of their own. The first
is current: what is sealed from now on is sealed with it. The others open what was sealed before.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

from pydantic import SecretStr

from scale_mcp.hosting.envelope import decrypt, encrypt
from scale_mcp.hosting.errors import OperatorError
from scale_mcp.hosting.ids import new_id

if TYPE_CHECKING:
    from scale_mcp.hosting.master_key_places import Place

SIZE = 32  # bytes
MAKE_ONE = "`scale-mcp vault new-key` prints one."
_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")
_FEWEST_DIFFERENT = 8  # bytes that 32 random ones have at the very least; a key typed by hand has fewer


class VaultError(OperatorError):
    """The vault cannot be opened, or not this secret of it."""


class MasterKey:
    """One master key. Shows its name only, in whatever is printed, logged or dumped."""

    __slots__ = ("_bytes", "id")

    def __init__(self, key_id: str, content: bytes) -> None:
        self.id = key_id
        self._bytes = content

    def __repr__(self) -> str:
        return f"MasterKey({self.id!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a master key is not to be written down")

    @property
    def proof(self) -> str:
        """By which the vault knows the key again, and from which nobody learns anything of it."""
        return hmac.new(self._bytes, b"scale-mcp master key proof v1", hashlib.sha256).hexdigest()

    @property
    def written(self) -> SecretStr:
        """As it stands in a file or variable."""
        return SecretStr(f"{self.id}:{base64.urlsafe_b64encode(self._bytes).decode().rstrip('=')}")

    def wrap(self, data_key: bytes, associated: bytes) -> bytes:
        """``data_key`` encrypted with this key."""
        return encrypt(self._bytes, data_key, associated)

    def unwrap(self, wrapped: bytes, associated: bytes) -> bytes:
        """What ``wrap`` was given. Raises ``envelope.NotAuthentic`` for anything else."""
        return decrypt(self._bytes, wrapped, associated)


class MasterKeys:
    """The master keys this process knows, and where they came from, to look there again for a new one."""

    def __init__(self, place: Place) -> None:
        """Raises ``VaultError`` when there are none at this place, or something that is none."""
        self.place = place
        self._keys: tuple[MasterKey, ...] = ()
        self.reread()

    def __repr__(self) -> str:
        return f"MasterKeys({', '.join(self.ids)})"

    @property
    def current(self) -> MasterKey:
        return self._keys[0]

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(key.id for key in self._keys)

    def __iter__(self) -> Iterator[MasterKey]:
        return iter(self._keys)

    def get(self, key_id: str) -> MasterKey | None:
        """The key of this name. One that is not known is looked for at its place, which may have got it since."""
        found = self._known(key_id)
        if found is None and self.place.may_change:
            self.reread()
            found = self._known(key_id)
        return found

    def reread(self) -> None:
        """Take the keys that are at their place now. Raises ``VaultError`` and keeps those it has when it cannot."""
        keys = parse(self.place.read(), self.place.name)
        if not keys:
            cure = (
                "`scale-mcp vault new-key --save` makes one and puts it there." if self.place.may_change else MAKE_ONE
            )
            raise VaultError(f"There is no master key in {self.place.name}. {cure}")
        self._keys = keys

    def _known(self, key_id: str) -> MasterKey | None:
        return next((key for key in self._keys if key.id == key_id), None)


def new_master_key() -> MasterKey:
    return MasterKey(new_id("mk"), secrets.token_bytes(SIZE))


def parse(text: SecretStr, place: str) -> tuple[MasterKey, ...]:
    """The keys written in ``text``, in their order. Raises ``VaultError`` for what is none, showing nothing of it."""
    keys: list[MasterKey] = []
    for line in text.get_secret_value().splitlines():
        entries = line.partition("#")[0].split(",")
        for entry in entries:
            if not entry.strip():
                continue
            key = _read(entry.strip())
            if key is None:
                raise VaultError(
                    f"Entry {len(keys) + 1} in {place} is not a master key: write id:key, the key being 32 random "
                    f"bytes in base64url. {MAKE_ONE}"
                )
            if any(key.id == other.id for other in keys):
                raise VaultError(f"The master key id {key.id!r} is in {place} twice. Remove one of the two.")
            keys.append(key)
    return tuple(keys)


def _read(entry: str) -> MasterKey | None:
    key_id, _, encoded = entry.partition(":")
    try:
        content = base64.b64decode(encoded.rstrip("=") + "=", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    if not _ID.fullmatch(key_id) or len(content) != SIZE or len(set(content)) < _FEWEST_DIFFERENT:
        return None
    return MasterKey(key_id, content)
