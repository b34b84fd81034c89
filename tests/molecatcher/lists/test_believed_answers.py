"""Resolvers that lie about the listed names, perhaps because they have our own list."""

from pathlib import Path

import pytest
from dns_server import unbound
from observations import NOW_NS
from publishing import CATALOGUE, setting

from db.store import Store
from molecatcher.names.resolve import NameResolver
from rules.lists.address_building import names_to_resolve
from rules.policy.policy import Policy

LISTED = sorted(names_to_resolve(CATALOGUE, Policy(), NOW_NS))


@pytest.mark.parametrize("lie", [(), ("0.0.0.0",), ("10.1.1.1",)])
def test_a_resolver_that_begins_to_block_the_names_changes_nothing(
    tmp_path: Path, store: Store, lie: tuple[str, ...]
) -> None:
    truth = {name: (f"5.0.0.{number}",) for number, name in enumerate(LISTED[:12])}
    with setting(tmp_path, store, "", truth) as here:
        assert here.publisher.resolve_and_publish()
        before = here.prefixes()
    with unbound(tmp_path, dict.fromkeys(LISTED, lie)) as liar:
        here.publisher._lookups._resolver = NameResolver([liar], timeout_s=2)
        assert here.publisher.resolve_and_publish()
    assert here.prefixes() == before
    assert before is not None
    assert "5.0.0.3/32" in before


@pytest.mark.parametrize("lie", [(), ("0.0.0.0",)])
def test_a_resolver_that_blocks_every_name_gives_no_list(tmp_path: Path, store: Store, lie: tuple[str, ...]) -> None:
    with setting(tmp_path, store, "", dict.fromkeys(LISTED, lie)) as here:
        assert not here.publisher.resolve_and_publish()
    assert here.prefixes() is None
    assert "block them" in here.publisher.resolution_problem


def test_an_address_that_answers_for_everything_is_not_listed(tmp_path: Path, store: Store) -> None:
    answers = dict.fromkeys(LISTED, ("198.51.100.1",)) | {"serveo.net": ("5.255.123.12", "198.51.100.1")}
    with setting(tmp_path, store, "", answers) as here:
        assert here.publisher.resolve_and_publish()
        prefixes = here.prefixes()
    assert prefixes is not None
    assert "5.255.123.12/32" in prefixes
    assert "198.51.100.1/32" not in prefixes
