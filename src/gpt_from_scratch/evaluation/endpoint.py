"""A larger model behind any OpenAI-compatible chat endpoint: what judges, and what generates data.

Ollama's, which the book asks, is `http://localhost:11434/v1`.
"""

from __future__ import annotations

import ipaddress
import json
import os
import time
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from gpt_from_scratch.errors import InputError, reason, shown
from gpt_from_scratch.files.local_addresses import bypass_proxies

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 180.0
"""Time for one answer: a model that runs on this machine is first loaded."""
TRIES_AGAIN = 4
PAUSE_SECONDS = 1.0
"""The pause before the third try, the second is at once; each later pause is twice as long as the one before it."""
LONGEST_PAUSE_SECONDS = 60
LARGEST_REPLY = 2**20
_PASSING = (408, 429, 500, 502, 503, 504)


class _Retry(urllib3.Retry):
    """Pauses as usual where a host asks for neither whole seconds nor a date."""

    def parse_retry_after(self, retry_after: str) -> float:
        try:
            return super().parse_retry_after(retry_after)
        except urllib3.exceptions.InvalidHeader:
            return 0.0


class Endpoint:
    """A model at an endpoint.

    The key goes into the request's header and nowhere else, and only over https or to this machine.

    Args:
        name: what errors call it.
        url: address up to /chat/completions.
        model: name at the endpoint.
        key_variable: the environment variable that has the key; it may be empty.
        answer_seconds, pause_seconds: see `ANSWER_SECONDS` and `PAUSE_SECONDS`.

    Raises:
        InputError: when the key cannot stand in a header.
    """

    def __init__(
        self,
        name: str,
        url: str,
        model: str,
        key_variable: str,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._name, self._model, self._key_variable = name, model, key_variable
        self._answer_seconds = answer_seconds
        self._url = f"{url.rstrip('/')}/chat/completions"
        key = os.environ.get(key_variable, "").strip()
        if not (key.isascii() and key.isprintable()):
            raise InputError(f"{key_variable} in the environment: expected a key of printable ASCII characters")
        here = _is_here(self._url)
        self._key = key if here or self._url.startswith("https:") else ""
        bypass_proxies()
        self._session = requests.Session()
        self._session.trust_env = not here  # a proxy is for other machines
        # Asking twice does no harm, so that a POST is tried again too; what is away or hangs, not as often.
        retry = _Retry(
            total=TRIES_AGAIN,
            connect=2,
            read=1,
            status_forcelist=_PASSING,
            allowed_methods=["POST"],
            backoff_factor=pause_seconds / 2,
            backoff_max=LONGEST_PAUSE_SECONDS,
            retry_after_max=LONGEST_PAUSE_SECONDS,
            raise_on_status=False,
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))

    def reply(self, prompt: str, seed: int, temperature: float = 0) -> str:
        """Return the answer to a prompt, without the thoughts that a reasoning model writes before it.

        It is empty where the model refuses to give one, and where the endpoint's limit cut it.

        Raises:
            InputError: when the model does not answer, also not when asked again.
        """
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": temperature,
            "seed": seed,
            "stream": False,
        }
        timeout = (CONNECT_SECONDS, self._answer_seconds)
        try:
            # With `auth`, no password is looked for in ~/.netrc; a redirect would take the entries elsewhere.
            with self._session.post(
                self._url, json=body, timeout=timeout, auth=self._authorised, allow_redirects=False, stream=True
            ) as response:
                return self._content(response)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise self._away(f"found {_cause(error)}") from None

    def _authorised(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def _content(self, response: requests.Response) -> str:
        # Not all that a host likes to send, and not for as long as it likes.
        content, end = b"", time.monotonic() + self._answer_seconds
        while len(content) < LARGEST_REPLY and (part := response.raw.read1(LARGEST_REPLY, decode_content=True)):
            content += part
            if time.monotonic() > end:
                raise self._away(f"found it unfinished after {self._answer_seconds:g} seconds")
        text = content.decode("utf-8", "replace")
        if response.status_code != 200:
            hint = (
                f" (is {self._key_variable} set?)" if response.status_code in (401, 403) else f": {self._hidden(text)}"
            )
            raise self._away(f"found status {response.status_code} {response.reason}{hint}")
        try:
            choice = json.loads(text)["choices"][0]
            reply, ending = choice["message"]["content"], choice.get("finish_reason")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise self._away(f"found {self._hidden(text)}") from None
        if not isinstance(reply, str) or ending == "length":  # null where a model refuses to say anything
            return ""
        # JSON can spell half a character.
        return _without_thoughts(reply.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))

    def _hidden(self, text: str) -> str:
        return shown(text.replace(self._key, "***") if self._key else text)

    def _away(self, found: str) -> InputError:
        return InputError(f"{self._name}: {self._url}: expected an answer of {self._model}, {found}")


def _without_thoughts(reply: str) -> str:
    """Return what follows `</think>`, whose beginning some endpoints count to the prompt."""
    thoughts, end, answer = reply.partition("</think>")
    if thoughts.lstrip().startswith("<think>") or (end and "<think>" not in thoughts):
        return answer
    return reply


def _is_here(url: str) -> bool:
    """Return whether an address is this machine's own."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _cause(error: Exception) -> str:
    """Return the error below the layers that wrap it."""
    inner = error.args[0] if error.args else error
    return reason(getattr(inner, "reason", None) or inner) or type(error).__name__
