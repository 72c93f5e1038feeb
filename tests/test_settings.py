"""Configuration fails closed: what is not understood stops the start, with a cure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from scale_mcp.settings import Settings, SettingsError, is_loopback, load_settings, variable

HOSTED = {"hosted": True, "transport": "http"}
SIGNED_IN = {  # the least that personas of an authorization server need
    **HOSTED,
    "public_url": "https://tools.example.com",
    "allowed_hosts": ["tools.example.com"],
    "oauth_issuer": "https://login.example.com",
    "oauth_persona_claim": "persona",
}


def companions(field: str) -> dict[str, Any]:
    """The settings without which this one makes no sense."""
    needed = SIGNED_IN if field.startswith("oauth_") else HOSTED
    hosted = field in ("hosted", "public_url", "trusted_hops", "metrics_token") or field.startswith("oauth_")
    return {name: value for name, value in needed.items() if hosted and name != field}


def refusal(overrides: dict[str, Any] | None = None) -> str:
    with pytest.raises(SettingsError) as refused:
        load_settings(overrides)
    return str(refused.value)


def test_without_any_setting_the_defaults_stand() -> None:
    settings = load_settings()

    assert (settings.transport, settings.host, settings.api_url) == ("stdio", "127.0.0.1", "https://api.scale.com/v1")
    assert (settings.read_only, settings.confirm, settings.confirm_risk) == (False, "auto", "destroy")
    assert settings.api_key is None


@pytest.mark.parametrize("field", sorted(Settings.model_fields))
def test_every_setting_has_a_variable_that_is_read(field: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    values: dict[str, tuple[str, Any]] = {
        "api_url": ("https://scale.example/v1/", "https://scale.example/v1"),
        "transport": ("http", "http"),
        "host": ("127.0.0.2", "127.0.0.2"),
        "confirm": ("always", "always"),
        "confirm_risk": ("spend", "spend"),
        "sandbox_clock": ("manual", "manual"),
        "upload_root": (str(tmp_path), tmp_path),
        "download_root": (str(tmp_path), tmp_path),
        "log_level": ("DEBUG", "debug"),
        "log_format": ("console", "console"),
        "sandbox_db": ("file.db", "file.db"),
        "sandbox_port": ("8787", 8787),
        "public_url": ("http://LOCALHOST:8000/", "http://localhost:8000"),
        "oauth_issuer": ("https://login.example.com/", "https://login.example.com/"),
        "oauth_jwks_url": ("https://keys.example.com/jwks?v=2", "https://keys.example.com/jwks?v=2"),
        "oauth_algorithms": ("ES256, EdDSA", ("ES256", "EdDSA")),
        "metrics_token": ("0123456789abcdef", "0123456789abcdef"),
    }
    annotation = Settings.model_fields[field].annotation
    fallback: dict[Any, tuple[str, Any]] = {
        bool: ("true", True),
        int: ("7", 7),
        float: ("7.5", 7.5),
        tuple[str, ...]: ("a, b", ("a", "b")),
    }
    given, expected = values.get(field) or fallback.get(annotation) or ("live_key", "live_key")
    given, expected = ("2000", 2000) if field == "max_result_chars" else (given, expected)
    monkeypatch.setenv(variable(field), given)

    value = getattr(load_settings(companions(field)), field)

    assert (value.get_secret_value() if isinstance(value, SecretStr) else value) == expected


@pytest.mark.parametrize(
    ("name", "value", "cure"),
    [
        ("SCALE_MCP_READONLY", "true", "Did you mean SCALE_MCP_READ_ONLY?"),
        ("SCALE_MCP_TOOLSET", "tasks", "Did you mean SCALE_MCP_TOOLSETS?"),
        ("scale_mcp_readonly", "true", "Did you mean SCALE_MCP_READ_ONLY?"),
        ("SCALE_MCP_READ_ONLY", "ture", "Did you mean true?"),
        ("SCALE_MCP_READ_ONLY", "", "Give it a value, or remove the variable"),
        ("SCALE_MCP_CONFIRM", "allways", "Did you mean always?"),
        ("SCALE_MCP_LOG_LEVEL", "verbose", "choose debug, info, warning, error"),
        ("SCALE_MCP_PORT", "99999", "less than or equal to 65535"),
        ("SCALE_MCP_PORT", "eighty", "integer"),
        ("SCALE_MCP_TOOLSETS", "tasks,,files", "empty entry"),
        ("SCALE_MCP_UPLOAD_ROOT", "/no/such/folder", "does not exist"),
        ("SCALE_MCP_UPLOAD_ROOT", "/dev/null", "not a folder"),
        ("SCALE_MCP_MAX_IN_FLIGHT", "0", "greater than or equal to 1"),
        ("SCALE_API_URL", "http://api.scale.com/v1", "Use https"),
        ("SCALE_API_URL", "https://user:pw@api.scale.com/v1", "SCALE_API_KEY instead"),
        ("SCALE_API_URL", "https://api.scale.com/v1?x=1", "query"),
        ("SCALE_API_URL", "https://api.scale.com/v1#x", "fragment"),
        ("SCALE_API_URL", "ftp://api.scale.com", "Write it like"),
        ("SCALE_API_URL", "api.scale.com/v1", "Write it like"),
        ("SCALE_API_URL", "https://[::1", "Write it like"),
        ("SCALE_API_URL", "https://api.scale.com\\@evil.example/v1", "user name"),
        ("SCALE_API_URL", "https://api.scale.com\\evil/v1", "Write it like"),
        ("SCALE_API_URL", "http://localhost.evil.example/v1", "Use https"),
        ("SCALE_API_KEY", "live_abc def", "line break"),
        ("SCALE_API_KEY", "live_abc\n", "line break"),
        ("SCALE_API_KEY", "live_ключ", "plain ASCII"),
        ("SCALE_API_KEY", '"live_abc"', "quotation marks"),
        ("SCALE_API_KEY", "live_abc:", "colon"),
    ],
)
def test_a_bad_variable_refuses_to_start_and_names_the_cure(
    name: str, value: str, cure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    text = refusal()

    assert cure in text
    assert name in text


def test_a_refused_key_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALE_API_KEY", "live_canary1234 ")

    assert "canary" not in refusal()


def test_a_refused_url_does_not_show_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALE_API_URL", "https://user:canary@api.scale.com/v1")

    assert "canary" not in refusal()


def test_every_problem_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALE_MCP_PORT", "x")

    assert len(refusal({"confirm": "sometimes", "transport": "smoke"}).splitlines()) == 3


def test_a_flag_wins_over_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALE_MCP_PORT", "1111")
    monkeypatch.setenv("SCALE_API_KEY", "live_env")

    settings = load_settings({"port": 2222, "api_key": "live_flag", "host": None})

    assert settings.port == 2222
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == "live_flag"


def test_a_flag_that_does_not_exist_is_refused() -> None:
    assert "Did you mean --read-only?" in refusal({"readonly": True})


def test_names_come_from_commas_and_from_repeated_flags_alike() -> None:
    assert load_settings({"tools": ["get_task,list_tasks", "get_batch"]}).tools == (
        "get_task",
        "list_tasks",
        "get_batch",
    )


@pytest.mark.parametrize("name", ["SCALE_API_KEY", "SCALE_API_URL", "SCALE_MCP_UPLOAD_ROOT"])
def test_what_a_host_fills_from_an_empty_field_counts_as_not_given(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "")

    assert load_settings() == Settings()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.com", "localhost.example.com", ""])
def test_an_address_that_others_can_reach_is_refused(host: str) -> None:
    text = refusal({"transport": "http", "host": host})

    assert "there is no authentication" in text
    assert "--allowed-hosts" in text


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.8.9.1", "::1", "[::1]"])
def test_loopback_in_every_spelling_is_accepted(host: str) -> None:
    assert load_settings({"transport": "http", "host": host}).host == host


@pytest.mark.parametrize("url", ["http://127.0.0.1:8787/v1", "http://localhost:8787/v1", "http://[::1]:8787/v1"])
def test_plain_http_is_for_loopback(url: str) -> None:
    assert load_settings({"api_url": url}).api_url == url


def test_names_that_only_look_like_loopback_are_not() -> None:
    assert not any(is_loopback(name) for name in ("localhost.", "127.0.0.1.nip.io", "2130706433", "0x7f.1", "0.0.0.0"))


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().read_only = True  # type: ignore[misc]


def test_the_key_is_in_no_representation() -> None:
    settings = load_settings({"api_key": "live_canary"})

    assert "canary" not in repr(settings) + str(settings) + settings.model_dump_json()


def test_a_hosted_server_may_listen_where_others_reach_it_when_it_knows_its_names() -> None:
    settings = load_settings({**SIGNED_IN, "host": "0.0.0.0", "port": 8443})

    assert (settings.host, settings.resource_url) == ("0.0.0.0", "https://tools.example.com/mcp")


@pytest.mark.parametrize(
    ("added", "cure"),
    [
        ({"transport": "stdio"}, "add --transport http"),
        ({"api_key": "live_canary"}, "scale-mcp connection add"),
        ({"api_url": "https://api.scale.com/v1"}, "belongs to each connection"),
        ({"sandbox": True}, "run scale-mcp sandbox beside the hosted server"),
        ({"upload_root": "/tmp"}, "files of this machine"),
        ({"download_root": "/tmp"}, "files of this machine"),
        ({"conformance": True}, "leave it out"),
        ({"host": "0.0.0.0", "allowed_hosts": None}, "name the host names that callers use with --allowed-hosts"),
        ({"allowed_hosts": ["other.example.com"]}, "add it to --allowed-hosts"),
        ({"public_url": None}, "needs --public-url"),
        ({"oauth_persona_claim": None}, "needs --oauth-persona-claim"),
        ({"oauth_issuer": None}, "add --oauth-issuer, or leave it out"),
        ({"hosted": False}, "--public-url is for a hosted server: add --hosted"),
        ({"hosted": False, "public_url": None}, "--oauth-issuer is for a hosted server"),
        ({"hosted": False, "trusted_hops": 1}, "--trusted-hops is for a hosted server"),
    ],
)
def test_settings_of_a_hosted_server_that_do_not_go_together_are_refused(added: dict[str, Any], cure: str) -> None:
    text = refusal({**SIGNED_IN, **added})

    assert cure in text
    assert "canary" not in text


def test_the_operators_commands_may_find_the_servers_variables_around_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container, where the server was started with flags beside the variables."""
    for name, value in {
        "PUBLIC_URL": "https://tools.example.com",
        "TRUSTED_HOPS": "1",
        "OAUTH_USER_CLAIM": "x",
    }.items():
        monkeypatch.setenv(f"SCALE_MCP_{name}", value)
    monkeypatch.setenv("SCALE_API_URL", "https://scale.example/v1")

    assert load_settings(serving=False).public_url == "https://tools.example.com"
    assert len(refusal({**HOSTED, "public_url": None}).splitlines()) == 2
    assert len(refusal().splitlines()) == 4


def test_the_address_of_scale_may_be_set_for_the_commands_that_add_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALE_API_URL", "https://scale.example/v1")

    assert load_settings(HOSTED).hosted


def test_each_setting_that_does_not_go_with_the_others_gets_its_line() -> None:
    text = refusal({"hosted": True, "sandbox": True, "oauth_audience": "x"})

    assert len(text.splitlines()) == 3


@pytest.mark.parametrize("field", ["public_url", "oauth_issuer", "oauth_jwks_url"])
@pytest.mark.parametrize(
    ("value", "cure"),
    [
        ("http://tools.example.com", "plain http"),
        ("https://user:canary@tools.example.com", "user name or password"),
        ("ftp://tools.example.com", "Write it like"),
        ("tools.example.com", "Write it like"),
        ("https://", "Write it like"),
        ("https://[::1", "Write it like"),
        ("https://tools.example.com#x", "fragment"),
        ("https://tools.example.com\\x", "Write it like"),
        ("https://tools.example.com:99999", "Write it like"),
    ],
)
def test_an_address_that_nobody_should_trust_is_refused(field: str, value: str, cure: str) -> None:
    text = refusal({**SIGNED_IN, field: value})

    assert cure in text
    assert "canary" not in text


@pytest.mark.parametrize(
    ("field", "value", "cure"),
    [
        ("public_url", "https://tools.example.com/scale", "has a path"),
        ("public_url", "https://tools.example.com?x=1", "query"),
        ("oauth_issuer", "https://login.example.com?x=1", "query"),
        ("oauth_algorithms", ["none"], "anybody could sign"),
        ("oauth_algorithms", ["RS256,HS256"], "anybody could sign"),
        ("oauth_algorithms", ["RS265"], "did you mean RS256?"),
        ("oauth_algorithms", ["rs256"], "did you mean RS256?"),
        ("oauth_persona_claim", "my persona", "one word"),
        ("oauth_scopes", ['a"b'], "one word"),
        ("trusted_hops", 11, "less than or equal to 10"),
    ],
)
def test_a_sign_in_that_could_not_work_or_would_let_anybody_in_is_refused(field: str, value: Any, cure: str) -> None:
    assert cure in refusal({**SIGNED_IN, field: value})
