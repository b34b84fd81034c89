"""Whom an exception names: the values that it gives for the fields of a source, checked, in the form compared."""

import re
from collections.abc import Callable, Iterator

from rules.errors import InvalidPolicy
from rules.matching.names import fold
from rules.policy.tables import ExceptionTable

_USER = re.compile(r"[^\s:/,\x00-\x1f]+")
_HOST = re.compile(r"[a-z0-9_.-]+")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_PATH = re.compile(r"/[^\x00-\x1f]*[^\x00-\x1f/]")
_CONTAINER = re.compile(r"[a-z]+:[\w.@:\\-]+")

# The keys of the table by the fields of a source.
TABLE_KEYS = {"user": "users", "host": "hosts", "mac": "macs", "exe": "executables", "container": "containers"}

Refusal = Callable[[str, str], InvalidPolicy]  # of a key and what is wrong there


def read_who(key: str, row: ExceptionTable, refusal: Refusal) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield the fields of a source with the values that an exception names for them.

    Raises:
        InvalidPolicy: a value cannot be one.
    """
    macs = [text.lower().replace("-", ":") for text in row.macs]
    for field_name, table_key, texts, pattern, example in (
        ("user", "users", row.users, _USER, "alice"),
        ("host", "hosts", [fold(text) for text in row.hosts], _HOST, "build-7"),
        ("mac", "macs", macs, _MAC, "02:00:5e:10:00:01"),
        ("exe", "executables", row.executables, _PATH, "/usr/bin/cloudflared"),
        ("container", "containers", row.containers, _CONTAINER, "docker:4f1c2a9b7d3e"),
    ):
        for text in texts:
            if not pattern.fullmatch(text):
                raise refusal(f"{key}.{table_key}", f"{text!r} cannot be one; write it as {example}")
        yield field_name, frozenset(texts)
