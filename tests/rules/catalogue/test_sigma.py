"""The Sigma rules are what pysigma takes, and find in SQL what the catalogue finds."""

import re
import sqlite3
from collections.abc import Iterator

import pytest
from observations import NOW_NS
from sigma.backends.sqlite.sqlite import sqliteBackend
from sigma.collection import SigmaCollection
from sigma.rule import SigmaRule
from sigma.validation import SigmaValidator
from sigma.validators.core import validators

from rules.catalogue.catalogue import Catalogue, load_catalogue
from rules.catalogue.service import ListKind
from rules.catalogue.sigma import sigma_rules
from rules.policy.reader import parse_policy

SANCTIONED = '[[sanctioned]]\ndomain = "tunnels.example.com"\nservice = "ngrok"\nowner = "o"\nreason = "r"\n'


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


@pytest.fixture(scope="module")
def collection(catalogue: Catalogue) -> SigmaCollection:
    return SigmaCollection.from_yaml("---\n".join(sigma_rules(catalogue, ())))


def names(catalogue: Catalogue) -> Iterator[str]:
    """Every listed name as itself, with a label more, and as what only looks like it."""
    for service in catalogue.services.values():
        for _, entry in service.entries():
            name = entry.removeprefix("=").replace("*", "x1").replace("?", "y")
            yield from (name, f"a.{name}", f"not{name}", f"{name}.example.net")
        yield from service.near_misses


def found_by(conditions: list[str], field: str, rows: list[str]) -> set[str]:
    """Return which names any of the converted rules finds in a table of them."""
    database = sqlite3.connect(":memory:")
    database.create_function("REGEXP", 2, lambda pattern, text: re.search(pattern, text) is not None)
    database.execute(f'CREATE TABLE logs ("{field}" TEXT)')
    database.executemany("INSERT INTO logs VALUES (?)", [(row,) for row in rows])
    found: set[str] = set()
    for query in conditions:
        found |= {row[0] for row in database.execute(query.replace("<TABLE_NAME>", "logs"))}
    database.close()
    return found


def test_pysigma_takes_every_rule(collection: SigmaCollection) -> None:
    assert len(collection.rules) > 200
    assert [error for rule in collection.rules for error in rule.errors] == []
    wanted = {
        "identifier_existence",
        "identifier_uniqueness",
        "duplicate_title",
        "dangling_detection",
        "wildcards_instead_of_modifiers",
    }
    validator = SigmaValidator({validators[name] for name in wanted})
    assert validator.validate_rules(iter(rules_of(collection))) == []


def as_sql(collection: SigmaCollection) -> list[str]:
    backend = sqliteBackend()  # type: ignore[no-untyped-call]
    return [str(query) for query in backend.convert(collection)]


def rules_of(collection: SigmaCollection) -> list[SigmaRule]:
    return [rule for rule in collection.rules if isinstance(rule, SigmaRule)]


@pytest.mark.parametrize(("source", "field"), [("dns", "query"), ("proxy", "cs-host"), ("tls", "server_name")])
def test_they_find_what_the_catalogue_says_of_agents(
    catalogue: Catalogue, collection: SigmaCollection, source: str, field: str
) -> None:
    rules = [rule for rule in rules_of(collection) if rule.title.endswith(f"({source})")]
    queries = as_sql(SigmaCollection([*rules]))
    rows = sorted(set(names(catalogue)))
    expected = set()
    for service in catalogue.services.values():
        table = {entry for kind, entry in service.entries() if kind is ListKind.AGENT}
        excluded = {entry for kind, entry in service.entries() if kind is ListKind.EXCLUDED}
        expected |= {row for row in rows if is_listed(row, table) and not is_listed(row, excluded)}
    assert found_by(queries, field, rows) == expected
    assert len(expected) > 300


def is_listed(name: str, entries: set[str]) -> bool:
    """A plain reading of what an entry means."""
    for entry in entries:
        if "*" in entry or "?" in entry:
            glob = "".join(
                "[^.]*" if letter == "*" else "[^.]" if letter == "?" else re.escape(letter) for letter in entry
            )
            if re.fullmatch(glob, name):
                return True
        elif entry.startswith("="):
            if name == entry[1:]:
                return True
        elif name == entry or name.endswith(f".{entry}"):
            return True
    return False


def test_what_is_sanctioned_is_not_found(catalogue: Catalogue) -> None:
    text = SANCTIONED.replace("tunnels.example.com", "ours.ngrok-agent.com")
    sanctions = parse_policy(text, "policy.toml", catalogue, NOW_NS).active_sanctions(NOW_NS)
    sanctioned = [sanction.domain for sanction in sanctions]
    documents = [row for row in sigma_rules(catalogue, sanctioned) if "(dns)" in row and "ngrok-agent.com" in row]
    queries = as_sql(SigmaCollection.from_yaml("---\n".join(documents)))
    rows = ["ours.ngrok-agent.com", "a.ours.ngrok-agent.com", "theirs.ngrok-agent.com"]
    assert found_by(queries, "query", rows) == {"theirs.ngrok-agent.com"}
