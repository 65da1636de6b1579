"""The page as a whole: what it says of missing models, and how it holds many users."""

from __future__ import annotations

import json
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from typer.testing import CliRunner

from gpt_from_scratch import cli

USERS = 20
SELDOM = (0.9, 0.01, 1.1, "zzz")
"""Top-p, min-p, repetition penalty, and where a text stops."""


def ask(address: str, name: str, data: list) -> tuple[str, list]:
    """Return the last event and its data, or the refusal and its text."""
    call = f"{address}/gradio_api/call/{name}"
    asked = requests.post(call, json={"data": data}, timeout=60)
    if not asked.ok:
        return str(asked.status_code), [asked.text]
    told = requests.get(f"{call}/{asked.json()['event_id']}", timeout=120)
    *_, last = told.content.decode().strip().split("\n\n")
    event, content = (line.split(": ", 1)[1] for line in last.split("\n"))
    return event, json.loads(content)


def request(user: int) -> tuple[str, list]:
    return [
        ("write", [f"The keeper {user}", "pretrain", 1.0, 40, 20, user, False, *SELDOM]),
        ("classify", [f"You won prize {user}"]),
        ("instruct", ["Do it", "", 10]),
        ("look", [f"The keys {user}", "gpt2/tiny", 1, 2]),
    ][user % 4]


def test_twenty_users_at_once_lose_no_request(address: str) -> None:
    with ThreadPoolExecutor(USERS) as users:
        together = list(users.map(lambda user: ask(address, *request(user)), range(USERS)))
    assert [event for event, _ in together] == ["complete"] * USERS
    for user in (0, 4, 8, 12, 16):  # each got the answer to what it asked
        assert together[user] == ask(address, *request(user))
        assert f"The keeper {user}" in together[user][1][0]


def test_a_refusal_is_one_line_and_shows_no_trace(address: str) -> None:
    event, content = ask(address, "write", ["", "pretrain", 1.0, 40, 20, 1, False, *SELDOM])
    assert (event, content["error"]) == ("error", "Prompt: expected a text, found none")


def test_the_page_is_for_this_machine_alone_and_asks_nobody_else(address: str) -> None:
    page = requests.get(address, timeout=30)
    assert "default-src 'self'" in page.headers["content-security-policy"]
    settings = requests.get(f"{address}/config", timeout=30).json()
    assert settings["analytics_enabled"] is False
    assert all(sheet.startswith("data:") or "//" not in sheet for sheet in settings["stylesheets"] or [])
    port = int(address.rsplit(":", 1)[1])
    with socket.socket() as other, pytest.raises(OSError):
        other.settimeout(2)
        other.connect(("127.0.0.2", port))


@pytest.mark.slow
def test_more_than_may_wait_are_refused_and_the_others_served(serve, models: Path) -> None:
    before = "from gpt_from_scratch.app import limits; limits.WAITING = 3"
    with serve(models, before) as address, ThreadPoolExecutor(30) as users:
        answers = list(users.map(lambda user: ask(address, *request(4 * user)), range(30)))
    outcomes = {event for event, _ in answers}
    assert outcomes == {"complete", "503"}
    assert all("Queue is full" in content[0] for event, content in answers if event == "503")


def texts(folder: Path) -> str:
    from gpt_from_scratch.app.page import build

    return json.dumps(build(folder).get_config_file()["components"], ensure_ascii=False, default=str)


def test_a_missing_model_is_said_in_its_tab(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "classifier", tmp_path / "classifier")
    page = texts(tmp_path)
    for name in ("pretrain", "instruct"):
        assert f"{tmp_path / name / 'model.safetensors'}: expected a trained model, found none" in page
    assert "expected a trained model" not in texts(models)


def test_a_model_that_comes_while_the_page_is_open_works(serve, models: Path, tmp_path: Path) -> None:
    requests_of = {"classifier": request(1), "pretrain": ("write", ["a", None, 1.0, 40, 2, 1, False, *SELDOM])}
    requests_of["instruct"] = request(2)
    with serve(tmp_path) as address:
        for name, asked in requests_of.items():
            event, content = ask(address, *asked)
            assert event == "error"
            assert "expected a trained model, found none; train it with: make repro" in content["error"]
            shutil.copytree(models / name, tmp_path / name)
            assert ask(address, *asked)[0] == "complete"


def test_a_folder_or_a_port_that_cannot_be_is_one_line(models: Path, tmp_path: Path) -> None:
    def error(*arguments: str) -> str:
        result = CliRunner().invoke(cli.app, ["app", *arguments])
        assert result.exit_code == 1
        return result.stderr

    assert error("--models", str(tmp_path / "none")).startswith(
        f"error: {tmp_path / 'none'}: expected a folder of models"
    )
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        expected = f"error: port {port}: expected a free one, found it taken; choose another with --port\n"
        assert error("--models", str(models), "--port", str(port)) == expected


def test_a_page_that_lets_its_own_name_lead_here_is_refused(address: str) -> None:
    port = address.rstrip("/").rpartition(":")[2]
    for host, status in {
        f"localhost:{port}": 200, "127.0.0.1:9999": 200, "[::1]:80": 200, "LOCALHOST": 200,
        "evil.example": 421, f"evil.example:{port}": 421, "127.0.0.1.evil.example": 421, "10.0.0.1": 421, "": 421,
    }.items():  # fmt: skip
        for path in ("", "/config", "/gradio_api/info"):
            assert requests.get(f"{address}{path}", headers={"Host": host}, timeout=30).status_code == status, host
