"""A process that writes into the trail: ``python -m tests.hosting.audit.replica URL NAME [calls COUNT|hang|storm]``."""

from __future__ import annotations

import sys

import anyio

from scale_mcp.hosting.audit.recorder import Intent, Recorder
from scale_mcp.hosting.store import Database


async def one(recorder: Recorder, number: int) -> None:
    entry = await recorder.begin(Intent(tool="create_task", risk="spend", arguments={"number": number}))
    entry.decision("allowed")
    await entry.finish("ok", body={"number": number})


async def calls(database: Database, recorder: Recorder, count: int) -> None:
    """Calls at once, and changes of policy among them."""
    async with anyio.create_task_group() as tasks:
        for number in range(count):
            tasks.start_soon(one, recorder, number)
    for number in range(count // 20):
        async with database.writing() as connection:
            await database.changed(connection)
            await recorder.append("persona.edited", {"number": number}, connection=connection)


async def storm(recorder: Recorder) -> None:
    """Calls without end, to be killed in the middle of them."""
    told = False

    async def without_end() -> None:
        nonlocal told
        number = 0
        while True:
            await one(recorder, number)
            number += 1
            if number == 5 and not told:
                told = True
                sys.stdout.write("storm\n")
                sys.stdout.flush()

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(without_end)


async def main(url: str, name: str, what: str, count: str = "0") -> None:
    async with Database.opened(url) as database:
        recorder = Recorder(database, replica=name)
        if what == "calls":
            await calls(database, recorder, int(count))
        elif what == "storm":
            await storm(recorder)
        else:
            entry = await recorder.begin(Intent(tool="create_task", risk="spend", persona="ada"))
            sys.stdout.write(f"{entry.id}\n")
            sys.stdout.flush()
            await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
