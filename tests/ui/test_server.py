"""`mfc ui` asked as its page asks it, and as nobody should."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mfc.ui.state import Asked, Desk

from tests.ui.server import SPEC, Client, running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ui")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[Client]:
    with running(folder) as one:
        yield one


STATE = {"set": {"hardware.gpu": "T4"}, "targets": []}


def test_the_page_is_served_to_who_has_the_address(client: Client) -> None:
    answer = client.ask("GET", f"/?token={client.token}", {})
    assert answer.status == 200
    assert "Save the spec" in answer.text
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert "server" not in answer.headers


def test_another_card_gives_another_verdict(client: Client) -> None:
    before = client.post("/plan", {"state": {"set": {}, "targets": []}}).said["body"]
    assert "✓" in before
    answer = client.post("/plan", {"state": STATE, "before": {"set": {}, "targets": []}})
    assert answer.status == 200
    assert "T4" in answer.said["body"]
    both = client.post("/plan", {"state": {"set": {}, "targets": ["llamafactory", "ms-swift"]}}).said["body"]
    assert "Details of llamafactory" in both
    assert "Details of ms-swift" in both


REFUSED = {
    "a name that was pointed here": ({"Host": "evil.example:{port}"}, 421),
    "another port": ({"Host": "127.0.0.1:1"}, 421),
    "no port": ({"Host": "127.0.0.1"}, 421),
    "a page of another site": ({"Origin": "https://evil.example"}, 403),
    "a page of another port": ({"Origin": "http://127.0.0.1:1"}, 403),
    "a page of nobody": ({"Origin": "null"}, 403),
    "what the browser says of a foreign page": ({"Sec-Fetch-Site": "cross-site"}, 403),
    "another port, as the browser says it": ({"Sec-Fetch-Site": "same-site"}, 403),
    "no token": ({"X-Mfc-Token": ""}, 403),
    "a wrong token": ({"X-Mfc-Token": "x"}, 403),
    "a token of other letters": ({"X-Mfc-Token": "é"}, 403),
    "a form": ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
    "text, which needs no leave": ({"Content-Type": "text/plain"}, 415),
    "no end in sight": ({"Content-Length": "99999999"}, 413),
    "no length": ({"Content-Length": "", "Transfer-Encoding": "chunked"}, 400),
}


@pytest.mark.parametrize("path", ["/plan", "/save"])
@pytest.mark.parametrize("who", REFUSED)
def test_others_are_refused(who: str, path: str, client: Client, folder: Path) -> None:
    headers, status = REFUSED[who]
    given = {"Origin": f"http://{client.host}", "X-Mfc-Token": client.token, "Content-Type": "application/json"}
    given |= {name: value.format(port=client.port) for name, value in headers.items()}
    answer = client.ask("POST", path, given, json.dumps({"state": STATE}).encode())
    assert answer.status == status
    assert (folder / "spec.yaml").read_text(encoding="utf-8") == SPEC


def test_what_comes_from_no_page_is_refused(client: Client) -> None:
    given = {"X-Mfc-Token": client.token, "Content-Type": "application/json"}
    assert client.ask("POST", "/plan", given, b"{}").status == 403


@pytest.mark.parametrize("target", ["/", "/?token=", "/?token=x", "/?token=x&token=y"])
def test_the_page_needs_its_token(target: str, client: Client) -> None:
    answer = client.ask("GET", target, {})
    assert answer.status == 403
    assert client.token not in answer.text
    assert "Qwen" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/spec.yaml", 404),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/plan", 405),
        ("PUT", "/", 405),
        ("OPTIONS", "/save", 405),
        ("DELETE", "/", 405),
    ],
)
def test_there_is_nothing_else(method: str, path: str, status: int, client: Client) -> None:
    answer = client.ask(method, f"{path}?token={client.token}", {})
    assert answer.status == status
    assert "access-control-allow-origin" not in answer.headers


WRONG = {
    "a file to read": {"set": {"data.train": "/etc/passwd"}},
    "another file": {"set": {"model.config": "/etc"}},
    "a file of prices": {"set": {"hardware.price": "prices.yaml"}},
    "a base": {"set": {"extends": "other.yaml"}},
    "a place to write": {"set": {"targets.llamafactory.out": "/tmp/x"}},
    "no field": {"set": {"x": "1"}},
    "no text": {"set": {"hardware.count": 2}},
    "lines": {"set": {"hardware.gpu": "T4\nextends: x"}},
    "too long": {"set": {"hardware.gpu": "x" * 1000}},
    "nothing": {"set": {"hardware.gpu": " "}},
    "no target": {"set": {}, "targets": ["../x"]},
    "a list": [],
    "more": {"set": {}, "targets": [], "path": "x"},
    "no mapping": {"set": []},
}


@pytest.mark.parametrize("what", WRONG)
def test_a_browser_may_change_fields_alone(what: str, client: Client, folder: Path) -> None:
    for path, more in (("/plan", {}), ("/save", {"digest": "0"})):
        answer = client.post(path, {"state": WRONG[what], **more})
        assert answer.status == 400
        assert answer.said["error"].startswith("error: ")
    assert (folder / "spec.yaml").read_text(encoding="utf-8") == SPEC


@pytest.mark.parametrize(
    "value", ["./model", "/Qwen/Qwen2.5-7B", "../x", "{id: x, config: /etc/passwd}", "nobody/none"]
)
def test_a_model_is_one_of_the_catalogue(value: str, client: Client) -> None:
    answer = client.post("/plan", {"state": {"set": {"model": value}, "targets": []}})
    assert answer.status == 200
    assert "only models of the catalogue are tried here" in answer.said["body"]


def test_a_price_is_that_of_its_card(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC.replace("2x RTX 4090", "{gpu: RTX 4090, count: 2, price: $0.40/h}"), encoding="utf-8")
    costs = []
    for changed in ((), (("hardware.count", "4"),), (("hardware.gpu", "A100 SXM 80GB"),)):
        (sheet,) = Desk(spec).find(Asked(changed)).plans
        costs.append(sheet.bill.price is not None)
    assert costs == [True, True, False]


def test_what_is_no_json_is_told_so(client: Client) -> None:
    given = {"Origin": f"http://{client.host}", "X-Mfc-Token": client.token, "Content-Type": "application/json"}
    for body in (b"", b"[" * 50_000, b"{", b"[]", b"\xff"):
        assert client.ask("POST", "/plan", given, body).status == 400


def test_a_spec_is_saved_with_its_comments(tmp_path: Path) -> None:
    with running(tmp_path) as client:
        state = {"set": {"hardware.count": "4", "train.method": "qlora"}, "targets": ["llamafactory", "trl"]}
        digest = client.ask("GET", f"/?token={client.token}", {}).text.partition('data-digest="')[2].partition('"')[0]
        answer = client.post("/save", {"state": state, "digest": digest})
        assert answer.status == 200, answer.text
        text = (tmp_path / "spec.yaml").read_text(encoding="utf-8")
        assert text == (
            SPEC.replace("2x RTX 4090", "4x RTX 4090").replace("[llamafactory]", "[llamafactory, trl]")
            + "train: {method: qlora}\n"
        )
        assert client.post("/save", {"state": state, "digest": digest}).status == 400
        (tmp_path / "spec.yaml").write_text("model: [", encoding="utf-8")
        assert "no plan" in client.post("/plan", {"state": {"set": {}, "targets": []}}).said["body"]
        assert client.ask("GET", f"/?token={client.token}", {}).status == 500
    assert [file.name for file in tmp_path.iterdir()] == ["spec.yaml"]


def test_a_port_in_use_and_a_wrong_spec_are_told(client: Client, folder: Path) -> None:
    taken = subprocess.run(
        [sys.executable, "-m", "mfc", "ui", "spec.yaml", "--port", str(client.port)],
        cwd=folder, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert taken.returncode == 2
    assert "in use; leave --port out for a free one" in taken.stderr
    wrong = subprocess.run(
        [sys.executable, "-m", "mfc", "ui", "nothing.yaml"],
        cwd=folder, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert wrong.returncode == 2
    assert "no such file" in wrong.stderr


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "starlette.py").write_text("raise ImportError('no', name='starlette')\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mfc", "ui", "spec.yaml"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "error: mfc ui needs starlette and uvicorn: pip install 'mfc-compiler[ui]'\n"
