"""Scale's API over one connection, a resource each."""

from __future__ import annotations

from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self

from scale_mcp.api.client import Client
from scale_mcp.api.connection import BASE_URL, Connection
from scale_mcp.api.options import ApiOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx2
    from pydantic import SecretStr

    from scale_mcp.api.batches import Batches
    from scale_mcp.api.files import Files
    from scale_mcp.api.key_pool import KeyPool
    from scale_mcp.api.projects import Projects
    from scale_mcp.api.quality import Quality
    from scale_mcp.api.studio import Studio
    from scale_mcp.api.tasks import Tasks
    from scale_mcp.api.team import Team
    from scale_mcp.models.common import Mode

_DEFAULTS = ApiOptions()


class ScaleApi:
    """Scale's API as one account and mode sees it.

    async with ScaleApi(key) as api:
        task = await api.tasks.get("65f0c1d2e3a4b5c6d7e8f901")

    ``base_url`` is https (plain http only to this machine), with its version and without credentials, query or
    fragment; anything else raises RefusedBeforeSending, as does a key that cannot be one. Any httpx2 transport may
    stand for the network. Nothing is opened before the first request.
    """

    def __init__(
        self,
        key: SecretStr | str,
        *,
        base_url: str = BASE_URL,
        transport: httpx2.AsyncBaseTransport | None = None,
        options: ApiOptions = _DEFAULTS,
    ) -> None:
        connection = Connection(key, base_url)
        self._client = Client(connection, transport, options)
        self.keys: KeyPool | None = None  # of an api over several keys
        self.base_url: str = connection.base_url
        self.mode: Mode = connection.mode

    @classmethod
    def pooled(
        cls,
        keys: Mapping[str, SecretStr | str],
        *,
        base_url: str = BASE_URL,
        transport: httpx2.AsyncBaseTransport | None = None,
        options: ApiOptions = _DEFAULTS,
    ) -> Self:
        """The same over several keys of one account and mode, by names of the caller's that may be shown.

        Each key has limits of its own (see key_pool.py); ``keys`` tells how they fare, and takes and retires keys
        while requests run.
        """
        from scale_mcp.api.key_pool import KeyPool
        from scale_mcp.api.pooled_client import PooledClient

        api = cls.__new__(cls)
        pool = KeyPool(keys, base_url, transport, options)
        api._client = PooledClient(pool)
        api.base_url, api.mode = pool.connection.base_url, pool.connection.mode
        api.keys = pool
        return api

    def without_key(self, content: bytes) -> bytes:
        """What is to be shown of a downloaded file, in case somebody wrote the key into it."""
        return self._client.connection.scrub_bytes(content)

    # Each resource loads with its models when it is first used: a server that only lists its tools needs none.

    @cached_property
    def tasks(self) -> Tasks:
        from scale_mcp.api.tasks import Tasks

        return Tasks(self._client)

    @cached_property
    def batches(self) -> Batches:
        from scale_mcp.api.batches import Batches

        return Batches(self._client)

    @cached_property
    def projects(self) -> Projects:
        from scale_mcp.api.projects import Projects

        return Projects(self._client)

    @cached_property
    def files(self) -> Files:
        from scale_mcp.api.files import Files

        return Files(self._client)

    @cached_property
    def team(self) -> Team:
        from scale_mcp.api.team import Team

        return Team(self._client)

    @cached_property
    def studio(self) -> Studio:
        from scale_mcp.api.studio import Studio

        return Studio(self._client)

    @cached_property
    def quality(self) -> Quality:
        from scale_mcp.api.quality import Quality

        return Quality(self._client)

    def __repr__(self) -> str:
        return f"ScaleApi({self.base_url!r}, {self.mode})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections. The object cannot be used afterwards."""
        await self._client.aclose()
