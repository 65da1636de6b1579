"""The page itself: its four tabs, its looks, and how it is served, to this machine alone."""

from __future__ import annotations

import contextlib
import ipaddress
import os
from pathlib import Path
from urllib.parse import urlsplit

# Read by Gradio whenever it would report something; it never shall.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import gradio as gr
import torch
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gpt_from_scratch.app import classify, inspect, instruct, limits, write
from gpt_from_scratch.app.shelf import Shelf
from gpt_from_scratch.errors import InputError
from gpt_from_scratch.files.local_addresses import bypass_proxies
from gpt_from_scratch.training.ranks import usable_cores

TABS = {
    "Write": (write, "Let a model continue a text"),
    "Classify": (classify, "Is a message spam?"),
    "Instruct": (instruct, "Ask for something"),
    "Look inside": (inspect, "See what a model makes of a text"),
}
STYLE = Path(__file__).with_name("page.css")
# Gradio's own page has inline scripts and styles, and makes functions out of its components' templates.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; object-src 'none'; "
    "frame-ancestors 'none'; form-action 'self'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]


def build(models: Path) -> gr.Blocks:
    """Return the page over the models in a folder; a tab whose model is not there says so, and works once it is.

    Raises:
        InputError: when the folder is not there.
    """
    if not models.is_dir():
        raise InputError(f"{models}: expected a folder of models, found none; train them with: make repro")
    shelf = Shelf(models)
    # What was uploaded or made for a download is forgotten after an hour.
    with gr.Blocks(title="GPT From Scratch", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.Markdown("# GPT From Scratch")
        for name, (tab, title) in TABS.items():
            with gr.Tab(name) as opened:
                gr.Markdown(f"## {title}")
                tab.build(shelf, [page.load, opened.select])
    page.queue(max_size=limits.WAITING, default_concurrency_limit=limits.AT_ONCE)
    return page


def serve(models: Path, port: int, *, wait: bool = True) -> str:
    """Serve the page on 127.0.0.1 until Ctrl-C, and return its address.

    Args:
        wait: return only when it has ended.

    Raises:
        InputError: when the folder of models is not there, or the port is taken.
    """
    bypass_proxies()  # Gradio asks its own server whether it runs
    torch.set_num_threads(max(1, usable_cores() // limits.AT_ONCE))
    page = build(models)
    try:
        _, address, _ = page.launch(
            server_name="127.0.0.1",
            server_port=port,
            share=False,
            ssr_mode=False,
            mcp_server=False,
            enable_monitoring=False,
            run_history=False,
            footer_links=[],
            max_file_size=limits.FILE_BYTES,
            theme=_theme(),
            css_paths=[STYLE],
            app_kwargs={"middleware": [Middleware(_SameOrigin)]},
            quiet=True,
            prevent_thread_lock=True,
        )
    except OSError:
        raise InputError(f"port {port}: expected a free one, found it taken; choose another with --port") from None
    print(f"The page: {address} (Ctrl-C ends it)", flush=True)
    if wait:
        page.block_thread()
    return address


def _theme() -> gr.Theme:
    """Return Gradio's plain theme in the machine's own fonts, in colours of enough contrast."""
    blue = gr.themes.colors.blue
    return gr.themes.Base(
        primary_hue=blue,
        neutral_hue=gr.themes.colors.slate,
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(
        button_primary_background_fill=blue.c700,
        button_primary_background_fill_hover=blue.c800,
        button_primary_background_fill_dark=blue.c700,
        button_primary_text_color="white",
        body_text_color_subdued=gr.themes.colors.slate.c600,
        body_text_color_subdued_dark=gr.themes.colors.slate.c300,
        block_info_text_color=gr.themes.colors.slate.c600,
        block_info_text_color_dark=gr.themes.colors.slate.c300,
        block_label_text_color=gr.themes.colors.slate.c700,
        block_title_text_color=gr.themes.colors.slate.c700,
    )


class _SameOrigin:
    """Adds headers to every answer by which the browser, too, holds that nothing comes from or goes elsewhere.

    A request under a foreign name is refused: a page from elsewhere could have let its own name lead here (DNS
    rebinding). Any port is right, since it may have been forwarded.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        if scope["type"] in ("http", "websocket") and not _names_this_machine(scope):
            text = "expected localhost or a loopback address as the page's address, found another host's name"
            await PlainTextResponse(text, status_code=421)(scope, receive, send)
        else:
            await self.app(scope, receive, send_with_headers)


def _names_this_machine(scope: Scope) -> bool:
    """Return whether a request's `Host` is localhost or a loopback address, with any port."""
    host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
    with contextlib.suppress(ValueError):
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    return False
