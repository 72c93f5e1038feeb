"""The demo's story: one labelling life cycle, told in stages, in which every tool has its part."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from scale_mcp.cli.showcase.material import ITEMS, PICTURES, Item, files_of, parameters
from scale_mcp.cli.showcase.reading import agreement, counted, kind_of, outlines, uuids
from scale_mcp.cli.showcase.receiver import Receiver
from scale_mcp.cli.showcase.session import CallFailed, Json, Session

PATIENCE = 60.0  # seconds for the workforce; it needs two or three
PEOPLE = ["ada@example.com", "grace@example.com"]
RAPID = {  # project → task type
    "scenes": "imageannotation",
    "regions": "segmentannotation",
    "names": "namedentityrecognition",
    "receipts": "documenttranscription",
}
BATCHES = {project: f"{project}-1" for project in RAPID}


class Demonstration:
    """One run. ``tasks`` maps what was created to its task, in the order of creation."""

    def __init__(self, session: Session, receiver: Receiver, folder: Path) -> None:
        self._session, self._receiver, self._folder = session, receiver, folder
        self._call, self._each, self._begin = session.call, session.each, session.begin
        self._urls: dict[str, str] = {}  # file name → scaledata:// URL
        self._tasks: dict[str, Json] = {}
        self._pause = partial(receiver.news, 0.1)

    async def run(self) -> None:
        """All stages.

        Raises:
            CallFailed: at the first call that did not go as it should.
        """
        await self.set_up()
        await self.bring_material()
        await self.create_work()
        await self.change_a_mind()
        await self.let_people_work()
        await self.read_the_labels()
        await self.check_quality()
        await self.run_a_studio()
