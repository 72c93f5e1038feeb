"""No form of a secret, wherever it stands, comes out of the redactor; what is none stays readable."""

from __future__ import annotations

import base64
import json
import string
from collections.abc import Callable
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from scale_mcp.hosting.audit.redaction import DEEPEST, LARGEST_VALUE, MOST_ITEMS, REDACTED, Redactor

AROUND = "abcXYZ019"  # letters around a secret, none of which is in it
LETTERS = "".join(letter for letter in string.ascii_letters + string.digits if letter not in AROUND)
redactor = Redactor()
bodies = some.text(LETTERS, min_size=16, max_size=60).map(lambda text: f"{text[:7]}7Qw{text[7:]}")
ordinary = some.text(some.sampled_from(AROUND + " .,:;/-_\"'(){}[]<>=&?#@\n\t\u200b\u00e9\ud800"), max_size=40)

# How a secret of this body looks, as it may stand in arguments, results and error texts.
FORMS: dict[str, Callable[[str], str]] = {
    "live key": lambda body: f"live_{body}",
    "test key": lambda body: f"test_{body}",
    "key with its mode behind": lambda body: f"{body}|test",
    "token of a persona": lambda body: f"smcp_{body}",
    "basic header": lambda body: f"Basic {base64.b64encode(f'live_{body}:'.encode()).decode()}",
    "base64 of a key": lambda body: base64.b64encode(f"test_{body}".encode()).decode(),
    "bearer header": lambda body: f"Authorization: Bearer {body}",
    "signed token": lambda body: f"eyJhbGciOiJub25lIn0.{body}.{body}",
    "query of a URL": lambda body: f"https://bucket.example/a.png?X-Signed={body}",
    "fragment of a URL": lambda body: f"https://app.example/#access={body}",
    "password of a URL": lambda body: f"postgresql://user:{body}@host/x",
    "broken password of a URL": lambda body: f"https://user:{body}?x@host/x",
    "assignment": lambda body: f"api_key={body}",
    "quoted assignment": lambda body: f'{{"client_secret": "{body}"}}',
    "escaped assignment": lambda body: json.dumps(json.dumps({"password": body})),
    "header in a text": lambda body: f"scale-callback-auth: {body}",
    "cloud key": lambda body: f"AKIA{body.upper()}",
    "private key": lambda body: f"-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----",
}
SECRET_NAMES = [
    "api_key", "apiKey", "API-KEY", "x-api-key", "token", "access_token", "refreshToken", "password", "passwd",
    "secret", "client_secret", "Authorization", "authorization", "scale-callback-auth", "cookie", "Set-Cookie",
    "credentials", "private_key", "X-Amz-Signature", "passphrase", "auth", "jwt", "aws_secret_access_key",
]  # fmt: skip


def pieces(body: str) -> set[str]:
    """Whatever of a body would help somebody: any eight characters of it, plain or in base64."""
    encoded = base64.b64encode(f"live_{body}:".encode()).decode().rstrip("=")
    return {text[at : at + 8] for text in (body, body.upper(), encoded[8:]) for at in range(len(text) - 7)}


def shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def assert_hidden(body: str, value: Any) -> None:
    text = shown(value)
    assert not [piece for piece in pieces(body) if piece in text], text


@pytest.mark.parametrize("form", FORMS)
@given(body=bodies, before=ordinary, after=ordinary)
def test_no_form_of_a_secret_survives_in_a_text(form: str, body: str, before: str, after: str) -> None:
    assert_hidden(body, redactor.text(f"{before} {FORMS[form](body)} {after}", 10_000))


@pytest.mark.parametrize("form", ["live key", "test key", "token of a persona", "base64 of a key", "private key"])
@given(body=bodies, before=ordinary, after=ordinary)
def test_a_secret_that_begins_with_its_mark_needs_no_space_around(
    form: str, body: str, before: str, after: str
) -> None:
    assert_hidden(body, redactor.text(f"{before}{FORMS[form](body)}{after}", 10_000))


def nested(leaf: some.SearchStrategy[Any]) -> some.SearchStrategy[Any]:
    return some.recursive(
        leaf,
        lambda inner: some.lists(inner, max_size=4) | some.dictionaries(ordinary, inner, max_size=4),
        max_leaves=12,
    )


@given(data=some.data(), body=bodies, form=some.sampled_from(sorted(FORMS)))
def test_no_form_of_a_secret_survives_in_nested_arguments(data: some.DataObject, body: str, form: str) -> None:
    secret = FORMS[form](body)
    plain = some.none() | some.booleans() | some.integers() | some.floats() | ordinary
    value = data.draw(nested(plain | some.just(secret) | ordinary.map(lambda text: f"{text} {secret} {text}")))
    redacted = redactor.value({"value": value, secret: 1, "list": [secret]})
    assert_hidden(body, redacted)
    json.dumps(redacted, allow_nan=False)


@given(body=some.text(min_size=8, max_size=40), name=some.sampled_from(SECRET_NAMES), depth=some.integers(0, 5))
def test_what_a_secret_name_holds_is_hidden_whatever_it_looks_like(body: str, name: str, depth: int) -> None:
    value: Any = {name: body}
    for _ in range(depth):
        value = {"inner": [value]}
    text = shown(redactor.value(value))
    assert REDACTED in text
    assert shown(body)[1:-1] not in text.replace(name, "")


@given(secret=some.text(LETTERS + "-_.~|", min_size=6, max_size=40), before=ordinary, after=ordinary)
def test_a_known_secret_is_hidden_also_where_nothing_marks_it(secret: str, before: str, after: str) -> None:
    knows = Redactor([secret])
    encoded = base64.b64encode(f"{secret}:".encode()).decode()
    text = knows.text(f"{before}{secret}{after} {encoded}", 10_000).replace(REDACTED, "")
    assert secret not in text
    assert encoded not in text


@given(body=bodies, at=some.integers(0, 6_000), form=some.sampled_from(["live key", "query of a URL", "basic header"]))
def test_no_half_of_a_secret_is_left_where_a_text_is_cut(body: str, at: int, form: str) -> None:
    text = ("lorem ipsum " * 600)[:at]
    assert_hidden(body, redactor.text(f"{text} {FORMS[form](body)} {text}"))


@pytest.mark.parametrize(
    "text",
    [
        "5f8d0d55b54764421b7156d9",  # a task
        "1b4e28ba-2fa1-11d2-883f-0016d3cca427",
        "test_annotations of batch test_batch_20251122, live_streaming",
        "https://storage.example:8443/bucket/2026/11/street_0001.jpg",
        "s3://bucket/a/b.png",
        "Label every car; do not label bicycles.",
        "ada@example.com",
        "tok_mfzwizltoq2gk3tu",
        "2026-11-22T02:15:08.123456Z",
    ],
)
def test_what_is_no_secret_stays_as_it_is(text: str) -> None:
    assert redactor.text(text) == text
    assert redactor.value({"a": [text]}) == {"a": [text]}


def test_ids_of_secrets_are_no_secrets() -> None:
    facts = {"token_id": "tok_mfzwizltoq2gk3tu", "token": "tok_mfzwizltoq2gk3tu", "key_id": "key_aaaaaaaaaaaaaaaa"}
    assert redactor.value({**facts, "fingerprint": "0a1b2c3d4e5f"}) == {**facts, "fingerprint": "0a1b2c3d4e5f"}


def test_large_values_are_kept_small_and_say_what_is_left_out() -> None:
    value = {"text": "word " * 5_000, "many": list(range(10_000)), "wide": {f"n{n}": "x " * 400 for n in range(500)}}
    redacted = redactor.value(value)
    assert len(shown(redacted)) < 2 * LARGEST_VALUE
    assert redacted["text"].endswith("… (25000 characters)")
    assert redacted["many"][MOST_ITEMS] == f"({10_000 - MOST_ITEMS} more items)"
    assert "more fields" in shown(redacted)
    deep: Any = 1
    for _ in range(5_000):
        deep = [deep]
    assert shown(redactor.value(deep)).count("[") == DEEPEST


def test_hostile_texts_take_time_in_step_with_their_length() -> None:
    """Twice the scanned text may take somewhat more than twice the time, not the square of it."""
    for text in (
        "http://",
        "live_",
        "eyJ",
        "token",
        "a",
        "password=",
        "-----BEGIN",
        "basic ",
        "A1a",
        "|test",
        '"',
        "://",
    ):
        hostile = [text * (4_000 // len(text))] * 200
        began = process_time()
        redactor.value(hostile)
        assert process_time() - began < 5, text
