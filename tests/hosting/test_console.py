"""The console on a whole hosted server over real sockets: who gets in, what they see, what they may do."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx2
import pytest
import sqlalchemy as sa

import scale_mcp.server.hosted.console as console
from scale_mcp.hosting.audit.chain import audit_head, audit_rows
from scale_mcp.hosting.console_tokens import ConsoleTokens
from scale_mcp.hosting.tokens import Tokens
from scale_mcp.server.hosted.console.rendering import POLICY, shown
from scale_mcp.server.hosted.console.sessions import MOST_ATTEMPTS, WITHIN, Attempts
from scale_mcp.settings import SettingsError
from tests.hosting.console_visits import (
    EVIL,
    PAGES,
    console_token,
    furnish,
    operator,
    visitor,
    words,
)
from tests.hosting.hosted import Hosted, doors, hosted, settings_for
from tests.hosting.vaults import leaks

pytestmark = pytest.mark.anyio
COOKIE = "scale-mcp-console"
TEMPLATES = Path(console.__file__).parent / "templates"


@pytest.fixture
async def server(database_url: str) -> AsyncIterator[Hosted]:
    async with hosted(database_url) as running:
        yield running


@pytest.fixture
async def one_server(tmp_path: Path) -> AsyncIterator[Hosted]:
    """For what has nothing to do with the kind of database."""
    async with hosted(f"sqlite:///{tmp_path / 'hosted.db'}") as running:
        yield running


def is_sign_in(answer: httpx2.Response) -> bool:
    return answer.status_code == 303 and answer.headers["location"].startswith("/console/sign-in")


async def actors(server: Hosted, kind: str) -> list[str]:
    async with server.house.database.reading() as connection:
        query = sa.select(audit_rows.c.actor).where(audit_rows.c.kind == kind).order_by(audit_rows.c.seq)
        return list((await connection.execute(query)).scalars())


# Signing in


async def test_a_console_token_opens_every_page_and_nothing_else_does(server: Hosted) -> None:
    persona = await server.persona("night-shift")
    async with visitor(server) as somebody:
        for path in PAGES:
            assert is_sign_in(await somebody.get(path))
        refused = await somebody.sign_in(persona)
        assert refused.status_code == 401
        assert "This is a persona's token" in words(refused.text)
        assert (await somebody.sign_in("smcp_console_" + "A" * 43)).status_code == 401
        _, secret = await console_token(server)
        entered = await somebody.sign_in(secret, next="/console/personas")
        assert (entered.status_code, entered.headers["location"]) == (303, "/console/personas")
        for path in PAGES:
            answer = await somebody.get(path)
            assert answer.status_code == 200
            assert "Signed in as <b>ada</b>" in answer.text
    assert await actors(server, "console.signed_in") == ["console:ada"]


async def test_a_persona_token_as_bearer_opens_no_page_and_the_console_opens_no_tools(one_server: Hosted) -> None:
    persona = await one_server.persona("night-shift")
    async with visitor(one_server) as somebody:
        assert is_sign_in(await somebody.get("", headers={"Authorization": f"Bearer {persona}"}))
        assert is_sign_in(await somebody.get("", headers={"Cookie": f"{COOKIE}={persona}"}))
    _, secret = await console_token(one_server)
    async with operator(one_server) as found:
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        for headers in ({}, {"Authorization": f"Bearer {secret}"}):
            answer = await found.http.post("/mcp", json=body, headers=headers)
            assert answer.status_code == 401
        assert (await found.http.get("/sse")).status_code == 401


async def test_the_cookie_is_kept_from_scripts_other_sites_and_other_paths(one_server: Hosted) -> None:
    async with visitor(one_server) as somebody:
        _, secret = await console_token(one_server)
        entered = await somebody.sign_in(secret)
        (cookie,) = [each for each in entered.headers.get_list("set-cookie") if each.startswith(f"{COOKIE}=ey")]
        assert {"HttpOnly", "SameSite=strict", "Path=/console", "Max-Age=28800"} <= set(cookie.split("; "))
        assert "Secure" not in cookie.split("; ")  # plain http, on this machine
        assert secret not in cookie


async def test_behind_https_cookies_are_secure_and_the_own_origin_may_send_forms(tmp_path: Path) -> None:
    public = "https://tools.example.com"
    overrides = {"public_url": public, "allowed_hosts": ("tools.example.com",)}
    async with hosted(f"sqlite:///{tmp_path / 'hosted.db'}", **overrides) as running:
        _, secret = await console_token(running)
        headers = {"Host": "tools.example.com", "Origin": public}
        async with httpx2.AsyncClient(base_url=running.url, headers=headers) as http:
            form = await http.get("/console/sign-in")
            given = form.headers["set-cookie"].partition(";")[0]
            token = re.findall(r'name="form_token" value="(\w+)"', form.text)[0]
            fields = {"form_token": token, "token": secret}
            sent = {"Cookie": given}
            entered = await http.post("/console/sign-in", data=fields, headers=sent)
            assert entered.status_code == 303
            cookies = entered.headers.get_list("set-cookie")
            assert all(each.startswith("__Secure-") and "Secure" in each.split("; ") for each in cookies)
            foreign = await http.post(
                "/console/sign-in", data=fields, headers={**sent, "Origin": "https://evil.example"}
            )
            assert foreign.status_code == 403


@pytest.mark.parametrize(
    "where", ["https://evil.example", "//evil.example", "/console/../mcp", "/mcp", "/console/sign-out"]
)
async def test_nobody_is_sent_elsewhere_after_signing_in(one_server: Hosted, where: str) -> None:
    async with visitor(one_server) as somebody:
        _, secret = await console_token(one_server)
        assert (await somebody.sign_in(secret, next=where)).headers["location"] == "/console"
        assert where not in (await somebody.get("/sign-in", params={"next": where})).text


async def test_a_revoked_token_closes_its_sessions_on_the_next_request_in_every_replica(server: Hosted) -> None:
    settings = settings_for(server.house.database.engine.url.render_as_string(hide_password=False)
        .replace("+aiosqlite", "").replace("+asyncpg", ""))  # fmt: skip
    async with operator(server) as ada, doors(settings) as (address, _):
        cookie = {"Cookie": f"{COOKIE}={ada.http.cookies[COOKIE]}"}
        async with httpx2.AsyncClient(base_url=address) as elsewhere:
            assert (await elsewhere.get("/console", headers=cookie)).status_code == 200  # the same session there
            tokens = ConsoleTokens(server.house.database, server.house.recorder)
            (record,) = await tokens.list()
            await tokens.revoke(record.id, actor="test")
            assert is_sign_in(await ada.get(""))
            assert is_sign_in(await elsewhere.get("/console", headers=cookie))


async def test_signing_out_ends_the_session_and_not_only_the_cookie(one_server: Hosted) -> None:
    async with operator(one_server) as ada:
        cookie = {"Cookie": f"{COOKIE}={ada.http.cookies[COOKIE]}"}
        left = await ada.post("/sign-out")
        assert is_sign_in(left)
        assert "signed out, everywhere" in (await ada.http.get(left.headers["location"])).text
    async with visitor(one_server) as thief:
        assert is_sign_in(await thief.get("", headers=cookie))
    assert await actors(one_server, "console.signed_out") == ["console:ada"]


async def test_a_cookie_that_was_changed_is_no_cookie(one_server: Hosted) -> None:
    async with operator(one_server) as ada:
        good = ada.http.cookies[COOKIE]
    text, _, signature = good.partition(".")
    forged = [
        f"{text[:-4]}AAAA.{signature}",
        f"{text}.{signature[:-1]}{'0' if signature[-1] != '0' else '1'}",
        f"{text}.",
        text,
        "",
        ".",
        "x" * 5_000,
    ]
    async with visitor(one_server) as somebody:
        for cookie in forged:
            assert is_sign_in(await somebody.get("", headers={"Cookie": f"{COOKIE}={cookie}"})), cookie
        assert (await somebody.get("", headers={"Cookie": f"{COOKIE}={good}"})).status_code == 200


async def test_too_many_attempts_from_one_address_are_refused_before_they_are_looked_at(one_server: Hosted) -> None:
    async with visitor(one_server) as somebody:
        for _ in range(MOST_ATTEMPTS):
            assert (await somebody.sign_in("wrong")).status_code == 401
        _, secret = await console_token(one_server)
        refused = await somebody.sign_in(secret)
        assert refused.status_code == 429
        assert 0 < int(refused.headers["retry-after"]) <= WITHIN
        assert "Too many attempts" in refused.text


def test_attempts_are_counted_by_address_and_forgotten_in_time() -> None:
    now = 0.0
    attempts = Attempts(lambda: now)
    for _ in range(MOST_ATTEMPTS):
        assert attempts.take("2001:db8::1") == 0
    assert attempts.take("2001:db8::2") == WITHIN  # the same subscriber's
    assert attempts.take("2001:db8:0:1::1") == 0
    assert attempts.take("192.0.2.1") == 0
    attempts.forget("2001:db8::1")
    assert attempts.take("2001:db8::1") == 0
    for _ in range(MOST_ATTEMPTS):
        attempts.take("192.0.2.1")
    now = WITHIN
    assert attempts.take("192.0.2.1") == 0


# Forms


async def test_a_form_without_its_token_changes_nothing(one_server: Hosted) -> None:
    furniture = await furnish(one_server)
    actions = (
        f"/approvals/{furniture.approval}",
        f"/tokens/{furniture.token_id}/revoke",
        "/audit/verify",
        "/sign-out",
    )
    async with operator(one_server) as ada, operator(one_server, "eve") as eve:
        foreign = await eve.form_token("/audit")
        for path in actions:
            for token in ({}, {"form_token": ""}, {"form_token": "0" * 64}, {"form_token": foreign}):
                refused = await ada.http.post(f"/console{path}", data={"decision": "approve", **token})
                assert refused.status_code == 403, path
                assert "nothing was done" in refused.text
            assert (await ada.get(path)).status_code == 405 if path != actions[0] else True
        bodies = (
            {"content": b"x" * 20_000, "headers": {"content-type": "application/x-www-form-urlencoded"}},
            {"json": {"decision": "approve"}},
        )
        assert [(await ada.http.post(f"/console{actions[0]}", **body)).status_code for body in bodies] == [413, 415]
        async with visitor(one_server) as somebody:
            for path in actions:
                token = {"form_token": await ada.form_token("/audit")}
                assert (await somebody.http.post(f"/console{path}", data=token)).status_code == 403
        assert (await ada.get("")).status_code == 200
    approval = await one_server.house.approvals.get(furniture.approval)
    assert approval is not None
    assert approval.state == "waiting"
    assert await actors(one_server, "token.revoked") == []
    assert await actors(one_server, "audit.verified") == []


async def test_the_sign_in_form_has_a_token_too(one_server: Hosted) -> None:
    _, secret = await console_token(one_server)
    async with visitor(one_server) as somebody:
        bare = await somebody.http.post("/console/sign-in", data={"token": secret})
        assert bare.status_code == 403
        token = await somebody.form_token("/sign-in")
        somebody.http.cookies.clear()
        without_cookie = await somebody.http.post("/console/sign-in", data={"token": secret, "form_token": token})
        assert without_cookie.status_code == 403
    assert await actors(one_server, "console.signed_in") == []


# What is shown


async def test_every_answer_carries_the_headers_that_bind_the_browser(one_server: Hosted) -> None:
    furniture = await furnish(one_server)
    async with operator(one_server) as ada, visitor(one_server) as somebody:
        answers = [await ada.get(path) for path in (*PAGES, "/personas/night-shift", "/nothing", "/calls/call_x")]
        answers += [await somebody.get(path) for path in ("", "/sign-in", "/nothing", "/")]
        answers.append(await ada.post("/sign-out", form_token="wrong"))
        answers.append(await ada.http.put("/console/calls"))
        answers.append(await ada.post(f"/approvals/{furniture.approval}", decision="maybe"))
        for answer in answers:
            if answer.status_code == 303:
                continue
            assert answer.headers["content-security-policy"] == POLICY, answer.url
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["x-frame-options"] == "DENY"
            assert answer.headers["referrer-policy"] == "same-origin"
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["content-type"] == "text/html; charset=utf-8"
            assert not re.search(
                r"<style|\sstyle=|\son[a-z]+=[\"']|<script(?! src=\"/console/)|https?://[^ <]*\.js", answer.text
            )
        for kind, name in (
            ("text/css", "console.css"),
            ("text/javascript", "console.js"),
            ("image/svg+xml", "icon.svg"),
        ):
            file = await somebody.get(f"/static/{name}")
            assert file.headers["content-type"].startswith(kind)
            assert file.headers["content-security-policy"] == POLICY
        assert [(await somebody.get(f"/static/{name}")).status_code for name in ("x.css", "..%2froutes.py")] == [
            404,
            404,
        ]


async def test_no_page_holds_a_secret(server: Hosted) -> None:
    furniture = await furnish(server)
    async with operator(server) as ada:
        calls = re.findall(r'href="/console(/calls/call_\w+)"', (await ada.get("/calls")).text)
        personas = [f"/personas/{name}" for name in ("night-shift", "auditor", "careful", "retired")]
        batches = ["/batches/production", "/batches/streets-test"]
        assert len(calls) > 10
        await ada.post(f"/approvals/{furniture.approval}", decision="approve")
        every = [*PAGES, *personas, *batches, *calls]
        text = "".join([(await ada.get(path)).text for path in every])
        await ada.post("/sign-out")
    held = [secret for secret in furniture.secrets if not secret.startswith("smcp_")]
    tokens = [secret for secret in furniture.secrets if secret.startswith("smcp_")]
    assert leaks(text, *held, *tokens) == []
    assert "[redacted]" in text  # somebody did type one


async def test_what_somebody_typed_stays_text(one_server: Hosted) -> None:
    await furnish(one_server)
    async with operator(one_server) as ada:
        calls = re.findall(r'href="/console(/calls/call_\w+)"', (await ada.get("/calls")).text)
        for path in (*PAGES, *calls, "/personas/auditor", "/batches/production"):
            page = (await ada.get(path)).text
            assert "<script>alert" not in page, path
            assert "<img" not in page, path
            assert not re.search("[\u200b\u202e]", page), path
        purpose = await ada.text("/personas/auditor")
        assert "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>gnp.exe" in purpose
        wanted = await ada.get("/calls", params={"persona": EVIL, "tool": '"><script>'})
        assert "<script>" not in wanted.text.replace('<script src="/console/', "")


def test_nothing_is_let_through_a_template_unescaped() -> None:
    sources = {path.name: path.read_text(encoding="utf-8") for path in TEMPLATES.iterdir()}
    assert len(sources) > 10
    unsafe = re.compile(r"\|\s*(safe|e|escape|forceescape|xmlattr|urlize|tojson)\b|autoescape|Markup")
    assert [name for name, source in sources.items() if unsafe.search(source)] == []


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        ("a\u202eb\u200bc", "abc"),
        ("key live_0123456789abcdef here", "key [redacted] here"),
        ("see https://example.com/a?sig=s3cret now", "see https://example.com/a?[query removed] now"),
        ("kept https://example.com/a?[query removed] now", "kept https://example.com/a?[query removed] now"),
        (None, ""),
        (7, 7),
    ],
)
def test_a_value_on_a_page_is_clean_and_without_what_looks_secret(value: object, seen: object) -> None:
    assert shown(value) == seen


async def test_empty_pages_say_what_to_do_next(one_server: Hosted) -> None:
    async with operator(one_server) as ada:
        hints = {
            "": "scale-mcp connection add NAME",
            "/calls": "scale-mcp persona token NAME",
            "/personas": "scale-mcp persona add NAME",
            "/approvals": "scale-mcp persona edit NAME --confirm operator",
            "/events": "scale-mcp webhook add NAME URL",
            "/batches": "scale-mcp connection add NAME",
            "/audit": "never verified here",
        }
        for path, hint in hints.items():
            assert hint in await ada.text(path), path


async def test_the_overview_tells_how_connections_and_their_keys_fare(server: Hosted) -> None:
    await furnish(server)
    record = await server.house.connections.get("production")
    async with operator(server) as ada:
        text = await ada.text("")
    assert "production 1 of 2 keys limited by Scale live account" in text
    assert all(key.fingerprint in text for key in record.active_keys)
    assert re.search(r"cooling until \d\d:\d\d:\d\d on 1 of \d servers", text)
    assert "streets-test healthy" in text or "streets-test not used yet" in text
    assert "Waiting for a person 1 decide now" in text
    assert "and 1 disabled" in text


async def test_calls_are_filtered_paged_and_told_one_by_one(server: Hosted) -> None:
    await server.connection("main")
    token = await server.persona("ada", "main")
    async with server.client(token) as client:
        for _ in range(52):
            await client.call_tool("list_projects", {})
        await client.call_tool("get_task", {"task_id": "0" * 24}, meta={"scale-mcp/reason": "looking for the lost one"})
    async with operator(server) as found:
        first = (await found.get("/calls")).text
        assert first.count("<tr role") == 51  # with the header's
        assert first.index("get_task</code></a>") < first.index("list_projects</code></a>")
        (older,) = re.findall(r'href="(/console/calls\?before=\d+)"', first)
        second = (await found.http.get(older)).text
        assert second.count("<tr role") == 4
        assert "Newest" in second
        assert "get_task</code></a>" not in (await found.get("/calls", params={"outcome": "ok"})).text
        assert (await found.get("/calls", params={"tool": "get_task"})).text.count("<tr role") == 2
        assert "No call agrees" in await found.text("/calls?persona=eve")

        (entry,) = set(re.findall(r'href="/console(/calls/call_\w+)"[^>]*><code>get_task', first))
        text = await found.text(entry)
    for part in ("not found", "looking for the lost one", "allowed: tasks:read", "GET /task/{task_id}", "404"):
        assert part in text, part


async def test_a_call_without_outcome_says_that_nobody_knows(one_server: Hosted) -> None:
    from scale_mcp.hosting.audit.recorder import Intent

    entry = await one_server.house.recorder.begin(Intent(tool="create_batch", risk="write", persona="ada"))
    async with operator(one_server) as found:
        assert "no outcome yet" in await found.text("/calls")
        assert "nobody knows how it ended" in await found.text(f"/calls/{entry.id}")
        assert "create_batch" in await found.text("/calls?outcome=unknown")


async def test_a_row_that_was_damaged_is_shown_as_such(one_server: Hosted) -> None:
    await one_server.connection("main")
    token = await one_server.persona("ada", "main")
    async with one_server.client(token) as client:
        await client.call_tool("list_projects", {})
    for content in ("{", "[]", '{"decisions": 7, "upstream": [1, {"statuses": "x"}], "served": [], "latency_ms": "x"}'):
        async with one_server.house.database.writing() as connection:
            await connection.execute(sa.update(audit_rows).values(content=content))
        async with operator(one_server) as found:
            (entry,) = set(re.findall(r'href="/console(/calls/call_\w+)"', (await found.get("/calls")).text))
            assert (await found.get(entry)).status_code == 200
            assert (await found.get("/audit")).status_code == 200


async def test_budgets_and_tokens_of_a_persona_are_shown_and_a_token_is_revoked(server: Hosted) -> None:
    furniture = await furnish(server)
    async with operator(server) as ada:
        listed = await ada.text("/personas")
        assert "2 of 40 tasks today" in listed
        assert "0.16 of 25.50 cost today" in listed
        one = await ada.text("/personas/night-shift")
        assert furniture.token_id in one
        assert "not in its latest calls" not in one  # it has called
        done = await ada.post(f"/tokens/{furniture.token_id}/revoke")
        assert done.headers["location"] == "/console/personas/night-shift?done=revoked"
        assert "The token is revoked" in await ada.text("/personas/night-shift?done=revoked")
        unknown = await ada.post("/tokens/tok_nothing/revoke")
        assert unknown.status_code == 409
        assert "There is no token" in unknown.text
    (record,) = await Tokens(server.house.database, server.house.recorder).list("night-shift")
    assert record.revoked_at is not None
    assert await actors(server, "token.revoked") == ["console:ada"]


async def test_a_limit_that_is_spent_is_called_so(one_server: Hosted) -> None:
    from scale_mcp.hosting.personas import Budget

    await one_server.connection("main")
    token = await one_server.persona("ada", "main", budget=Budget(calls_per_day=5))
    async with one_server.client(token) as client, operator(one_server) as found:
        for calls, said in ((4, "4 of 5 calls today nearly spent"), (1, "5 of 5 calls today spent")):
            for _ in range(calls):
                await client.call_tool("list_projects", {})
            assert said in await found.text("/personas")


@pytest.mark.parametrize(("decision", "state"), [("approve", "approved"), ("deny", "denied")])
async def test_a_waiting_call_is_decided_under_the_operators_name(server: Hosted, decision: str, state: str) -> None:
    furniture = await furnish(server)
    async with operator(server) as ada:
        text = await ada.text("/approvals")
        assert "create_project" in text
        assert "careful" in text
        assert "/v1? This changes something" in text  # the question as it was asked
        assert (await ada.post(f"/approvals/{furniture.approval}", decision="both")).status_code == 400
        done = await ada.post(f"/approvals/{furniture.approval}", decision=decision)
        assert done.status_code == 303
        again = await ada.post(f"/approvals/{furniture.approval}", decision="approve")
        assert again.status_code == 409
        assert f"it is {state} by console:ada" in again.text
        text = await ada.text(done.headers["location"].removeprefix("/console"))
        assert f"{state} " in text
    assert await actors(server, f"approval.{state}") == ["console:ada"]


async def test_an_approved_call_runs_once_and_a_yes_can_be_taken_back(one_server: Hosted) -> None:
    await one_server.connection("main", kind="live")
    token = await one_server.persona("ada", "main", confirm="operator", confirm_risk="write")
    asked = {"name": "streets", "type": "imageannotation"}
    async with one_server.client(token) as client, operator(one_server) as found:
        assert (await client.call_tool("create_project", asked)).is_error
        (waiting,) = await one_server.house.approvals.list()
        await found.post(f"/approvals/{waiting.id}", decision="approve")
        assert "Take back" in (await found.get("/approvals")).text
        assert not (await client.call_tool("create_project", asked)).is_error
        other = {**asked, "name": "crossings"}
        await client.call_tool("create_project", other)
        (waiting,) = await one_server.house.approvals.list()
        await found.post(f"/approvals/{waiting.id}", decision="approve")
        await found.post(f"/approvals/{waiting.id}", decision="deny")
        assert (await client.call_tool("create_project", other)).is_error


async def test_events_webhooks_and_deliveries_are_shown(server: Hosted) -> None:
    await furnish(server)
    async with operator(server) as ada:
        text = await ada.text("/events")
    for part in ("canceled", "0" * 23 + "2", "ops", "http://127.0.0.1:1/hooks?[query removed]", "no answer"):
        assert part in text, part


async def test_batches_are_read_with_their_connections_own_keys_and_shown_again_for_a_while(server: Hosted) -> None:
    await furnish(server)
    key = (await server.house.connections.keys((await server.house.connections.get("production")).id))[0][0]
    async with operator(server) as ada:
        text = await ada.text("/batches")
        assert "monday streets" in text
        assert "0 of 1 tasks" in text
        assert "No batch is in progress." in text  # of the other connection

        def asked() -> int:
            return len([each for each in server.sandbox.log.entries(limit=10_000) if each["path"].endswith("/batches")])

        before = asked()
        assert "Read " in await ada.text("/batches")
        assert "monday" in await ada.text("/batches/production")
        assert asked() == before
        assert key.fingerprint not in text
        assert (await ada.get("/batches/nothing")).status_code == 404


async def test_batches_come_in_pages(one_server: Hosted) -> None:
    await one_server.connection("main")
    token = await one_server.persona("ada", "main")
    async with one_server.client(token) as client, operator(one_server) as found:
        await client.call_tool("create_project", {"name": "streets", "type": "imageannotation"})
        for number in range(23):
            await client.call_tool("create_batch", {"project": "streets", "name": f"batch {number}"})
        first = await found.get("/batches")
        assert first.text.count('role="rowheader"') == 20
        (older,) = re.findall(r'href="(/console/batches/main\?offset=20)"', first.text)
        second = await found.http.get(older)
        assert second.text.count('role="rowheader"') == 3
        assert "Newer" in second.text


async def test_batches_that_cannot_be_read_say_why_and_the_others_are_shown(one_server: Hosted) -> None:
    furniture = await furnish(one_server)
    first, _, second = furniture.secrets[:3]  # production's
    refused = {"kind": "unauthorized", "route": "list_batches"}
    one_server.sandbox.faults.put([{**refused, "key": key} for key in (first, second)])
    async with operator(one_server) as ada:
        text = await ada.text("/batches")
        assert re.search(r"production They could not be read \d s ago\. Scale answered 401", text)
        assert "streets-test No batch is in progress." in text


async def test_the_trail_is_verified_in_the_background(server: Hosted) -> None:
    await furnish(server)
    async with operator(server) as ada:
        begun = await ada.post("/audit/verify")
        assert begun.headers["location"] == "/console/audit?done=begun"
        with anyio.fail_after(30):
            while "verified" not in await ada.text("/audit") or "being verified" in await ada.text("/audit"):
                await anyio.lowlevel.checkpoint()
        assert re.search(r"holds verified \d+ s ago, \d+ rows", await ada.text("/audit"))

        async with server.house.database.writing() as connection:
            await connection.execute(sa.update(audit_rows).where(audit_rows.c.seq == 3).values(content='{"actor":"x"}'))
        await ada.post("/audit/verify")
        with anyio.fail_after(30):
            while "found" not in await ada.text("/audit"):
                await anyio.lowlevel.checkpoint()
        assert "Row 3 was edited" in await ada.text("/audit")
        assert "Row 3 was edited" in await ada.text("")
    assert await actors(server, "audit.verified") == ["console:ada", "console:ada"]


async def test_without_a_trail_nothing_is_decided_and_the_page_says_so(one_server: Hosted) -> None:
    furniture = await furnish(one_server)
    async with operator(one_server) as ada:
        async with one_server.house.database.writing() as connection:
            await connection.execute(sa.delete(audit_head))
        refused = await ada.post(f"/approvals/{furniture.approval}", decision="approve")
        assert refused.status_code == 503
        assert "The audit trail cannot be written" in refused.text
        approval = await one_server.house.approvals.get(furniture.approval)
        assert approval is not None
        assert approval.state == "waiting"
        assert (await ada.get("/calls")).status_code == 200


async def test_without_its_database_the_console_says_so(one_server: Hosted, monkeypatch: pytest.MonkeyPatch) -> None:
    async with operator(one_server) as ada:
        async with one_server.house.database.writing() as connection:
            await connection.execute(sa.text("DROP TABLE events"))
        answer = await ada.get("/events")
        assert answer.status_code == 503
        assert "The database did not answer as it should" in answer.text
        assert "no such table" not in answer.text
        assert answer.headers["content-security-policy"] == POLICY


# The setting


async def test_a_server_without_console_has_none(tmp_path: Path) -> None:
    async with hosted(f"sqlite:///{tmp_path / 'hosted.db'}", console=False) as running, visitor(running) as somebody:
        for path in ("", "/sign-in", "/static/console.css"):
            assert (await somebody.get(path)).status_code == 404


def test_the_setting_is_for_hosted_servers() -> None:
    with pytest.raises(SettingsError, match="--console is for a hosted server"):
        settings_for("sqlite:///x.db", hosted=False, console=False)
