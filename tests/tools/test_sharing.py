"""An exported folder on its way to the Hugging Face Hub, here a server of the tests' own, and to llama.cpp."""

from __future__ import annotations

import base64
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gpt_from_scratch.errors import InputError
from gpt_from_scratch.pipeline.llama_cpp import CONVERTER, to_gguf
from gpt_from_scratch.tools.hub import check_repository, publish


class Hub(BaseHTTPRequestHandler):
    """The requests that creating a repository and uploading files take, those ending in .bin by LFS."""

    status, asked, files, blobs, private = 200, [], {}, {}, True

    def do_GET(self) -> None:
        self._answer({"id": "me/mine", "sha": "0" * 40, "siblings": [], "modelId": "me/mine", "private": Hub.private})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Hub.asked.append((self.path, self.headers.get("Authorization")))
        if self.path.endswith("/preupload/main"):
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = {True: "lfs", False: "regular"}
            about = {"shouldIgnore": False, "oid": None}
            files = [{"path": name, "uploadMode": modes[name.endswith(".bin")], **about} for name in names]
            self._answer({"files": files})
        elif self.path.endswith("/info/lfs/objects/batch"):
            where = f"{self.server.address}/blobs"
            objects = [
                {**one, "actions": {"upload": {"href": f"{where}/{one['oid']}"}}} for one in json.loads(body)["objects"]
            ]
            self._answer({"transfer": "basic", "objects": objects})
        elif self.path.split("?")[0].endswith("/commit/main"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    Hub.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                elif line["key"] == "lfsFile":
                    Hub.files[line["value"]["path"]] = Hub.blobs[line["value"]["oid"]]
            self._answer({"commitUrl": f"{self.server.address}/me/mine/commit/1", "commitOid": "1", "hookOutput": ""})
        elif self.path == "/api/repos/create":
            Hub.created = json.loads(body)
            self._answer({"url": f"{self.server.address}/me/mine", "id": "me/mine"})
        else:
            self._answer({"errors": [], "warnings": []})

    def do_PUT(self) -> None:
        Hub.blobs[self.path.rsplit("/", 1)[1]] = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer({})

    def _answer(self, content: Any) -> None:
        text = json.dumps(content).encode()
        self.send_response(Hub.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    from huggingface_hub import constants, hf_api

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.address = f"http://127.0.0.1:{server.server_port}"
    Hub.status, Hub.asked, Hub.files, Hub.blobs, Hub.private = 200, [], {}, {}, True
    for module, name in ((constants, "ENDPOINT"), (hf_api.constants, "ENDPOINT")):
        monkeypatch.setattr(module, name, server.address)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.address
    server.shutdown()
    server.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "mine"
    made.mkdir()
    (made / "config.json").write_text("{}")
    (made / "model.safetensors").write_bytes(b"weights" * 1000)
    return made


def test_a_dry_run_lists_the_files_and_sends_nothing(hub, folder):
    *files, last = publish(folder, "me/mine", push=False)
    assert [line.split() for line in files] == [["config.json", "0.0", "MB"], ["model.safetensors", "0.0", "MB"]]
    assert last == f"nothing was sent; with --push it goes to {hub}/me/mine, a private repository"
    assert Hub.asked == []


def test_all_files_arrive_in_a_private_repository(hub, folder):
    assert list(publish(folder, "me/mine", push=True))[-1] == f"{hub}/me/mine: pushed"
    assert Hub.files == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert Hub.created["name"] == "mine" and Hub.created.get("private", Hub.created.get("visibility")) in (
        True,
        "private",
    )
    assert {token for _, token in Hub.asked} == {"Bearer hf_secret"}


def test_a_public_repository_is_sent_nothing_unasked(hub, folder):
    Hub.private = False
    with pytest.raises(InputError, match="expected a private repository, found a public one; --public"):
        list(publish(folder, "me/mine", push=True))
    assert Hub.files == {} and {path for path, _ in Hub.asked} == {"/api/repos/create"}
    assert list(publish(folder, "me/mine", push=True, public=True))[-1] == f"{hub}/me/mine: pushed"
    assert Hub.created.get("private", Hub.created.get("visibility")) in (False, "public")


def test_a_large_file_goes_by_lfs(hub, folder, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)  # Xet's own protocol is not imitated
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    (folder / "weights.bin").write_bytes(bytes(range(256)) * 4000)
    list(publish(folder, "me/mine", push=True))
    assert Hub.files == {path.name: path.read_bytes() for path in folder.iterdir()} and len(Hub.blobs) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_one_line_with_the_cure_and_without_the_token(hub, folder, status):
    Hub.status = status
    with pytest.raises(InputError, match=r"expected the hub to take it, found: .*; .* a token that") as refused:
        list(publish(folder, "me/mine", push=True))
    assert "hf_secret" not in str(refused.value) and "\n" not in str(refused.value)


def test_what_cannot_be_sent_is_refused(monkeypatch):
    for name in ("a b/c", "mine"):
        with pytest.raises(InputError, match=f"--hub: expected USER/NAME, found '{name}'"):
            check_repository(name, push=False)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    check_repository("me/mine", push=False)
    with pytest.raises(InputError, match=r"--push: expected a token of the Hugging Face Hub, found none; .* HF_TOKEN"):
        check_repository("me/mine", push=True)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match="--hub: the package huggingface_hub is not installed: pip install"):
        check_repository("me/mine", push=False)


def test_the_converter_is_looked_for_and_its_command_shown(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.delenv("LLAMA_CPP", raising=False)
    out = tmp_path / "mine.gguf"
    assert to_gguf(folder).endswith(f"python {CONVERTER} {folder} --outfile {out}")
    tool = tmp_path / "llama.cpp"
    tool.mkdir()
    script = "import pathlib, sys\npathlib.Path(sys.argv[3]).write_text('GGUF of ' + sys.argv[1])\n"
    (tool / CONVERTER).write_text(script)
    monkeypatch.setenv("LLAMA_CPP", str(tool))
    assert to_gguf(folder) == f"{out}: written by {tool / CONVERTER}"
    assert out.read_text() == f"GGUF of {folder}"
    with pytest.raises(InputError, match=r"mine\.gguf: exists already; --force"):
        to_gguf(folder)
    for failing, message in (("raise SystemExit('no such model')", "code 1: no such model"), ("", "code 0: no output")):
        (tool / CONVERTER).write_text(failing)
        with pytest.raises(InputError, match=rf"expected .*mine\.gguf, found {message}"):
            to_gguf(folder, force=True)
        assert out.read_text() == f"GGUF of {folder}"  # what was there stays
