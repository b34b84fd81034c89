"""A catalogue bundle and its signature, from a file or over HTTPS."""

import http.client
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from molecatcher import __version__
from molecatcher.catalogue.bundles import MAX_OCTETS, SIGNATURE_SUFFIX
from molecatcher.commands.progress import OnProgress
from molecatcher.errors import CatalogueError
from molecatcher.web_address import is_private, split_address

TIMEOUT_S = 20.0
PIECE_OCTETS = 64 * 1024
MAX_SIGNATURE_OCTETS = 4096


def is_url(source: str) -> bool:
    """Tell whether `source` is an address rather than a file."""
    return "://" in source


def read_source(source: str, on_progress: OnProgress) -> bytes:
    """Return the octets of the bundle at `source`, 8 MiB at most.

    Raises:
        CatalogueError: it cannot be had.
    """
    return _get(_checked(source), MAX_OCTETS, on_progress) if is_url(source) else _read(Path(source))


def read_signature(source: str) -> bytes:
    """Return the signature that lies beside `source`.

    Raises:
        CatalogueError: there is none.
    """
    if not is_url(source):
        return _read(Path(f"{source}{SIGNATURE_SUFFIX}"))
    parts = urlsplit(_checked(source))
    url = urlunsplit(parts._replace(path=f"{parts.path}{SIGNATURE_SUFFIX}"))
    return _get(url, MAX_SIGNATURE_OCTETS, lambda _done, _size: None)


def _checked(url: str) -> str:
    parts = split_address(url)
    if parts is None or not is_private(parts):
        raise CatalogueError(f"{url} is not fetched: give an https address (http is for this host only) or a file")
    return url


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            octets = file.read(MAX_OCTETS + 1)
    except OSError as error:
        raise CatalogueError(f"{path} cannot be read: {error.strerror}") from None
    return octets


def _get(url: str, most: int, on_progress: OnProgress) -> bytes:
    request = urllib.request.Request(url, headers={"User-Agent": f"molecatcher-catalogue/{__version__}"})  # noqa: S310 - checked
    octets = b""
    try:
        with urllib.request.build_opener(_SameScheme).open(request, timeout=TIMEOUT_S) as answer:
            size = int(answer.headers.get("Content-Length") or 0)
            while len(octets) <= most and (piece := answer.read(PIECE_OCTETS)):
                octets += piece
                on_progress(len(octets), size)
    except urllib.error.HTTPError as error:
        raise CatalogueError(f"{url} answered {error.code} {error.reason}; the catalogue stays as it is") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise CatalogueError(f"{url} could not be had ({error}); the catalogue stays as it is") from None
    if len(octets) > most:
        raise CatalogueError(f"{url} has more than {most:,} octets: it is not what was looked for")
    if size and len(octets) != size:
        raise CatalogueError(
            f"{url} was cut off after {len(octets):,} of {size:,} octets; the catalogue stays as it is"
        )
    return octets


class _SameScheme(urllib.request.HTTPRedirectHandler):
    """A redirect is followed where a plain address would be allowed."""

    def redirect_request(self, request: urllib.request.Request, *rest: object) -> urllib.request.Request | None:
        """Return the request to follow."""
        _checked(str(rest[-1]))
        return super().redirect_request(request, *rest)  # type: ignore[arg-type]
