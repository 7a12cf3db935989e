"""What the tests share: `az` as a person would start it, and where the server is.

Everything comes from the environment that `gridpost env --az` prints. `az` is a program of its own here, started anew
for each command, and is judged by its exit code and by what it prints.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from ssl import create_default_context
from typing import Any

import pytest

PATIENCE_SECONDS = 120
AZ = Path(sys.executable).with_name("az")


class Az:
    """The command line, with a configuration folder and an environment of its own."""

    def __init__(self, folder: Path, **variables: str) -> None:
        # Not a word to anybody but the server under test.
        quiet = {"AZURE_CORE_COLLECT_TELEMETRY": "false", "AZURE_CORE_SURVEY_MESSAGE": "false"}
        self.environment = os.environ | quiet | {"AZURE_CONFIG_DIR": str(folder)} | variables

    def __call__(self, *words: str) -> Any:
        """Runs a command that has to succeed; what it printed, read as JSON, or `None`."""
        done = self._run(words)
        assert done.returncode == 0, f"az {' '.join(words)}\n{done.stderr}"
        return json.loads(done.stdout) if done.stdout.strip() else None

    def refused(self, *words: str, code: int = 1) -> str:
        """Runs a command that has to fail with this exit code; what it complained."""
        done = self._run(words)
        assert done.returncode == code, f"az {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stderr

    def _run(self, words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        command = [AZ, *words, "--output", "json"]
        return subprocess.run(
            command,
            env=self.environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE_SECONDS,
        )


class Server:
    """The server under test."""

    def __init__(self) -> None:
        self.url = os.environ["GRIDPOST_URL"]
        self.client_id = os.environ["AZURE_CLIENT_ID"]
        self.client_secret = os.environ["AZURE_CLIENT_SECRET"]
        self.tenant = os.environ["AZURE_TENANT_ID"]
        self.subscription_id = os.environ["AZURE_SUBSCRIPTION_ID"]
        self.source = os.environ["GRIDPOST_RESOURCE_ID"]
        self.group = os.environ["AZURE_RESOURCE_GROUP"]
        self.group_id = f"/subscriptions/{self.subscription_id}/resourceGroups/{self.group}"

    def sink(self, name: str) -> str:
        """The address of one of the webhooks that the server has built in."""
        return f"{self.url}/_gridpost/v1/sinks/{name}"

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Calls the server's own REST; what it answers, read as JSON."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_gridpost/v1{path}", data=data, method=method)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=30, context=create_default_context()) as answer:
            text = answer.read()
        return json.loads(text) if text else None


@pytest.fixture(scope="session")
def server() -> Server:
    return Server()


@pytest.fixture(scope="session")
def az(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Az:
    """Signed in with the secret that `gridpost env` prints."""
    az = Az(tmp_path_factory.mktemp("az"))
    sign_in = ["login", "--service-principal", "-u", server.client_id, "-p", server.client_secret]
    [account] = az(*sign_in, "--tenant", server.tenant)
    assert account["id"] == server.subscription_id
    return az


@pytest.fixture
def signed_out(tmp_path: Path) -> Az:
    """Not signed in, and without a memory."""
    return Az(tmp_path / "az")
