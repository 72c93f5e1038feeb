"""Quality: fixless audits and training attempts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scale_mcp.api.client import Client
from scale_mcp.api.decode import one
from scale_mcp.api.operation import Operation
from scale_mcp.api.retry import Repeat
from scale_mcp.models.quality import FixlessAudit, TrainingAttempts


class Quality:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def fixless_audits(self, task_id: str | None = None, id: str | None = None) -> list[FixlessAudit]:  # noqa: A002
        """The fixless audits of a task, or the one with this id; at least one of the two is needed."""
        operation = Operation("GET", "/audits", query={"task_id": task_id, "id": id})
        return await self._client.call(operation, _audits)

    async def training_attempts(
        self,
        quality_task_ids: Sequence[str] = (),
        labeler_emails: Sequence[str] = (),
        limit: int | None = None,
        next_token: str | None = None,
    ) -> TrainingAttempts:
        """Attempts at these quality tasks, or by these people; at least one of the two lists is needed."""
        query = {
            "quality_task_ids": [*quality_task_ids],
            "labeler_emails": [*labeler_emails],
            "limit": limit,
            "next_token": next_token or None,
        }
        return await self._client.call(Operation("GET", "/quality/labelers", query=query), _attempts)

    async def create_fixless_audit(self, body: dict[str, Any]) -> FixlessAudit:
        """Give feedback on a task's response. Each call makes a new audit, of which the latest counts."""
        operation = Operation(
            "PUT",
            "/audits",
            body=body,
            repeat=Repeat.ONCE,
            find_out="list the task's fixless audits.",
        )
        return await self._client.call(operation, one(FixlessAudit))


def _audits(value: Any) -> list[FixlessAudit]:
    """Sources do not tell whether it is an array, an envelope or a single audit."""
    if isinstance(value, dict):
        value = value.get("docs", value.get("audits", [value]))
    if not isinstance(value, list):
        raise ValueError("a list was expected")  # what decoders raise
    return [FixlessAudit.model_validate(item) for item in value]


def _attempts(value: Any) -> TrainingAttempts:
    return TrainingAttempts.model_validate({"docs": value} if isinstance(value, list) else value)
