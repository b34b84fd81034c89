"""Command lines without the secrets that people put into them."""

import re
from collections.abc import Iterable
from typing import Final

MAX_CHARACTERS: Final = 512
HIDDEN: Final = "***"

_SECRET = (
    r"(?:tokens?|secrets?|passw(?:or)?d|passphrase|pass|pwd|key|auth|credentials?|cred|cookie|bearer|authorization)"  # noqa: S105 - what they are called
)
_NAMES_SECRET = re.compile(rf"(?i)(?:^|[-_./])[a-z0-9]*{_SECRET}$")  # --authtoken, api_key, config.auth
_ASSIGNED = re.compile(rf"(?i)([a-z0-9_.-]*{_SECRET}[\"']?\s*[=:]\s*)(?:(?:bearer|basic)\s+)?[^\s&;,]+")
_HEADER = re.compile(r"(?i)\b(bearer|basic)\s+\S+")
_USER_INFO = re.compile(r"(?<=://)[^/@\s]+@")
_TOKEN = re.compile(r"(?=[A-Za-z_+=-]*[0-9])(?=[0-9_+=-]*[A-Za-z])[A-Za-z0-9_+=-]{20,}")  # has letters and digits
_SHORT_OPTIONS = frozenset(("-p", "-u", "-P"))  # a password, or user:password


def redact(arguments: Iterable[str]) -> str:
    """Return the arguments in one line of at most 512 characters, what may be a secret replaced by `***`.

    Hidden is the value of an option or word that is called token, key, password, ..., the user of a URL, and every word
    of 20 or more characters with letters and digits in it.
    """
    shown: list[str] = []
    characters = 0
    hides_next = False
    for argument in arguments:
        if characters > MAX_CHARACTERS:
            break
        hides = hides_next and not argument.startswith("--")
        shown.append(HIDDEN if hides else _without_secrets(argument))
        characters += len(shown[-1])
        hides_next = not hides and (argument in _SHORT_OPTIONS or _NAMES_SECRET.search(argument) is not None)
    return _printable(" ".join(shown)[:MAX_CHARACTERS])


def _without_secrets(argument: str) -> str:
    text = _USER_INFO.sub(f"{HIDDEN}@", argument)
    text = _ASSIGNED.sub(rf"\1{HIDDEN}", text)
    text = _HEADER.sub(rf"\1 {HIDDEN}", text)
    return _TOKEN.sub(HIDDEN, text)


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else " " for character in text)
