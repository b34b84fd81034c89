"""A list is enforced whole or not at all."""

import ipaddress
from pathlib import Path

import pytest

from molecatcher.enforce.prefixes import UnusableList, parse_prefixes, read_prefixes
from molecatcher.enforce.protection import make_plan
from molecatcher.enforce.ruleset import make_ruleset

GOOD = "# a list\n198.51.100.7/32  # ngrok\n198.51.100.6\n\n2001:db8::/64\n"


def test_prefixes_are_read_once_each() -> None:
    assert [str(prefix) for prefix in parse_prefixes(GOOD * 2)] == [
        "198.51.100.6/32",
        "198.51.100.7/32",
        "2001:db8::/64",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "holds no prefix"),
        ("# nothing but words\n", "holds no prefix"),
        ("<!doctype html><title>sign in</title>", "line 1: '<!doctype html>"),
        ("198.51.100.7/32\nconnect.ngrok-agent.com\n", "line 2: 'connect.ngrok-agent.com' is no prefix"),
        ("198.51.100.7/24\n", "is no prefix"),
        ("0.0.0.0/0\n", "wider than /8"),
        ("::/0\n", "wider than /19"),
        ("198.51.100.7; flush ruleset\n", "is no prefix"),
    ],
)
def test_anything_else_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UnusableList, match=reason):
        parse_prefixes(text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnusableList, match=r"absent\.txt: No such file"):
        read_prefixes(tmp_path / "absent.txt")


def test_what_the_host_needs_is_withheld_and_a_list_of_nothing_else_refused() -> None:
    own = ipaddress.ip_network("203.0.113.9/32")
    listed = parse_prefixes("203.0.113.0/24\n198.51.100.7\n")
    plan = make_plan(listed, {own: "this host's own address"})
    assert [str(prefix) for prefix in plan.refused] == ["198.51.100.7/32"]
    assert plan.withheld == {ipaddress.ip_network("203.0.113.0/24"): "this host's own address"}
    with pytest.raises(UnusableList, match="nothing was changed"):
        make_plan(parse_prefixes("203.0.113.9"), {own: "this host's own address"})


def test_a_family_without_prefixes_has_an_empty_set() -> None:
    ruleset = make_ruleset(parse_prefixes("198.51.100.7"))
    assert "flush set inet molecatcher_enforce listed6\n" in ruleset
    assert "add element inet molecatcher_enforce listed6" not in ruleset
