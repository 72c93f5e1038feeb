"""Master keys: read from exactly one place, refused with a cure when something is wrong, shown nowhere."""

from __future__ import annotations

import pickle
import stat
import traceback
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends.fail import Keyring as NoKeyring
from pydantic import SecretStr

from scale_mcp.hosting.master_key_places import (
    FilePlace,
    KeyringPlace,
    Place,
    VariablePlace,
    forget,
    master_keys_of,
    place_of,
    put_first,
)
from scale_mcp.hosting.master_keys import MasterKey, MasterKeys, VaultError, new_master_key, parse
from scale_mcp.settings import load_settings

ZEROS = "A" * 43  # 32 zero bytes in base64url


class Drawer(KeyringBackend):
    """A keyring in memory."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.entries[service, username] = password


@pytest.fixture
def drawer(monkeypatch: pytest.MonkeyPatch) -> Drawer:
    mine = Drawer()
    monkeypatch.setattr(keyring, "get_keyring", lambda: mine)
    monkeypatch.setattr("keyring.core._keyring_backend", mine)
    return mine


@pytest.fixture(params=["file", "keyring"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "file":
        return FilePlace(str(tmp_path / "master.keys"))
    request.getfixturevalue("drawer")
    return KeyringPlace()


def text(*keys: MasterKey) -> str:
    return ",".join(key.written.get_secret_value() for key in keys)


def refusal(written: str) -> str:
    with pytest.raises(VaultError) as refused:
        parse(SecretStr(written), "the variable")
    return str(refused.value)


def test_the_first_key_is_current_and_all_are_known() -> None:
    first, second = new_master_key(), new_master_key()

    keys = MasterKeys(VariablePlace(SecretStr(text(first, second))))

    assert keys.current.id == first.id
    assert keys.ids == (first.id, second.id)
    assert keys.get(second.id) is not None
    assert keys.get("mk_other") is None


def test_keys_stand_on_lines_or_between_commas_with_remarks_and_padding() -> None:
    first, second, third = new_master_key(), new_master_key(), new_master_key()

    found = parse(SecretStr(f"# ours\n{text(first)}= # made today\n\n {text(second)} , {text(third)},\n"), "it")

    assert [key.id for key in found] == [first.id, second.id, third.id]
    assert [key.proof for key in found] == [first.proof, second.proof, third.proof]


@pytest.mark.parametrize(
    "written",
    [
        "justtext",
        "k1:",
        "k1:tooshort",
        ":" + "ab1-" * 10 + "abc",
        "k 1:" + "ab1-" * 10 + "abc",
        "k1:" + "ab1-" * 11,
        f"k1:{ZEROS}",
        "k1:" + "é" * 43,
    ],
)
def test_what_is_no_master_key_is_refused_without_showing_it(written: str) -> None:
    told = refusal(written)

    assert "Entry 1 in the variable is not a master key" in told
    assert "vault new-key" in told
    assert written.partition(":")[2][:8] not in told or not written.partition(":")[2]


def test_one_name_for_two_keys_is_refused() -> None:
    key = new_master_key()

    assert "twice" in refusal(text(key, key))


def test_a_master_key_is_shown_by_its_name_alone() -> None:
    key = new_master_key()
    secret = key.written.get_secret_value().partition(":")[2]
    keys = MasterKeys(VariablePlace(key.written))

    shown = f"{key!r} {key} {keys!r} {key.written!r} {vars(keys)!r} {vars(keys.place)!r}"

    assert key.id in shown
    assert secret[:8] not in shown
    with pytest.raises(TypeError):
        pickle.dumps(key)


def test_a_refused_master_key_is_in_no_dump_of_the_failure() -> None:
    broken = new_master_key().written.get_secret_value()[:-3]

    try:
        MasterKeys(VariablePlace(SecretStr(broken)))
    except VaultError as problem:
        frames = traceback.TracebackException.from_exception(problem)
        shown = "".join(frames.format())

    assert broken[-12:] not in shown


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's configuration folder, empty."""
    folder = tmp_path / "configuration"
    monkeypatch.setattr("platformdirs.user_config_path", lambda name, **_: folder / name)
    return folder


def test_without_any_place_the_shortest_way_and_the_others_are_named(configuration: Path) -> None:
    ways = r"vault new-key --save.*SCALE_MCP_MASTER_KEYS, SCALE_MCP_MASTER_KEY_FILE or SCALE_MCP_MASTER_KEY_K"
    with pytest.raises(VaultError, match=ways) as refused:
        master_keys_of(load_settings())
    assert str(configuration / "scale-mcp" / "master.keys") in str(refused.value)


def test_a_key_without_a_named_place_goes_to_a_private_file_in_a_private_folder(configuration: Path) -> None:
    key = new_master_key()

    put_first(place_of(load_settings()), key)

    assert master_keys_of(load_settings()).current.proof == key.proof
    assert stat.S_IMODE((configuration / "scale-mcp").stat().st_mode) == 0o700
    assert stat.S_IMODE((configuration / "scale-mcp" / "master.keys").stat().st_mode) == 0o600


def test_a_place_that_is_named_leaves_the_file_in_the_configuration_folder_alone(
    configuration: Path, tmp_path: Path
) -> None:
    put_first(place_of(load_settings()), new_master_key())

    with pytest.raises(VaultError, match="elsewhere"):
        master_keys_of(load_settings({"master_key_file": str(tmp_path / "elsewhere.keys")}))


def test_two_places_at_once_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SCALE_MCP_MASTER_KEYS", text(new_master_key()))

    with pytest.raises(VaultError, match="more than one place"):
        master_keys_of(load_settings({"master_key_file": str(tmp_path / "x")}))


def test_settings_hide_the_master_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    key = new_master_key()
    monkeypatch.setenv("SCALE_MCP_MASTER_KEYS", text(key))

    settings = load_settings()

    assert master_keys_of(settings).current.proof == key.proof
    assert text(key)[-12:] not in f"{settings!r} {settings.model_dump_json()}"


def test_a_file_that_others_can_read_is_refused_with_its_cure(tmp_path: Path) -> None:
    path = tmp_path / "master.keys"
    path.write_text(text(new_master_key()))
    path.chmod(0o640)

    with pytest.raises(VaultError, match=f"chmod 600 {path}"):
        MasterKeys(FilePlace(str(path)))
    path.chmod(0o600)
    assert MasterKeys(FilePlace(str(path))).ids


@pytest.mark.parametrize("kind", ["missing", "folder", "bytes"])
def test_a_file_that_is_none_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "master.keys"
    if kind == "folder":
        path.mkdir(mode=0o700)
    elif kind == "bytes":
        path.write_bytes(b"\xff\xfe\x00")
        path.chmod(0o600)

    with pytest.raises(VaultError, match=r"There is no master key|cannot be read") as refused:
        MasterKeys(FilePlace(str(path)))
    assert str(path) in str(refused.value)


def test_a_new_key_comes_first_and_the_old_ones_stay(place: Place) -> None:
    old, new = new_master_key(), new_master_key()

    put_first(place, old)
    put_first(place, new)

    assert MasterKeys(place).ids == (new.id, old.id)
    if isinstance(place, FilePlace):
        assert place.path.stat().st_mode & 0o777 == 0o600
        assert [each.name for each in place.path.parent.iterdir()] == [place.path.name]


def test_a_forgotten_key_is_gone_and_the_others_stay(place: Place) -> None:
    keys = [new_master_key() for _ in range(3)]
    for key in keys:
        put_first(place, key)

    forget(place, keys[1].id)

    assert MasterKeys(place).ids == (keys[2].id, keys[0].id)


def test_a_key_that_came_later_is_found_by_a_process_that_runs(place: Place) -> None:
    old, new = new_master_key(), new_master_key()
    put_first(place, old)
    running = MasterKeys(place)

    put_first(place, new)

    assert running.current.id == old.id
    found = running.get(new.id)
    assert found is not None
    assert found.proof == new.proof
    assert running.current.id == new.id


def test_remarks_in_the_file_outlast_a_new_key(tmp_path: Path) -> None:
    path = tmp_path / "master.keys"
    path.write_text(f"# kept by the night shift\n{text(new_master_key())}\n")
    path.chmod(0o600)

    put_first(FilePlace(str(path)), new_master_key())

    assert "night shift" in path.read_text()
    assert len(MasterKeys(FilePlace(str(path))).ids) == 2


def test_a_broken_file_is_not_built_upon(tmp_path: Path) -> None:
    path = tmp_path / "master.keys"
    path.write_text("nonsense\n")
    path.chmod(0o600)

    with pytest.raises(VaultError, match="not a master key"):
        put_first(FilePlace(str(path)), new_master_key())
    assert path.read_text() == "nonsense\n"


def test_a_variable_is_changed_where_it_is_set() -> None:
    with pytest.raises(VaultError, match="changed where that variable is set"):
        put_first(VariablePlace(SecretStr("")), new_master_key())


def test_a_machine_without_keyring_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyring.core._keyring_backend", NoKeyring())

    for use in (lambda: MasterKeys(KeyringPlace()), lambda: put_first(KeyringPlace(), new_master_key())):
        with pytest.raises(VaultError, match="SCALE_MCP_MASTER_KEY_FILE instead"):
            use()
