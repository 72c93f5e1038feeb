"""Which keys and addresses are taken, and which world a key belongs to."""

from __future__ import annotations

import httpx2
import pytest
from pydantic import SecretStr

from scale_mcp.api import RefusedBeforeSending, ScaleApi
from scale_mcp.api.connection import Connection

from .scripted import KEY


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://api.scale.com/v1", "https://api.scale.com/v1"),
        ("https://API.Scale.com/v1/", "https://api.scale.com/v1"),
        ("HTTPS://api.scale.com", "https://api.scale.com"),
        ("https://gateway.example.com:8443/scale/v1", "https://gateway.example.com:8443/scale/v1"),
        ("http://localhost:8787/v1", "http://localhost:8787/v1"),
        ("http://sandbox.localhost/v1", "http://sandbox.localhost/v1"),
        ("http://127.0.0.1:8787/v1", "http://127.0.0.1:8787/v1"),
        ("http://127.8.9.10/v1", "http://127.8.9.10/v1"),
        ("http://[::1]:8787/v1", "http://[::1]:8787/v1"),
    ],
)
def test_an_address_over_https_or_to_this_machine_is_taken(address: str, expected: str):
    assert ScaleApi(KEY, base_url=address).base_url == expected


@pytest.mark.parametrize(
    "address",
    [
        "",
        "api.scale.com/v1",
        "ftp://api.scale.com/v1",
        "file:///etc/passwd",
        "http://api.scale.com/v1",
        "http://10.0.0.1/v1",
        "http://0.0.0.0/v1",
        "http://2130706433/v1",
        "http://127.0.0.1.example.com/v1",
        "http://localhost.example.com/v1",
        "http://notlocalhost/v1",
        "http://169.254.169.254/v1",
        "https://user@api.scale.com/v1",
        "https://user:secret@api.scale.com/v1",
        "https://@api.scale.com/v1",
        "https://api.scale.com/v1?x=1",
        "https://api.scale.com/v1?",
        "https://api.scale.com/v1#x",
        "https://api.scale.com\\@evil.example/v1",
        "https://api.scale.com/v1/../v2",
        "https://api.scale.com/%2e%2e/v1",
        "https://api.scale.com:99999/v1",
        "https://api.scale.com:x/v1",
        "https:///v1",
        "https://[::1/v1",
        "https://api.scale.com/v1 ",
        "https://api.sca\nle.com/v1",
        "https://api.scäle.com/v1",
    ],
)
def test_any_other_address_is_refused_with_the_cure(address: str):
    with pytest.raises(RefusedBeforeSending, match="https") as caught:
        ScaleApi(KEY, base_url=address)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "  ", "test_ü", "test_a b", "test_a:b", "test_a\nX-Evil: 1", "test_\x00"])
def test_what_cannot_be_a_key_is_refused_without_being_shown(key: str):
    with pytest.raises(RefusedBeforeSending) as caught:
        ScaleApi(key)

    assert len(key.strip()) < 2 or key not in str(caught.value)


def test_blanks_around_a_key_are_forgiven():
    assert ScaleApi(f" {KEY}\n").mode == "test"


@pytest.mark.parametrize(
    ("key", "mode"),
    [
        ("test_abc", "test"),
        ("0123|user|test", "test"),
        ("live_abc", "live"),
        ("live_test_abc", "live"),
        ("abc", "live"),
        ("abc|test|user", "live"),
        ("TEST_abc", "live"),
    ],
)
def test_only_what_is_marked_as_test_is_test(key: str, mode: str):
    assert ScaleApi(SecretStr(key)).mode == mode


@pytest.mark.parametrize(
    ("url", "ours"),
    [
        ("https://api.scale.com/v1/tasks", True),
        ("https://api.scale.com:443/other", True),
        ("https://API.SCALE.COM/v1", True),
        ("http://api.scale.com/v1", False),
        ("https://api.scale.com:8443/v1", False),
        ("https://scale.com/v1", False),
        ("https://api.scale.com.evil.example/v1", False),
        ("https://api.scale.com@evil.example/v1", False),
        ("https://someone@api.scale.com/v1", False),
        ("https://evil.example/api.scale.com", False),
    ],
)
def test_the_key_goes_to_its_own_scheme_host_and_port_only(url: str, ours: bool):
    request = httpx2.Request("GET", url, headers={"Authorization": "Basic of-somebody-else"})

    Connection(KEY).sign(request)

    assert ("authorization" in request.headers) is ours


def test_the_key_is_the_user_name_of_basic_authentication_with_an_empty_password():
    request = httpx2.Request("GET", "https://api.scale.com/v1/teams")

    Connection("test_abc").sign(request)

    assert request.headers["authorization"] == "Basic dGVzdF9hYmM6"
