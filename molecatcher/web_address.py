"""Addresses that people give: what is one, and which may carry a secret or what is trusted."""

from urllib.parse import SplitResult, urlsplit

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def split_address(url: str) -> SplitResult | None:
    """Return the parts of an http or https address, None if it is none."""
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a bracket that is not closed, a port that is no number
        return None
    return parts if is_address else None


def is_private(parts: SplitResult) -> bool:
    """Tell whether nobody on the way can read or change what is exchanged: over TLS, or with this host."""
    return parts.scheme == "https" or parts.hostname in LOOPBACK
