"""Where master keys come from: a variable, a file for its owner alone, or the keyring of the operating system."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pydantic import SecretStr

from scale_mcp.hosting.master_keys import MAKE_ONE, MasterKey, MasterKeys, VaultError, parse

if TYPE_CHECKING:
    from scale_mcp.settings import Settings

KEYRING_SERVICE, KEYRING_USER = "scale-mcp", "master-keys"
VARIABLES = "SCALE_MCP_MASTER_KEYS, SCALE_MCP_MASTER_KEY_FILE or SCALE_MCP_MASTER_KEY_KEYRING=true"


class Place(Protocol):
    """Holds the text of all master keys."""

    name: str
    may_change: bool  # whether another process can put a key there that a running one will find

    def read(self) -> SecretStr:
        """The text, empty when there is none yet. Raises ``VaultError`` when it cannot or must not be read."""
        ...

    def write(self, text: SecretStr) -> None:
        """Put this text in place of what is there. Raises ``VaultError`` when that cannot be done from here."""
        ...


class VariablePlace:
    """``SCALE_MCP_MASTER_KEYS``: fixed from the start of the process."""

    name = "SCALE_MCP_MASTER_KEYS"
    may_change = False

    def __init__(self, text: SecretStr) -> None:
        self._text = text

    def read(self) -> SecretStr:
        return self._text

    def write(self, text: SecretStr) -> None:
        raise VaultError(
            "Master keys in SCALE_MCP_MASTER_KEYS are changed where that variable is set, not from here: put the new "
            f"one in, keep the old ones behind it, and start again. {MAKE_ONE}"
        )


class FilePlace:
    """A file that only its owner can read."""

    may_change = True

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self.name = f"the master key file {self.path}"

    def read(self) -> SecretStr:
        try:
            with self.path.open(encoding="utf-8") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise VaultError(f"The master key file {self.path} is not a file.")
                if os.name == "posix" and status.st_mode & 0o077:
                    raise VaultError(
                        f"The master key file {self.path} can be read by others. Make it yours alone: "
                        f"chmod 600 {self.path}"
                    )
                return SecretStr(file.read())
        except FileNotFoundError:
            return SecretStr("")
        except (OSError, UnicodeDecodeError) as problem:
            reason = problem.strerror if isinstance(problem, OSError) else "it is not text"
            raise VaultError(f"The master key file {self.path} cannot be read: {reason}.") from None

    def write(self, text: SecretStr) -> None:
        """In one step: a reader sees the old text or the new one, and a crash leaves one of the two."""
        try:
            target = self.path.resolve()
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # mode 0600
            temporary = Path(name)
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(text.get_secret_value())
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as problem:
            raise VaultError(f"The master key file {self.path} cannot be written: {problem.strerror}.") from None


class KeyringPlace:
    """The keyring of the operating system, in the entry scale-mcp / master-keys."""

    name = "the keyring's entry scale-mcp / master-keys"
    may_change = True

    def read(self) -> SecretStr:
        import keyring
        from keyring.errors import KeyringError

        try:
            return SecretStr(keyring.get_password(KEYRING_SERVICE, KEYRING_USER) or "")
        except KeyringError as problem:
            raise _no_keyring(problem) from None

    def write(self, text: SecretStr) -> None:
        import keyring
        from keyring.errors import KeyringError

        try:
            keyring.set_password(KEYRING_SERVICE, KEYRING_USER, text.get_secret_value())
        except KeyringError as problem:
            raise _no_keyring(problem) from None


def _no_keyring(problem: Exception) -> VaultError:
    return VaultError(
        f"The keyring cannot be used ({type(problem).__name__}). Servers rarely have one: give the master keys by "
        "SCALE_MCP_MASTER_KEYS or SCALE_MCP_MASTER_KEY_FILE instead."
    )


def default_file() -> Path:
    """Where master keys are when no setting says so: with the user's configuration, apart from the data."""
    import platformdirs

    return platformdirs.user_config_path("scale-mcp", appauthor=False) / "master.keys"


def place_of(settings: Settings) -> Place:
    """Where the settings say that the master keys are; the default file if they do not.

    Raises ``VaultError`` when they name more than one place.
    """
    places: list[Place] = []
    if settings.master_keys is not None:
        places.append(VariablePlace(settings.master_keys))
    if settings.master_key_file is not None:
        places.append(FilePlace(settings.master_key_file))
    if settings.master_key_keyring:
        places.append(KeyringPlace())
    if not places:
        return FilePlace(default_file())
    if len(places) > 1:
        raise VaultError(f"The master keys are to come from more than one place. Give one of {VARIABLES}.")
    return places[0]


def master_keys_of(settings: Settings) -> MasterKeys:
    """The master keys that the settings lead to. Raises ``VaultError`` when there are none, or something is wrong."""
    named = settings.master_keys is not None or settings.master_key_file is not None or settings.master_key_keyring
    if not named and not (file := default_file()).exists():
        raise VaultError(
            f"There is no master key to open the vault with. `scale-mcp vault new-key --save` makes one and puts it "
            f"into {file}. To keep it elsewhere, name the place by {VARIABLES}."
        )
    return MasterKeys(place_of(settings))


def put_first(place: Place, key: MasterKey) -> None:
    """Make ``key`` the current one at its place; what is there stays, behind it."""
    there = place.read()
    parse(there, place.name)
    place.write(SecretStr(f"{key.written.get_secret_value()}\n{there.get_secret_value()}"))


def forget(place: Place, key_id: str) -> None:
    """Remove a key from its place. Whether it is still needed is for the caller to know."""
    kept = [key for key in parse(place.read(), place.name) if key.id != key_id]
    place.write(SecretStr("".join(f"{key.written.get_secret_value()}\n" for key in kept)))
