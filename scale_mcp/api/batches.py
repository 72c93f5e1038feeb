"""Batches: creation that is safe to repeat, progress, finalizing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from scale_mcp.api.client import Client
from scale_mcp.api.decode import as_object, one
from scale_mcp.api.errors import InvalidRequest, NotFound, OutcomeUnknown, ScaleError
from scale_mcp.api.operation import Operation
from scale_mcp.api.pagination import by_offset
from scale_mcp.api.recovery import is_covered, settle
from scale_mcp.api.retry import Repeat
from scale_mcp.models.batches import Batch, BatchFilter, BatchPage, BatchStatus
from scale_mcp.text import one_line


class Batches:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def create(
        self,
        project: str,
        name: str,
        *,
        callback: str | None = None,
        calibration_batch: bool | None = None,
        self_label_batch: bool | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Batch:
        """Create a batch. Names are unique over the whole account, which makes it safe to repeat.

        Raises Conflict when the name was taken before, or belongs to a batch with other content.
        """
        given = {
            "project": project,
            "name": name,
            "callback": callback,
            "calibration_batch": calibration_batch,
            "self_label_batch": self_label_batch,
            "metadata": metadata,
        }
        body = {key: value for key, value in given.items() if value is not None}
        try:
            return await self._client.call(Operation("POST", "/batches", body=body, repeat=Repeat.RECOVER), one(Batch))
        except ScaleError as error:
            failure = error
        return await settle(
            failure,
            look_up=lambda: self._find(name),
            difference=lambda batch: _difference(batch, body),
            name=f'batch named "{one_line(name, 200)}"',
            find_out="To find out, get the batch; creating it again under that name cannot make it twice.",
            options=self._client.options,
        )

    async def get(self, name: str) -> Batch:
        return await self._client.call(Operation("GET", "/batches/{batch_name}", {"batch_name": name}), one(Batch))

    async def status(self, name: str) -> BatchStatus:
        """The batch's state and how many of its tasks are pending, completed, failed and canceled."""
        operation = Operation("GET", "/batches/{batch_name}/status", {"batch_name": name})
        return await self._client.call(operation, one(BatchStatus))

    async def finalize(self, name: str) -> Batch:
        """Release a Rapid or Studio batch for work, once and for all; other batches stay as they are.

        Finalizing twice is an error at Scale. When the first answer was lost, the batch itself tells what happened.
        """
        operation = Operation("POST", "/batches/{batch_name}/finalize", {"batch_name": name}, repeat=Repeat.RECOVER)
        try:
            return await self._client.call(operation, one(Batch))
        except ScaleError as error:
            failure = error
        if not failure.in_doubt:
            raise failure
        try:
            batch = await self.get(name)
        except ScaleError as error:
            raise OutcomeUnknown(
                f'It is not known whether batch "{one_line(name, 200)}" was finalized: {failure.message} '
                f"Then looking it up failed as well ({error.message}).",
                status=failure.status,
                scale_message=failure.scale_message,
                retryable=True,
                next_step="To find out, get the batch: in staging it is not finalized.",
                request_id=failure.request_id,
                in_doubt=True,
            ) from None
        if batch.status != "staging":
            return batch
        if not isinstance(failure, InvalidRequest):
            failure.next_step = f'Batch "{one_line(name, 200)}" is in staging, so it is not finalized yet. Try again.'
        raise failure

    async def prioritize(self, name: str, priority: int) -> dict[str, Any]:
        """Set a batch's priority, from 10 to 30; higher comes earlier. What Scale answers is not published."""
        operation = Operation(
            "POST",
            "/batches/{batch_name}/prioritize",
            {"batch_name": name},
            body={"priority": priority},
            plain_answer=True,
        )
        return await self._client.call(operation, as_object)

    async def set_metadata(self, name: str, metadata: dict[str, Any]) -> Batch:
        """Replace the whole metadata."""
        return await self._client.call(
            Operation("POST", "/batches/{batch_name}/setMetadata", {"batch_name": name}, body=metadata), one(Batch)
        )

    async def page(self, filter: BatchFilter, offset: int = 0, limit: int = 100) -> BatchPage:  # noqa: A002
        """One page of batches, newest first; ``limit`` is from 1 to 100."""
        query = {**filter.to_query(), "limit": limit, "offset": offset}
        return await self._client.call(Operation("GET", "/batches", query=query), one(BatchPage))

    def iterate(self, filter: BatchFilter) -> AsyncIterator[Batch]:  # noqa: A002
        """All batches of a filter, newest first, one page in memory at a time."""

        async def turn(offset: int) -> tuple[list[Batch], bool]:
            page = await self.page(filter, offset)
            return page.docs, page.has_more

        return by_offset(turn, key=lambda batch: batch.name)

    async def _find(self, name: str) -> Batch | None:
        try:
            return await self.get(name)
        except NotFound:
            return None


def _difference(batch: Batch, body: dict[str, Any]) -> str | None:
    """What was sent first that the batch says otherwise about; what it does not mention does not count."""
    stored = batch.model_dump(exclude_none=True)
    return next((key for key, value in body.items() if key in stored and not is_covered(value, stored[key])), None)
