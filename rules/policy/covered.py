"""The names that nobody may sanction, since somebody else's tunnels lie at or below them."""

from rules.catalogue.catalogue import Catalogue
from rules.matching.matcher import EXACT_MARK
from rules.matching.names import ancestors


def covered_entries(catalogue: Catalogue) -> dict[str, str]:
    """Return for every name at or above a catalogue entry the first entry there."""
    covered: dict[str, str] = {}
    for service in catalogue.services.values():
        for _, entry in service.entries():
            name = entry.removeprefix(EXACT_MARK)
            for parent in ancestors(name):
                covered.setdefault(parent, name)
    return covered
