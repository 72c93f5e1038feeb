"""Which tokens of an authorization server are believed, and what is fetched from it when.

The server here is a transport that answers from a table, so that each answer can be wrong in one way.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import anyio
import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from scale_mcp.hosting import issuer as issuer_module
from scale_mcp.hosting.issuer import FIRST_PAUSE, LIFETIME, PATIENCE, PAUSE, Issuer
from scale_mcp.hosting.oauth import LEEWAY, Demands, LoginVerifier
from scale_mcp.hosting.personas import Caller, Persona
from scale_mcp.hosting.sign_in import MOST_NAMES, CannotTell, Login, NotSignedIn, SignIn
from scale_mcp.setting_rules import ALGORITHMS
from tests.hosting.sign_in_house import Hands

pytestmark = pytest.mark.anyio

ISSUER = "https://login.example.com/realm"
CONFIGURATION = f"{ISSUER}/.well-known/openid-configuration"
INSERTED = "https://login.example.com/.well-known/oauth-authorization-server/realm"
JWKS = f"{ISSUER}/jwks"
AUDIENCE = "https://tools.example.com/mcp"

RSA_KEY = rsa.generate_private_key(65537, 2048)
OTHER_RSA_KEY = rsa.generate_private_key(65537, 2048)
SMALL_RSA_KEY = rsa.generate_private_key(65537, 1024)
EC_KEYS = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
}
ED_KEY = ed25519.Ed25519PrivateKey.generate()


def private_for(algorithm: str) -> Any:
    return ED_KEY if algorithm == "EdDSA" else EC_KEYS.get(algorithm, RSA_KEY)


def public(key: Any, **more: Any) -> dict[str, Any]:
    """A private key's public half as a JWK."""
    kind: Any = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    kind = OKPAlgorithm if isinstance(key, ed25519.Ed25519PrivateKey) else kind
    written: dict[str, Any] = kind.to_jwk(key.public_key(), as_dict=True)
    return {name: value for name, value in {**written, "use": "sig", **more}.items() if value is not None}


Reply = Callable[[], Any]


@dataclass
class Server:
    """Answers from ``documents`` (address → JSON, or a response), and remembers what was asked."""

    clock: Hands
    documents: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.documents[CONFIGURATION] = {"issuer": ISSUER, "jwks_uri": JWKS}
        self.publish(public(RSA_KEY, kid="one"))

    def publish(self, *keys: dict[str, Any]) -> None:
        self.documents[JWKS] = {"keys": list(keys)}

    async def answer(self, request: httpx2.Request) -> httpx2.Response:
        address = str(request.url)
        self.asked.append(address)
        await anyio.lowlevel.checkpoint()
        found = self.documents.get(address)
        if isinstance(found, Exception):
            raise found
        if isinstance(found, httpx2.Response):
            return found
        return httpx2.Response(404) if found is None else httpx2.Response(200, json=found)

    def verifier(self, jwks_url: str | None = None, **demands: Any) -> LoginVerifier:
        issuer = Issuer(ISSUER, jwks_url, transport=httpx2.MockTransport(self.answer), clock=self.clock)
        wanted = {"audiences": (AUDIENCE,), "persona_claim": "persona", **demands}
        return LoginVerifier(issuer, Demands(**wanted), self.clock)

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = int(self.clock().timestamp())
        usual = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "ada",
            "client_id": "notebook",
            "persona": "reader",
            "iat": now,
            "exp": now + 600,
        }
        return {name: value for name, value in {**usual, **changes}.items() if value is not None}

    def token(
        self,
        key: Any = RSA_KEY,
        algorithm: str = "RS256",
        head: dict[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        headers = {"kid": "one", "typ": "at+jwt", **(head or {})}
        return jwt.PyJWS().encode(
            json.dumps(self.claims(**changes)).encode(),
            key,
            algorithm=algorithm,
            headers={name: value for name, value in headers.items() if value is not None},
        )


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def server(clock: Hands) -> Server:
    return Server(clock)


async def why_not(verifier: LoginVerifier, token: str) -> str:
    with pytest.raises(NotSignedIn) as refused:
        await verifier.verify(token)
    assert token not in str(refused.value)
    return str(refused.value)


def forged(header: Any, claims: Any, signature: bytes = b"x") -> str:
    parts = [json.dumps(part).encode() if not isinstance(part, bytes) else part for part in (header, claims)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (*parts, signature))


async def test_a_good_token_says_who_it_is(server: Server) -> None:
    login = await server.verifier().verify(server.token())

    assert login == Login(ISSUER, ("reader",), "ada", "notebook", server.clock() + timedelta(seconds=600))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_every_kind_of_signature_that_is_offered_works(server: Server, algorithm: str) -> None:
    key = private_for(algorithm)
    server.publish(public(key, kid="one"))

    assert (await server.verifier().verify(server.token(key, algorithm))).user == "ada"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_signature_of_an_algorithm_that_was_not_chosen_is_refused(server: Server, algorithm: str) -> None:
    key = private_for(algorithm)
    server.publish(public(key, kid="one"))
    others = tuple(name for name in ALGORITHMS if name != algorithm)

    assert "alg" in await why_not(server.verifier(algorithms=others), server.token(key, algorithm))
    assert server.asked == []


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", "HS256", "HS512", "ES256K", None, 5, ["RS256"], {}])
async def test_unsigned_and_symmetric_tokens_are_refused_before_anything_is_fetched(
    server: Server, algorithm: Any
) -> None:
    for signature in (b"", b"x"):
        token = forged({"alg": algorithm, "kid": "one"}, server.claims(), signature)
        assert await why_not(server.verifier(), token)
    assert server.asked == []


async def test_the_public_key_is_no_shared_secret(server: Server) -> None:
    """The classic confusion: a token signed with HS256 and the published key as its secret."""
    import hashlib
    import hmac

    head, body, _ = forged({"alg": "HS256", "kid": "one"}, server.claims()).split(".")
    secret = json.dumps(server.documents[JWKS]["keys"][0]).encode()
    signature = hmac.new(secret, f"{head}.{body}".encode(), hashlib.sha256).digest()

    token = f"{head}.{body}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"
    assert "alg" in await why_not(server.verifier(), token)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"iss": "https://login.example.com/realm/"}, "iss"),
        ({"iss": "https://evil.example"}, "iss"),
        ({"iss": [ISSUER]}, "iss"),
        ({"iss": None}, "iss"),
        ({"aud": "https://other.example.com/mcp"}, "aud"),
        ({"aud": AUDIENCE + "/"}, "aud"),
        ({"aud": ["a", "b"]}, "aud"),
        ({"aud": {AUDIENCE: True}}, "aud"),
        ({"aud": None}, "aud"),
        ({"exp": None}, "exp"),
        ({"exp": "9999999999"}, "exp"),
        ({"exp": True}, "exp"),
        ({"exp": 1e300}, "exp"),
        ({"exp": float("nan")}, "exp"),
        ({"nbf": 9_999_999_999}, "nbf"),
        ({"nbf": "soon"}, "nbf"),
        ({"iat": 9_999_999_999}, "iat"),
        ({"cnf": {"jkt": "x"}}, "cnf"),
        ({"sub": None}, "sub"),
        ({"sub": ""}, "sub"),
        ({"sub": 7}, "sub"),
        ({"sub": ["ada"]}, "sub"),
        ({"sub": "ada\u202e"}, "sub"),
        ({"sub": "a" * 201}, "sub"),
        ({"client_id": 7}, "client_id"),
        ({"persona": None}, "no persona"),
        ({"persona": ""}, "no persona"),
        ({"persona": 7}, "no persona"),
        ({"persona": {"name": "reader"}}, "no persona"),
        ({"persona": [7]}, "no persona"),
    ],
)
async def test_a_signed_token_that_says_something_wrong_is_refused(
    server: Server, changes: dict[str, Any], why: str
) -> None:
    assert why in await why_not(server.verifier(), server.token(**changes))


@pytest.mark.parametrize(
    ("head", "why"),
    [
        ({"typ": "id_token+jwt"}, "typ"),
        ({"typ": "dpop+jwt"}, "typ"),
        ({"typ": "logout+jwt"}, "typ"),
        ({"typ": 7}, "typ"),
        ({"crit": ["exp"], "exp": 1}, "read"),
        ({"kid": "two"}, "no key"),
        ({"jku": "https://evil.example/jwks", "kid": "evil"}, "no key"),
        ({"jwk": public(OTHER_RSA_KEY), "kid": "evil"}, "no key"),
    ],
)
async def test_a_token_with_a_head_that_asks_for_too_much_is_refused(
    server: Server, head: dict[str, Any], why: str
) -> None:
    key = OTHER_RSA_KEY if "evil" in str(head) else RSA_KEY
    token = forged({"alg": "RS256", "kid": "one", **head}, {}) if "crit" in head else server.token(key, head=head)

    assert why in await why_not(server.verifier(), token)
    assert not [address for address in server.asked if "evil" in address]


async def test_a_token_signed_with_another_key_of_that_name_is_refused(server: Server) -> None:
    assert "no key" in await why_not(server.verifier(), server.token(OTHER_RSA_KEY))


@pytest.mark.parametrize("part", [0, 1, 2])
async def test_a_token_with_a_changed_part_is_refused(server: Server, part: int) -> None:
    parts = server.token().split(".")
    changed = {0: {"alg": "RS256", "kid": "one", "x": 1}, 1: {**server.claims(), "persona": "writer"}, 2: {}}[part]
    parts[part] = base64.urlsafe_b64encode(json.dumps(changed).encode()).decode().rstrip("=")

    assert await why_not(server.verifier(), ".".join(parts))


@given(
    st.one_of(st.text(max_size=200), st.from_regex(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*", fullmatch=True))
)
@settings(max_examples=200, deadline=None)
def test_garbage_is_refused_and_breaks_nothing(token: str) -> None:
    server = Server(Hands())

    async def refused() -> None:
        with pytest.raises(NotSignedIn):
            await server.verifier().verify(token)

    anyio.run(refused)


@pytest.mark.parametrize(
    "nested", [b"[" * 8000, b'{"a":' * 4000, b'{"alg":' + b"[" * 8000, b'{"alg":' + b"9" * 8000 + b"}"]
)
async def test_json_that_is_too_deep_or_too_long_is_refused(server: Server, nested: bytes) -> None:
    assert await why_not(server.verifier(), forged(nested, {}))
    assert await why_not(server.verifier(), forged({"alg": "RS256", "kid": "one"}, nested))


async def test_a_token_is_good_until_it_expires_and_a_moment_for_clocks_that_differ(server: Server) -> None:
    token, verifier = server.token(nbf=int((server.clock() + LEEWAY).timestamp())), server.verifier()
    assert await verifier.verify(token)
    server.clock.now += timedelta(seconds=600) + LEEWAY - timedelta(seconds=1)
    assert await verifier.verify(token)
    server.clock.now += timedelta(seconds=1)

    assert "exp" in await why_not(verifier, token)


async def test_a_token_for_several_servers_is_good_when_this_is_one_of_them(server: Server) -> None:
    assert await server.verifier().verify(server.token(aud=["x", AUDIENCE]))


async def test_scopes_that_are_missing_are_named(server: Server) -> None:
    verifier = server.verifier(scopes=("scale", "mcp"))
    assert await verifier.verify(server.token(scope="mcp other scale"))
    assert await verifier.verify(server.token(scp=["scale", "mcp"]))
    with pytest.raises(NotSignedIn) as refused:
        await verifier.verify(server.token(scope="mcp scales"))

    assert refused.value.missing_scopes == ("scale",)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("reader", ("reader",)),
        ("Data Team", ("Data Team", "Data", "Team")),
        (["Data Team", "reader", 7, "reader"], ("Data Team", "reader")),
    ],
)
async def test_a_claim_may_be_text_or_a_list(server: Server, value: Any, names: tuple[str, ...]) -> None:
    assert (await server.verifier().verify(server.token(persona=value))).personas == names


async def test_user_and_client_are_read_from_the_claims_that_hold_them(server: Server) -> None:
    verifier = server.verifier(user_claim="email")
    token = server.token(client_id=None, azp="desk", email="ada@example.com")

    login = await verifier.verify(token)

    assert (login.user, login.client) == ("ada@example.com", "desk")


async def test_a_key_without_a_name_is_found_when_it_is_the_only_one(server: Server) -> None:
    server.publish(public(RSA_KEY), public(EC_KEYS["ES256"], kid="two"))
    verifier = server.verifier()
    assert await verifier.verify(server.token(head={"kid": None}))

    server.publish(public(RSA_KEY, kid="a"), public(OTHER_RSA_KEY, kid="b"))
    assert "no key" in await why_not(server.verifier(), server.token(head={"kid": None}))


@pytest.mark.parametrize(
    "key",
    [
        public(RSA_KEY, kid="one", use="enc"),
        public(RSA_KEY, kid="one", alg="RS512"),
        public(RSA_KEY, kid="one", alg="HS256"),
        public(RSA_KEY, kid="one", key_ops=["encrypt"]),
        public(RSA_KEY, kid="one", kty="EC"),
        public(RSA_KEY, kid="one", n="AA"),
        public(RSA_KEY, kid="one", n=7),
        public(RSA_KEY, kid=1),
        public(SMALL_RSA_KEY, kid="one"),
        {"kty": "oct", "kid": "one", "k": "c2VjcmV0"},
        {"kty": "RSA", "kid": "one"},
        {"kid": "one"},
        "key",
        None,
    ],
)
async def test_a_published_key_that_is_not_for_such_signatures_is_not_used(server: Server, key: Any) -> None:
    server.documents[JWKS] = {"keys": [key, public(EC_KEYS["ES256"], kid="two")]}
    signer = SMALL_RSA_KEY if isinstance(key, dict) and key.get("n") == public(SMALL_RSA_KEY)["n"] else RSA_KEY
    with pytest.warns(jwt.InsecureKeyLengthWarning) if signer is SMALL_RSA_KEY else _nothing():
        token = server.token(signer)

    assert "no key" in await why_not(server.verifier(), token)


def _nothing() -> Any:
    import contextlib

    return contextlib.nullcontext()


async def test_keys_are_fetched_once_and_again_after_their_lifetime(server: Server) -> None:
    verifier, token = server.verifier(), server.token(exp=9_999_999_999)
    for _ in range(3):
        await verifier.verify(token)
    assert server.asked == [CONFIGURATION, JWKS]
    server.clock.now += LIFETIME
    await verifier.verify(token)

    assert server.asked == [CONFIGURATION, JWKS] * 2


async def test_callers_at_once_have_the_keys_fetched_once(server: Server) -> None:
    verifier = server.verifier()
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(verifier.verify, server.token())

    assert server.asked == [CONFIGURATION, JWKS]


async def test_a_new_key_is_found_by_its_name_and_the_old_one_is_dropped_with_it(server: Server) -> None:
    verifier, old = server.verifier(), server.token()
    await verifier.verify(old)
    server.publish(public(OTHER_RSA_KEY, kid="two"))
    server.clock.now += PAUSE
    assert await verifier.verify(server.token(OTHER_RSA_KEY, head={"kid": "two"}))

    assert "no key" in await why_not(verifier, old)


async def test_a_withdrawn_key_is_not_accepted_longer_than_the_lifetime(server: Server) -> None:
    verifier, token = server.verifier(), server.token()
    await verifier.verify(token)
    server.publish(public(OTHER_RSA_KEY, kid="two"))
    server.clock.now += LIFETIME

    assert "no key" in await why_not(verifier, token)


async def test_unknown_names_of_keys_have_them_fetched_every_thirty_seconds_at_most(server: Server) -> None:
    verifier = server.verifier()
    await verifier.verify(server.token())
    for number in range(20):
        await why_not(verifier, server.token(OTHER_RSA_KEY, head={"kid": f"made-up-{number}"}))
    assert len(server.asked) == 2
    server.clock.now += PAUSE
    for number in range(20):
        await why_not(verifier, server.token(OTHER_RSA_KEY, head={"kid": f"made-up-{number}"}))

    assert len(server.asked) == 4
    assert timedelta(seconds=30) == PAUSE


async def test_while_the_server_is_away_known_keys_are_used_for_an_hour(server: Server) -> None:
    verifier, token = server.verifier(), server.token(exp=9_999_999_999)
    await verifier.verify(token)
    server.documents[CONFIGURATION] = httpx2.ConnectError("away")
    server.clock.now += LIFETIME
    assert await verifier.verify(token)
    server.clock.now += PATIENCE - LIFETIME
    with pytest.raises(CannotTell):
        await verifier.verify(token)
    server.documents[CONFIGURATION] = {"issuer": ISSUER, "jwks_uri": JWKS}
    server.clock.now += PAUSE

    assert await verifier.verify(token)


async def test_a_server_that_was_away_at_the_start_is_asked_again_soon(server: Server) -> None:
    verifier, configuration = server.verifier(), server.documents.pop(CONFIGURATION)
    for _ in range(5):
        with pytest.raises(CannotTell):
            await verifier.verify(server.token())
    assert server.asked == [CONFIGURATION, INSERTED]
    server.documents[CONFIGURATION] = configuration
    server.clock.now += FIRST_PAUSE

    assert await verifier.verify(server.token())


async def test_metadata_is_found_where_oauth_servers_without_openid_have_it(server: Server) -> None:
    server.documents[INSERTED] = server.documents.pop(CONFIGURATION)

    assert await server.verifier().verify(server.token())


async def test_keys_are_taken_from_where_the_operator_says(server: Server) -> None:
    elsewhere = "https://keys.example.com/jwks?v=2"
    server.documents[elsewhere] = server.documents.pop(JWKS)

    assert await server.verifier(elsewhere).verify(server.token())
    assert server.asked == [elsewhere]


LARGE = b'{"keys": [' + b" " * issuer_module.LARGEST_DOCUMENT + b"]}"


@pytest.mark.parametrize(
    ("address", "answer"),
    [
        (CONFIGURATION, {"issuer": "https://login.example.com", "jwks_uri": JWKS}),
        (CONFIGURATION, {"issuer": ISSUER + "/", "jwks_uri": JWKS}),
        (CONFIGURATION, {"jwks_uri": JWKS}),
        (CONFIGURATION, {"issuer": ISSUER}),
        (CONFIGURATION, {"issuer": ISSUER, "jwks_uri": "https://evil.example/jwks"}),
        (CONFIGURATION, {"issuer": ISSUER, "jwks_uri": "http://login.example.com/realm/jwks"}),
        (CONFIGURATION, {"issuer": ISSUER, "jwks_uri": "https://login.example.com@evil.example/jwks"}),
        (CONFIGURATION, {"issuer": ISSUER, "jwks_uri": "https://[evil"}),
        (CONFIGURATION, {"issuer": ISSUER, "jwks_uri": [JWKS]}),
        (CONFIGURATION, httpx2.Response(302, headers={"Location": "https://evil.example/configuration"})),
        (CONFIGURATION, httpx2.Response(200, text="[]")),
        (CONFIGURATION, httpx2.Response(200, text="<html>")),
        (CONFIGURATION, httpx2.Response(200, content=b"[" * 100_000)),
        (CONFIGURATION, httpx2.Response(500)),
        (JWKS, httpx2.Response(307, headers={"Location": "https://evil.example/jwks"})),
        (JWKS, httpx2.Response(200, content=LARGE)),
        (JWKS, httpx2.ReadError("gone")),
        (JWKS, httpx2.ConnectTimeout("slow")),
        (JWKS, {"keys": []}),
        (JWKS, {"keys": {}}),
        (JWKS, {}),
        (JWKS, {"keys": [public(RSA_KEY, kid="one")] * 51}),
    ],
)
async def test_an_answer_that_is_not_right_gives_no_keys_and_leads_nowhere(
    server: Server, caplog: pytest.LogCaptureFixture, address: str, answer: Any
) -> None:
    server.documents[address] = answer
    if isinstance(answer, dict) and "evil" in str(answer):
        server.documents["https://evil.example/jwks"] = {"keys": [public(RSA_KEY, kid="one")]}

    with pytest.raises(CannotTell):
        await server.verifier().verify(server.token())

    assert not [asked for asked in server.asked if "evil" in asked]
    assert ISSUER in caplog.text


async def test_a_server_that_dribbles_its_answer_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    class Never(httpx2.AsyncByteStream):
        async def __aiter__(self) -> Any:
            yield b"{"
            await anyio.sleep_forever()

    monkeypatch.setattr(issuer_module, "TIME_LIMIT", 0.05)
    server.documents[JWKS] = httpx2.Response(200, stream=Never())
    with anyio.fail_after(20), pytest.raises(CannotTell):
        await server.verifier().verify(server.token())


class Personas:
    """Stands where the directory stands: two personas, one of which two names mean."""

    KNOWN: ClassVar = {"reader": "per_1", "annotators": "per_1", "writer": "per_2"}

    async def find(self, token: str) -> Caller | None:
        raise AssertionError("not for these tokens")

    async def callers_for(self, values: Collection[str], user: str, client: str = "") -> list[Caller]:
        found = {self.KNOWN[value] for value in values if value in self.KNOWN}
        return [Caller(Persona(id=identity, name=identity), user, 1, client=client) for identity in found]

    async def revision(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("value", "persona"),
    [
        ("reader", "per_1"),
        (["everyone", "reader"], "per_1"),
        (["reader", "annotators"], "per_1"),
        (["reader", "writer"], None),
        ("reader writer", None),
        ("nobody", None),
        ([*map(str, range(MOST_NAMES)), "reader"], None),
    ],
)
async def test_a_login_must_mean_exactly_one_persona(server: Server, value: Any, persona: str | None) -> None:
    sign_in = SignIn(Personas(), server.verifier())
    token = server.token(persona=value)
    if persona is None:
        with pytest.raises(NotSignedIn):
            await sign_in.verify(token)
        return
    signed_in = await sign_in.verify(token)

    assert signed_in.principal == (persona, ISSUER, "ada")
    assert signed_in.expires_at == datetime.fromtimestamp(server.claims()["exp"], UTC)


async def test_without_an_authorization_server_no_such_token_is_looked_at(server: Server) -> None:
    with pytest.raises(NotSignedIn):
        await SignIn(Personas()).verify(server.token())


async def test_a_token_of_absurd_length_is_not_looked_at(server: Server) -> None:
    with pytest.raises(NotSignedIn, match="too long"):
        await SignIn(Personas(), server.verifier()).verify(server.token(x="x" * 20_000))
    assert server.asked == []
