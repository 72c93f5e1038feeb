"""Writing the entry of a host: what is there stays, what is broken is left alone, the key stays out."""

import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from scale_mcp.cli.app import app
from scale_mcp.cli.hosts import PLACEHOLDER, application_folder

USER_FILES = {
    "claude-desktop": ".config/Claude/claude_desktop_config.json",
    "claude-code": ".claude.json",
    "cursor": ".cursor/mcp.json",
    "vscode": ".config/Code/User/mcp.json",
}
HOSTS = sorted(USER_FILES)
SECTION = {"vscode": "servers"}
SECRET = "live_0123456789abcdef"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    for name in ("XDG_CONFIG_HOME", "APPDATA", "CLAUDE_CONFIG_DIR", "SCALE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.chdir(tmp_path)
    return folder


def install(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, ["install", *arguments], env=env)


def file_of(home: Path, host: str) -> Path:
    return home / USER_FILES[host]


def entry_of(home: Path, host: str, name: str = "scale") -> dict[str, object]:
    entry: dict[str, object] = json.loads(file_of(home, host).read_text())[SECTION.get(host, "mcpServers")][name]
    return entry


@pytest.mark.parametrize("host", HOSTS)
def test_a_first_installation_writes_a_private_file_with_an_absolute_command(home: Path, host: str) -> None:
    assert install(host).exit_code == 0
    entry = entry_of(home, host)
    assert Path(str(entry["command"])).is_absolute()
    assert entry["args"][-1] == "serve"  # type: ignore[index]
    assert stat.S_IMODE(file_of(home, host).stat().st_mode) == 0o600
    assert list(file_of(home, host).parent.iterdir()) == [file_of(home, host)]


@pytest.mark.parametrize("host", HOSTS)
def test_other_entries_and_settings_stay_and_a_copy_is_kept(home: Path, host: str) -> None:
    section = SECTION.get(host, "mcpServers")
    before = {"theme": "dunkel – ü", section: {"other": {"command": "x", "args": []}}, "last": [1, 2]}
    file = file_of(home, host)
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(before, indent=4, ensure_ascii=False)
    file.write_text(text, encoding="utf-8")
    file.chmod(0o644)

    result = install(host, "--sandbox")

    assert result.exit_code == 0, result.output
    after = json.loads(file.read_text(encoding="utf-8"))
    assert after[section].pop("scale")["args"][-2:] == ["serve", "--sandbox"]
    assert after == before
    assert list(after) == list(before), "the order stays"
    assert '\n    "theme": "dunkel – ü"' in file.read_text(encoding="utf-8"), "so do indentation and letters"
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    (backup,) = file.parent.glob(f"{file.name}.*.bak")
    assert backup.read_text(encoding="utf-8") == text
    assert str(backup) in result.output.replace("\n", "")


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ('{"mcpServers": {', "not valid JSON"),
        ('{\n  // mine\n  "servers": {}\n}', "comments or trailing commas"),
        ("[]", "a list, not an object"),
        ('{"mcpServers": [], "servers": []}', "is a list"),
    ],
)
def test_a_file_that_cannot_be_merged_is_left_alone_with_a_cure(home: Path, host: str, broken: str, said: str) -> None:
    file = file_of(home, host)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(broken)
    result = install(host)
    assert result.exit_code == 1
    assert said in result.output
    assert "Nothing was changed" in result.output
    assert file.read_text() == broken
    assert [path.name for path in file.parent.iterdir() if path.is_file()] == [file.name]


@pytest.mark.parametrize("host", HOSTS)
def test_the_key_is_referred_to_and_not_written(home: Path, host: str) -> None:
    result = install(host, env={"SCALE_API_KEY": SECRET})
    assert SECRET not in file_of(home, host).read_text() + result.output
    expected = {
        "claude-desktop": PLACEHOLDER,
        "claude-code": "${SCALE_API_KEY:-}",
        "cursor": "${env:SCALE_API_KEY}",
        "vscode": "${input:scale-api-key}",
    }
    assert entry_of(home, host)["env"] == {"SCALE_API_KEY": expected[host]}


def test_vs_code_asks_for_the_key_once_and_hidden(home: Path) -> None:
    file = file_of(home, "vscode")
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"inputs": [{"id": "mine", "type": "promptString"}]}))
    install("vscode")
    install("vscode", "--name", "second")
    inputs = json.loads(file.read_text())["inputs"]
    assert [item["id"] for item in inputs] == ["mine", "scale-api-key"]
    assert inputs[1]["password"] is True


def test_with_key_writes_the_key_only_when_asked_and_says_so(home: Path) -> None:
    result = install("claude-desktop", "--with-key", env={"SCALE_API_KEY": SECRET})
    assert entry_of(home, "claude-desktop")["env"] == {"SCALE_API_KEY": SECRET}
    assert "plain text" in result.output
    assert SECRET not in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["claude-desktop", "--with-key"], "not set"),
        (["claude-desktop", "--with-key", "--sandbox"], "needs no key"),
        (["cursor", "--with-key", "--scope", "project"], "shared with others"),
        (["claude-desktop", "--scope", "project"], "no settings per project"),
        (["cursor", "--name", "my server"], "would not work"),
        (["emacs"], "claude-desktop"),
        (["cursor", "--sandbx"], "--sandbox"),
    ],
)
def test_wrong_usage_is_refused_with_a_cure(home: Path, arguments: list[str], said: str) -> None:
    result = install(*arguments)
    assert result.exit_code == 2
    assert said in result.output
    assert list(home.iterdir()) == []


def test_a_key_somebody_typed_in_and_further_settings_of_our_entry_survive_an_update(home: Path) -> None:
    install("claude-desktop")
    file = file_of(home, "claude-desktop")
    document = json.loads(file.read_text())
    document["mcpServers"]["scale"]["env"] = {"SCALE_API_KEY": SECRET, "SCALE_MCP_LOG_LEVEL": "debug"}
    document["mcpServers"]["scale"]["disabled"] = False
    file.write_text(json.dumps(document))
    install("claude-desktop", "--read-only")
    entry = entry_of(home, "claude-desktop")
    assert entry["env"] == {"SCALE_API_KEY": SECRET, "SCALE_MCP_LOG_LEVEL": "debug"}
    assert entry["disabled"] is False
    assert entry["args"][-2:] == ["serve", "--read-only"]  # type: ignore[index]


def test_installing_the_same_again_changes_nothing_and_makes_no_copy(home: Path) -> None:
    install("cursor")
    before = file_of(home, "cursor").stat().st_mtime_ns
    result = install("cursor")
    assert "already has this entry" in result.output
    assert file_of(home, "cursor").stat().st_mtime_ns == before
    assert len(list((home / ".cursor").iterdir())) == 1


def test_two_changes_within_a_second_keep_two_copies(home: Path) -> None:
    for name in ("one", "two", "three"):
        assert install("cursor", "--name", name).exit_code == 0
    assert len(list((home / ".cursor").glob("*.bak"))) == 2


def test_a_linked_file_stays_a_link(home: Path, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.json"
    real.write_text("{}")
    link = file_of(home, "cursor")
    link.parent.mkdir()
    link.symlink_to(real)
    install("cursor")
    assert link.is_symlink()
    assert "scale" in json.loads(real.read_text())["mcpServers"]


def test_a_file_with_a_byte_order_mark_and_an_empty_file_are_read(home: Path) -> None:
    file = file_of(home, "cursor")
    file.parent.mkdir()
    file.write_bytes(b'\xef\xbb\xbf{"mcpServers": {"other": {}}}')
    assert install("cursor").exit_code == 0
    assert set(json.loads(file.read_text())["mcpServers"]) == {"other", "scale"}
    file.write_text("")
    assert install("cursor").exit_code == 0
    assert set(json.loads(file.read_text())["mcpServers"]) == {"scale"}


def test_print_shows_the_entry_on_stdout_and_writes_nothing(home: Path) -> None:
    result = install("vscode", "--print", "--sandbox", "--read-only", "--name", "box")
    shown = json.loads(result.stdout)
    assert shown["servers"]["box"]["args"][-3:] == ["serve", "--sandbox", "--read-only"]
    assert "inputs" not in shown
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    ("host", "file"), [("claude-code", ".mcp.json"), ("cursor", ".cursor/mcp.json"), ("vscode", ".vscode/mcp.json")]
)
def test_project_scope_writes_into_this_folder(home: Path, tmp_path: Path, host: str, file: str) -> None:
    result = install(host, "--scope", "project")
    assert result.exit_code == 0
    assert "whoever else uses this file needs that path" in result.output
    assert (tmp_path / file).is_file()
    assert list(home.iterdir()) == []


def test_the_settings_folder_of_each_system() -> None:
    home = Path.home()
    assert application_folder("darwin", {}) == home / "Library" / "Application Support"
    assert application_folder("win32", {"APPDATA": "/roaming"}) == Path("/roaming")
    assert application_folder("win32", {}) == home / "AppData" / "Roaming"
    assert application_folder("linux", {"XDG_CONFIG_HOME": "/xdg"}) == Path("/xdg")
    assert application_folder("linux", {}) == home / ".config"


def test_claude_code_keeps_its_file_where_its_own_variable_says(home: Path, tmp_path: Path) -> None:
    result = install("claude-code", env={"CLAUDE_CONFIG_DIR": str(tmp_path / "cc")})
    assert result.exit_code == 0
    assert (tmp_path / "cc" / ".claude.json").is_file()


def test_a_folder_that_cannot_be_written_leaves_everything_as_it_was(home: Path) -> None:
    (home / ".cursor").write_text("a file where the folder should be")
    result = install("cursor")
    assert result.exit_code == 1
    assert "cannot be" in result.output


REMOTE = "https://tools.example.com/mcp"
REFERENCES = {"claude-code": "${SCALE_TOKEN:-}", "cursor": "${env:SCALE_TOKEN}", "vscode": "${input:scale-token}"}


@pytest.mark.parametrize("host", sorted(REFERENCES))
def test_a_hosted_server_is_written_with_its_address_and_a_reference_to_the_token(home: Path, host: str) -> None:
    assert install(host, "--url", "https://tools.example.com").exit_code == 0

    expected = {"type": "http", "url": REMOTE, "headers": {"Authorization": f"Bearer {REFERENCES[host]}"}}
    assert entry_of(home, host) == expected
    document = json.loads(file_of(home, host).read_text())
    assert [item["id"] for item in document.get("inputs", [])] == (["scale-token"] if host == "vscode" else [])


def test_a_token_that_somebody_typed_in_stays_for_its_address_and_goes_to_no_other(home: Path) -> None:
    own = {"type": "http", "url": REMOTE, "headers": {"Authorization": "Bearer smcp_typed", "X-Team": "night"}}
    file_of(home, "cursor").parent.mkdir()
    file_of(home, "cursor").write_text(json.dumps({"mcpServers": {"scale": own}}))

    assert install("cursor", "--url", REMOTE).exit_code == 0
    assert entry_of(home, "cursor") == own
    assert install("cursor", "--url", "https://elsewhere.example.com/mcp").exit_code == 0
    assert "smcp_typed" not in json.dumps(entry_of(home, "cursor"))


def test_an_entry_turns_from_a_server_here_into_a_hosted_one_and_back(home: Path) -> None:
    install("claude-code", "--sandbox")
    install("claude-code", "--url", REMOTE)
    assert sorted(entry_of(home, "claude-code")) == ["headers", "type", "url"]
    install("claude-code", "--sandbox")
    assert sorted(entry_of(home, "claude-code")) == ["args", "command", "type"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("claude-desktop", "--url", REMOTE), "Connectors"),
        (("cursor", "--url", "http://tools.example.com/mcp"), "Use https"),
        (("cursor", "--url", "tools.example.com"), "Write it like"),
        (("cursor", "--url", REMOTE, "--sandbox"), "leave all but --url"),
        (("cursor", "--url", REMOTE, "--token-env", "SCALE_MCP_TOKEN"), "SCALE_TOKEN"),
        (("cursor", "--url", REMOTE, "--token-env", "${X}"), "name a variable"),
    ],
)
def test_what_a_host_could_not_use_is_refused_and_nothing_is_written(
    home: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = install(*arguments)

    assert done.exit_code == 2
    assert said in done.output
    assert not list(home.iterdir())
