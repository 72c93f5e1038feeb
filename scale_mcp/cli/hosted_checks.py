"""What `scale-mcp doctor --hosted` looks at: settings, store, vault, connections and personas of a hosted server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from scale_mcp.cli.checks import Check, versions
from scale_mcp.cli.console import Exit

if TYPE_CHECKING:
    from scale_mcp.hosting.connection_records import ConnectionRecord
    from scale_mcp.hosting.connections import Connections
    from scale_mcp.hosting.key_checks import Finding
    from scale_mcp.hosting.personas import Persona
    from scale_mcp.hosting.store import Database
    from scale_mcp.settings import Settings

HEALTH_TIMEOUT = 3.0  # seconds


async def examine_hosted(settings: Settings) -> AsyncIterator[Check]:
    """All checks, in an order in which the first failure explains those after it."""
    yield versions()
    try:
        from sqlalchemy.exc import SQLAlchemyError

        from scale_mcp.cli.hosted import opened_store
        from scale_mcp.hosting.store import StoreError
    except ModuleNotFoundError as missing:
        yield Check("Extra", "fail", f"{missing.name} is not installed", "pip install 'scale-mcp[hosted]'", Exit.USAGE)
        return
    for check in serving(settings):
        yield check
    try:
        async with opened_store(settings) as database:
            kind = "PostgreSQL, for any number of replicas" if database.dialect != "sqlite" else "for one machine"
            address = database.engine.url.set(drivername=database.dialect).render_as_string(hide_password=True)
            yield Check("Store", "ok", f"{address}: {kind}")
            async for check in inside(settings, database):
                yield check
    except StoreError as problem:
        yield Check("Store", "fail", str(problem), "Check --store, or SCALE_MCP_STORE.")
        yield Check("Vault", "skip", "not tried, for the reason above")
    except SQLAlchemyError as problem:
        reason = str(getattr(problem, "orig", None) or type(problem).__name__).splitlines()[0]
        yield Check("Store", "fail", f"the database failed: {reason}", "Check that it is up and not full.")
    yield await health(settings)


def serving(settings: Settings) -> list[Check]:
    """Whether `serve --hosted` would start with these settings."""
    from scale_mcp.setting_rules import misfits

    as_served = settings.model_copy(update={"hosted": True, "transport": "http"})
    problems = list(misfits(as_served))
    if problems:
        return [Check("Settings", "fail", problem, exit=Exit.USAGE) for problem in problems]
    names = ", ".join(settings.allowed_hosts)
    reached = f"callers use {settings.public_url or names}" if names else "callers on this machine only"
    login = f", or sign in at {settings.oauth_issuer}" if settings.oauth_issuer else ""
    return [Check("Settings", "ok", f"{reached}; they have tokens of personas{login}")]


async def inside(settings: Settings, database: Database) -> AsyncIterator[Check]:
    """What is in the database, and whether its secrets open."""
    from scale_mcp.hosting.audit.recorder import Recorder
    from scale_mcp.hosting.connections import Connections
    from scale_mcp.hosting.errors import OperatorError
    from scale_mcp.hosting.master_key_places import master_keys_of
    from scale_mcp.hosting.vault import Vault

    records: list[ConnectionRecord] = []
    try:
        master_keys = master_keys_of(settings)
        opened = await Vault.opened(database, master_keys)
    except OperatorError as problem:
        yield Check("Vault", "fail", str(problem))
        yield Check("Account", "skip", "not asked, for the reason above")
    else:
        yield Check("Vault", "ok", f"{master_keys.place.name} opens all of it; {master_keys.current.id} is current")
        connections = Connections(database, opened, Recorder(database))
        records = await connections.list()
        if not records:
            yield Check("Account", "warn", "there is no connection yet", "Add one: scale-mcp connection add NAME")
        for record in records:
            yield await account(connections, record)
    async for check in callers(settings, database):
        yield check


async def account(connections: Connections, record: ConnectionRecord) -> Check:
    """Each key of a connection, asked of Scale with the smallest request there is."""
    found = await connections.check(record.id)
    name = f"{record.name} ({record.kind})"
    bad = [(key.fingerprint, finding) for key, finding in found if finding.status != "ok"]
    if not found:
        return Check("Account", "warn", f"{name} has no key", f"scale-mcp connection add-key {record.name}")
    if not bad:
        return Check("Account", "ok", f"{name}: {_keys(len(found))} accepted, {record.base_url}")
    fingerprint, finding = bad[0]
    detail = f"{name}: {len(bad)} of {_keys(len(found))} not accepted; {fingerprint}: {finding.words}"
    if len(bad) < len(found):
        return Check("Account", "warn", detail, f"scale-mcp connection retire {record.name} {fingerprint}")
    return Check("Account", "fail", detail, *_cure(record, finding))


def _cure(record: ConnectionRecord, finding: Finding) -> tuple[str, Exit]:
    if finding.status == "refused":
        return f"Replace it: scale-mcp connection rotate {record.name}", Exit.REFUSED
    started = "Start it with scale-mcp sandbox." if record.kind == "sandbox" else "Check the network, then try again."
    return started, Exit.UNREACHABLE


async def callers(settings: Settings, database: Database) -> AsyncIterator[Check]:
    """Personas that could not do anything, and why."""
    from scale_mcp.hosting.audit.recorder import Recorder
    from scale_mcp.hosting.clock import stamp, utc_now
    from scale_mcp.hosting.connection_records import read_records
    from scale_mcp.hosting.persona_store import Personas
    from scale_mcp.hosting.tokens import Tokens

    recorder = Recorder(database)
    personas = [each for each in await Personas(database, recorder).list() if not each.disabled]
    async with database.reading() as transaction:
        there = {record.name for record in await read_records(transaction)}
    now = stamp(utc_now())
    tokens = await Tokens(database, recorder).list()
    good = {each.persona for each in tokens if not each.revoked_at and (not each.expires_at or each.expires_at > now)}
    if not personas:
        yield Check("Personas", "warn", "there is none, so nobody can call", "Add one: scale-mcp persona add NAME")
        return
    troubled = [(each, trouble) for each in personas if (trouble := _trouble(each, there, good, settings))]
    if not troubled:
        yield Check("Personas", "ok", f"{len(personas)}, each with something to use, a way there and a way in")
    for persona, (detail, cure) in troubled:
        yield Check("Persona", "warn", f"{persona.name} {detail}", cure)


def _trouble(persona: Persona, there: set[str], with_token: set[str], settings: Settings) -> tuple[str, str] | None:
    edit = f"scale-mcp persona edit {persona.name}"
    lost = sorted({route.connection for route in persona.routes} - there)
    if not (persona.scopes or persona.tools):
        return "has neither scopes nor tools, so it may use nothing", f"{edit} --scope '*:read'"
    if not persona.routes:
        return "has no route, so its calls reach no connection", f"{edit} --route CONNECTION"
    if lost:
        return f"has a route to {lost[0]}, which is no connection", f"{edit} --route CONNECTION"
    if persona.name not in with_token and settings.oauth_issuer is None:
        return "has no token that is good, so nobody can call as it", f"scale-mcp persona token {persona.name}"
    return None


async def health(settings: Settings) -> Check:
    """Whether a server answers where these settings would have it listen."""
    import httpx2

    host = settings.host if settings.host not in ("0.0.0.0", "::") else "127.0.0.1"  # noqa: S104
    address = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
    try:
        async with httpx2.AsyncClient(timeout=HEALTH_TIMEOUT, trust_env=False) as http:
            answer = await http.get(f"{address}/healthz")
    except httpx2.HTTPError:
        start = "scale-mcp serve --transport http --hosted"
        return Check("Server", "note", f"nothing answers at {address} yet", f"Start it: {start}")
    if answer.status_code == 200:
        return Check("Server", "ok", f"one answers at {address}")
    return Check("Server", "warn", f"{address} answers with status {answer.status_code}", "Its log says why.")


def _keys(count: int) -> str:
    return f"{count} key{'s' * (count != 1)}"
