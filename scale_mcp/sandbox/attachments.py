"""What a task's attachments lead to: our own files, failures on purpose, and nothing else. Nothing is fetched."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scale_mcp.sandbox import decisions, uploads
from scale_mcp.sandbox.params import attachments_of
from scale_mcp.sandbox.task_store import TaskRecord

if TYPE_CHECKING:
    from scale_mcp.sandbox.sandbox import Sandbox

LIDAR = ("lidarannotation", "lidarsegmentation")
RESULT_URL = re.compile(r"/task/(?P<task>[0-9a-f]{24})/response_url/(?P<uuid>[0-9a-f-]{36})$")
NOT_DOWNLOADED = "One or more attachments could not be downloaded."


class Attachments:
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def content(self, record: TaskRecord, address: str) -> bytes | None:
        """The bytes of one of the account's own files (``scaledata://…``) or response files, or None."""
        result = RESULT_URL.search(address)
        if result:
            file = self._sandbox.tasks.store.file(result["task"], result["uuid"])
            return file[2] if file is not None and file[0] == record.account_no else None
        account_id = self._sandbox.account_id(record.account_no)
        return uploads.content_of(self._sandbox.store, account_id, address)

    def picture_size(self, record: TaskRecord) -> tuple[int, int] | None:
        """Width and height of the task's picture, when it is one of ours."""
        from scale_mcp.sandbox.truth import attachment_size

        return attachment_size(record.document, lambda address: self.content(record, address))

    def failure(self, account_id: str, task_type: str, params: dict[str, Any]) -> dict[str, Any] | None:
        """The error object of a task whose attachments cannot be had, as Scale writes it, or None when all is well."""
        frames, missing = [], []
        for number, address in enumerate(attachments_of(params)):
            status = self._status(account_id, address)
            if status is not None:
                missing.append({"statusCode": status, "url": address})
                frames.append({"frame": number, "message": f"HTTP status {status}", "attachment": missing[-1]})
            elif task_type in LIDAR and params.get("attachment_type") == "json":
                message = self._json_problem(account_id, address)
                if message is not None:
                    attachment = {"statusCode": 200, "url": address}
                    frames.append({"frame": number, "message": message, "attachment": attachment})
        if task_type in LIDAR and frames:
            return {"error": NOT_DOWNLOADED, "frames": frames}
        return {"error": NOT_DOWNLOADED, "attachments": missing} if missing else None

    def _status(self, account_id: str, address: str) -> int | None:
        """The HTTP status that fetching would fail with, or None."""
        if address.startswith(uploads.SCHEME):
            return None if uploads.file_of(self._sandbox.store, account_id, address) is not None else 404
        try:
            parts = urlsplit(address)
            host = parts.hostname
        except ValueError:
            return None
        if host != decisions.BROKEN_HOST.value:
            return None
        wanted = re.match(r"/([45]\d\d)(?:/|$)", parts.path)
        return int(wanted[1]) if wanted else 404

    def _json_problem(self, account_id: str, address: str) -> str | None:
        content = uploads.content_of(self._sandbox.store, account_id, address)
        if content is None:
            return None
        try:
            json.loads(content)
        except (ValueError, RecursionError) as error:
            return f"Invalid JSON Format: {error}"
        return None

    def urls(self, record: TaskRecord, base_url: str) -> dict[str, str]:
        """Where anyone may fetch the task's own files, by attachment, for ``include_attachment_url``."""
        account_id = self._sandbox.account_id(record.account_no)
        found: dict[str, str] = {}
        for address in attachments_of(record.document["params"]):
            row = uploads.file_of(self._sandbox.store, account_id, address)
            if row is not None:
                found[address] = f"{base_url.removesuffix('/v1')}/_sandbox/files/{row['id']}/content"
        return found
