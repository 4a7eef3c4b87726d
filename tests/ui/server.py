"""A running `mfc ui` for tests, and what a client says to it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from tests.data import optional

optional("starlette")
optional("uvicorn")

SPEC = """\
# the first run
model: Qwen/Qwen2.5-7B-Instruct
hardware: 2x RTX 4090  # ours
data: {train: [{path: a.jsonl, samples: 5000}], mean_length: 700}
targets: [llamafactory]
"""


class Answer(NamedTuple):
    """What the server said."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def said(self) -> dict[str, Any]:
        """The JSON of it."""
        said: dict[str, Any] = json.loads(self.text)
        return said


class Client:
    """One that may send what it likes."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        assert parts.hostname == "127.0.0.1"
        assert parts.port
        self.address, self.port, self.token = address, parts.port, parse_qs(parts.query)["token"][0]
        self.host = f"127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in {"Host": self.host, "Content-Length": str(len(body)), **headers}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, text)

    def post(self, path: str, question: object, **headers: str) -> Answer:
        known = {"Origin": f"http://{self.host}", "X-Mfc-Token": self.token, "Content-Type": "application/json"}
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", path, {**known, **more}, json.dumps(question).encode())


@contextmanager
def running(folder: Path, spec: str = SPEC, *words: str) -> Iterator[Client]:
    """A server of `spec.yaml` in a folder; it has to end by Ctrl-C, without a word."""
    (folder / "spec.yaml").write_text(spec, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, "-m", "mfc", "ui", "spec.yaml", *words],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ),
    ) as server:  # fmt: skip
        assert server.stdout
        assert server.stderr
        try:
            address = server.stdout.readline().strip()
            assert address, server.stderr.read()
            yield Client(address)
            server.send_signal(signal.SIGINT)
            _, errors = server.communicate(timeout=30)
            assert (server.returncode, errors) == (0, "")
        finally:
            if server.poll() is None:
                server.kill()
