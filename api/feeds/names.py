"""What every renderer of names checks before it writes one: a name goes into firewalls' files as it is."""

from api.errors import UnrenderableSnapshot
from rules.errors import InvalidName
from rules.names import normalise


def checked(name: str) -> str:
    """Return `name` when it is a canonical name of at least two labels.

    Raises:
        UnrenderableSnapshot: anything else; no list is better than a list with a surprise in it.
    """
    try:
        is_canonical = normalise(name) == name
    except InvalidName:
        is_canonical = False
    if not is_canonical or "." not in name:
        raise UnrenderableSnapshot(f"{name[:80]!r} is not a canonical name of at least two labels")
    return name
