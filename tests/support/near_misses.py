"""Names that are nearly, but not quite, those of the catalogue: made from every entry there is."""

import re
from collections.abc import Iterator

from rules.catalogue.catalogue import Catalogue
from rules.catalogue.service import ListKind
from rules.matching.matcher import EXACT_MARK, is_pattern
from rules.matching.public_suffix import is_registry_suffix


class Oracle:
    """Whether a name is listed, told plainly: every entry tried one after the other."""

    def __init__(self, catalogue: Catalogue) -> None:
        entries = {entry for service in catalogue.services.values() for _, entry in service.entries()}
        self.exact = {entry.removeprefix(EXACT_MARK) for entry in entries if entry.startswith(EXACT_MARK)}
        self.subtrees = {entry for entry in entries if not entry.startswith(EXACT_MARK) and not is_pattern(entry)}
        # `*` and `?` stand for characters of one label
        escaped = (re.escape(entry) for entry in entries if is_pattern(entry))
        self.patterns = [re.compile(text.replace(r"\*", "[^.]*").replace(r"\?", "[^.]")) for text in escaped]

    def __contains__(self, name: str) -> bool:
        return (
            name in self.exact
            or any(name == entry or name.endswith(f".{entry}") for entry in self.subtrees)
            or any(pattern.fullmatch(name) for pattern in self.patterns)
        )


def names(catalogue: Catalogue) -> list[str]:
    """Return every name of the catalogue, and one for each pattern."""
    found = {entry.removeprefix(EXACT_MARK) for row in catalogue.services.values() for _, entry in row.entries()}
    return sorted(name.replace("*", "mc").replace("?", "q") for name in found)


def variants(name: str) -> Iterator[str]:
    """Yield siblings, parents, prefixes, suffixes and other look-alikes of a name."""
    first, _, rest = name.partition(".")
    yield from (f"a.{first}.{rest}.example", f"{first}.a.b.{rest}", f"{first}{first}.{rest}")
    yield from (f"mc-sibling.{rest}", f"{first}-2.{rest}", f"{first}.mc.{rest}")
    yield from (f"not{name}", f"x-{name}", f"evil{first}.{rest}")
    yield from (f"{name}.example.net", f"{name}.corp.example", f"{name.replace('.', '-')}.example.org")
    yield from (f"{name.rpartition('.')[0]}.example", f"{name}x", f"{name}.localdomain")
    while not is_registry_suffix(rest) and "." in rest:
        yield rest
        rest = rest.partition(".")[2]


def spared(catalogue: Catalogue) -> list[str]:
    """Return the names that services exclude, and those that many share."""
    return sorted({*_plain(catalogue, ListKind.EXCLUDED), *catalogue.shared})


def visited(catalogue: Catalogue) -> list[str]:
    """Return a name below each that only visitors open: where an alias of a customer's own domain leads."""
    aliases = [f"abc123.{entry}" for entry in _plain(catalogue, ListKind.ENDPOINT, exact=False)]
    matches = [(alias, catalogue.match(alias)) for alias in aliases]
    return [alias for alias, match in matches if match is not None and match.kinds == {ListKind.ENDPOINT}]


def _plain(catalogue: Catalogue, wanted: ListKind, *, exact: bool = True) -> list[str]:
    return [
        entry.removeprefix(EXACT_MARK)
        for service in catalogue.services.values()
        for kind, entry in service.entries()
        if kind is wanted and not is_pattern(entry) and (exact or not entry.startswith(EXACT_MARK))
    ]
