"""A catalogue in one file: JSON that holds the files of the catalogue as they are. Its signature lies in `FILE.sig`."""

from collections.abc import Mapping

import msgspec

from molecatcher.errors import CatalogueError

FORMAT = "molecatcher-catalogue-1"
SIGNATURE_SUFFIX = ".sig"
MAX_OCTETS = 8 << 20


class Bundle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The files of a catalogue by their path."""

    format: str
    files: dict[str, str]


def pack(files: Mapping[str, str]) -> bytes:
    """Return the bundle that holds `files`, the same octets for the same files."""
    bundle = Bundle(FORMAT, dict(sorted(files.items())))
    return msgspec.json.format(msgspec.json.encode(bundle), indent=1) + b"\n"


def unpack(octets: bytes, what: str) -> dict[str, str]:
    """Return the files that a bundle holds; `what` is it for the message.

    Raises:
        CatalogueError: it is none.
    """
    if len(octets) > MAX_OCTETS:
        raise CatalogueError(f"{what} has more than {MAX_OCTETS >> 20} MiB: no catalogue is that large")
    try:
        bundle = msgspec.json.decode(octets, type=Bundle)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CatalogueError(
            f"{what} is no catalogue bundle ({error}): `molecatcher catalogue sign` makes one"
        ) from None
    if bundle.format != FORMAT:
        advice = f"this program reads {FORMAT}: upgrade it, or ask for a bundle of that format"
        raise CatalogueError(f"{what} has the format {bundle.format!r}; {advice}")
    return bundle.files
