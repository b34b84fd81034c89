"""Asks another host's API over HTTPS, with a token; a token's file is read each time, so it may change."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import msgspec
import requests

from db.errors import StoreUnavailable
from molecatcher import __version__
from molecatcher.errors import SetupError
from molecatcher.settings import Settings
from molecatcher.web_address import is_private, split_address

TIMEOUT_S = (5.0, 30.0)  # to connect, between octets of the answer
MAX_OCTETS = 16 << 20
PIECE_OCTETS = 64 * 1024
MAX_SAID = 300
ADVICE: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "its token is not good there, or not from here: make one with `molecatcher token create`",
    HTTPStatus.FORBIDDEN: "its token is for another sensor, or not for events:write",
}


UNIT = "INVOCATION_ID"  # set by systemd
NOT_ALLOWED = (
    ": if the API or the resolver has another address than before, its unit must allow that: `systemctl edit "
    "molecatcher-sensor`, [Service] IPAddressAllow=ADDRESS, and restart it"
)


class _Problem(msgspec.Struct, frozen=True):
    detail: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API answered; `is_unchanged`: the caller has it already. Names of headers are in any case."""

    body: bytes
    headers: Mapping[str, str]
    is_unchanged: bool = False


class ApiClient:
    """One API. `token` is one, or the file that holds it.

    `ca` is whom alone to trust for the API's certificate; None: the system's authorities, or `SSL_CERT_FILE`.
    """

    def __init__(self, url: str, token: str | Path, ca: Path | None = None) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._ca = ca

    def post(self, path: str, body: bytes, media_type: str) -> bytes:
        """Send `body` and return the answer.

        Raises:
            StoreUnavailable: it was not taken.
        """
        return self._ask("POST", path, {"Content-Type": media_type}, body).body

    def get(self, path: str, etag: str = "") -> Answer:
        """Return what is there, unless it still has the entity tag `etag`.

        Raises:
            StoreUnavailable: it could not be had.
        """
        return self._ask("GET", path, {"If-None-Match": etag} if etag else {}, None)

    def _ask(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> Answer:
        try:
            token = self._token if isinstance(self._token, str) else self._token.read_text(encoding="ascii").strip()
            sent = {"Authorization": f"Bearer {token}", "User-Agent": f"molecatcher-sensor/{__version__}", **headers}
            verify = str(self._ca) if self._ca else os.environ.get("SSL_CERT_FILE") or True
            answer = requests.request(
                method,
                self.url + path,
                data=body,
                headers=sent,
                timeout=TIMEOUT_S,
                allow_redirects=False,
                verify=verify,
                stream=True,
            )
            with answer:
                content = _read(answer)
        except (requests.RequestException, OSError, UnicodeDecodeError) as error:
            raise StoreUnavailable(f"{self.url} cannot be reached ({_cause(error)})") from error
        if answer.status_code == HTTPStatus.NOT_MODIFIED:
            return Answer(b"", answer.headers, is_unchanged=True)
        if not answer.ok or answer.is_redirect or content is None:
            advice = ADVICE.get(answer.status_code) or _said(content) or "it is asked again"
            raise StoreUnavailable(f"{self.url} answers {answer.status_code}: {advice}")
        return Answer(content, answer.headers)


def client_of(settings: Settings, url: str) -> ApiClient:
    """Return who asks the API at `url` with the token of the settings.

    Raises:
        SetupError: not an https address, or no token for it.
    """
    require_safe(url, "--api")
    if settings.token_file is None or not settings.token_file.is_file():
        raise SetupError("--api needs --token-file: `molecatcher enrol` or `molecatcher token create` makes a token")
    return ApiClient(url, settings.token_file, settings.api_ca)


def require_safe(url: str, option: str) -> None:
    """Return if a token may be sent to `url`: over TLS, or to this host.

    Raises:
        SetupError: it may not.
    """
    parts = split_address(url)
    if parts is None or not is_private(parts):
        raise SetupError(f"{url!r}: give {option} https://HOST:PORT; a token is not sent in the clear")


def _cause(error: Exception) -> str:
    """Return what kept a request from being sent, and what to change where a unit's `IPAddressAllow=` may be why.

    What that forbids looks like an address, or a resolver, that does not answer.
    """
    first: BaseException = error
    while below := first.__cause__ or first.__context__:
        first = below
    is_silent = isinstance(error, requests.ConnectTimeout) or isinstance(first, socket.gaierror)
    return type(error).__name__ + (NOT_ALLOWED if is_silent and UNIT in os.environ else "")


def _said(content: bytes | None) -> str:
    """Return what a problem document says to do, an empty text where the answer is none."""
    try:
        return msgspec.json.decode(content or b"", type=_Problem).detail[:MAX_SAID]
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""


def _read(answer: requests.Response) -> bytes | None:
    """Return the body, None for one that is too long."""
    pieces, octets = [], 0
    for piece in answer.iter_content(PIECE_OCTETS):
        octets += len(piece)
        if octets > MAX_OCTETS:
            return None
        pieces.append(piece)
    return b"".join(pieces)
