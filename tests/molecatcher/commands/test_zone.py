"""`molecatcher zone key`, as a person uses it."""

import getpass
import json
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from api.zone.keys import tsig_key
from db.access.values import AuditFilter
from db.store import open_store
from molecatcher.cli import app
from molecatcher.lists.zone_keys import ZoneKeyFiles

OPTIONS = ("--allow", "10.1.0.53/32", "--notify", "10.1.0.53", "--server", "10.0.0.1:5353")


def run(state: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["zone", "key", *words, "--state", str(state)])


def test_a_key_is_made_kept_for_its_owner_alone_and_configured(tmp_path: Path) -> None:
    made = run(tmp_path, "create", "bind-berlin", *OPTIONS)
    assert made.exit_code == 0, made.output
    (path,) = (tmp_path / "zone_keys").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    (key,) = ZoneKeyFiles(tmp_path / "zone_keys").load()
    assert len(tsig_key(key).secret) == 32
    assert (key.allowed, key.notify) == (("10.1.0.53/32",), ("10.1.0.53",))
    assert made.stdout.count(key.secret) == 3  # BIND, PowerDNS, Knot
    assert 'primaries { 10.0.0.1 port 5353 key "bind-berlin"; };' in made.stdout
    assert 'rpzPrimary({"10.0.0.1:5353"}, "molecatcher.rpz"' in made.stdout
    assert run(tmp_path, "show", "bind-berlin", "--server", "10.0.0.1:5353").stdout == made.stdout


def test_keys_are_listed_without_their_secrets(tmp_path: Path) -> None:
    run(tmp_path, "create", "bind-berlin", *OPTIONS)
    (key,) = ZoneKeyFiles(tmp_path / "zone_keys").load()
    table, rows = run(tmp_path, "list").stdout, run(tmp_path, "list", "--format", "json").stdout
    assert key.secret not in table + rows
    assert "bind-berlin" in table
    assert json.loads(rows)[0]["allowed"] == ["10.1.0.53/32"]


def test_the_running_program_takes_up_what_changes(tmp_path: Path) -> None:
    files = ZoneKeyFiles(tmp_path / "zone_keys")
    files.poll()
    assert not files.keyring.tsig
    run(tmp_path, "create", "a")
    run(tmp_path, "create", "b")
    files.poll()
    assert [key.name for key in files.keyring.keys] == ["a", "b"]
    assert run(tmp_path, "remove", "a").exit_code == 0
    files.poll()
    assert [key.name for key in files.keyring.keys] == ["b"]


def test_who_made_and_removed_a_key_is_in_the_audit_log_without_its_secret(tmp_path: Path) -> None:
    run(tmp_path, "create", "bind-berlin", "--profile", "strict", *OPTIONS)
    (key,) = ZoneKeyFiles(tmp_path / "zone_keys").load()
    assert run(tmp_path, "create", "bind-berlin").exit_code == 1
    assert run(tmp_path, "create", "Upper").exit_code == 1
    assert run(tmp_path, "remove", "nobody").exit_code == 1
    assert run(tmp_path, "remove", "bind-berlin").exit_code == 0
    with open_store(tmp_path / "molecatcher.db") as store:
        made, removed = store.audit(AuditFilter(), 9)[::-1]
    assert [(row.action, row.target) for row in (made, removed)] == [
        ("zone_key.create", "bind-berlin"),
        ("zone_key.delete", "bind-berlin"),
    ]
    assert "name: nothing -> bind-berlin; profile: nothing -> strict" in made.detail
    assert (made.actor_name, made.address) == (getpass.getuser(), "command line")
    assert made.after == removed.before != ""
    assert not [it for it in (key.secret, "10.1.0.53") if it in f"{made} {removed}"]


def test_who_had_a_key_printed_again_is_in_the_audit_log(tmp_path: Path) -> None:
    run(tmp_path, "create", "bind-berlin")
    (key,) = ZoneKeyFiles(tmp_path / "zone_keys").load()
    assert key.secret in run(tmp_path, "show", "bind-berlin", "--server", "10.0.0.1:5353").stdout
    assert run(tmp_path, "show", "nobody").exit_code == 1
    with open_store(tmp_path / "molecatcher.db") as store:
        shown, _made = store.audit(AuditFilter(), 9)
    assert (shown.action, shown.target, shown.outcome.value) == ("zone_key.show", "bind-berlin", "done")
    assert shown.before == shown.after != ""
    assert key.secret not in str(shown)


def test_a_key_that_cannot_be_noted_is_neither_made_nor_shown(tmp_path: Path) -> None:
    run(tmp_path, "create", "a")
    with sqlite3.connect(tmp_path / "molecatcher.db") as damage:
        damage.execute("ALTER TABLE audit RENAME TO lost_audit")
    assert run(tmp_path, "create", "b").exit_code == 1
    assert run(tmp_path, "remove", "a").exit_code == 1
    (key,) = ZoneKeyFiles(tmp_path / "zone_keys").load()
    assert key.name == "a"
    assert key.secret not in run(tmp_path, "show", "a", "--server", "10.0.0.1:5353").stdout


def test_a_damaged_key_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    run(tmp_path, "create", "a")
    for name, text in {"b": "{", "c": '{"name": "c", "secret": "%"}', "d": '{"name": "x.y", "secret": "AAAA"}'}.items():
        (tmp_path / "zone_keys" / f"{name}.json").write_text(text)
    files = ZoneKeyFiles(tmp_path / "zone_keys")
    files.poll()
    assert [key.name for key in files.keyring.keys] == ["a"]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("create", "Upper"), 1, "its name is one label"),
        (("create", "a/../b"), 1, "its name is one label"),
        (("create", "there"), 1, "already"),
        (("create", "new", "--algorithm", "hmac-md5"), 2, "hmac-sha256"),
        (("create", "new", "--allow", "10.1.0.0/40"), 2, "--allow"),
        (("create", "new", "--notify", "ns1.example.com"), 2, "--notify"),
        (("show", "nobody"), 1, "no key"),
        (("remove", "nobody"), 1, "no key"),
        (("remove", "../zone_keys/there"), 1, "no key"),
    ],
)
def test_what_cannot_be_is_said(tmp_path: Path, words: tuple[str, ...], status: int, said: str) -> None:
    run(tmp_path, "create", "there")
    ended = run(tmp_path, *words)
    assert ended.exit_code == status
    assert said in (ended.output or str(ended.exception)) + str(ended.exception)
    assert [key.name for key in ZoneKeyFiles(tmp_path / "zone_keys").load()] == ["there"]


def test_a_key_for_a_profile_is_configured_with_its_zone(tmp_path: Path) -> None:
    made = run(tmp_path, "create", "guests", "--profile", "strict", *OPTIONS)
    assert made.exit_code == 0, made.output
    assert 'rpzPrimary({"10.0.0.1:5353"}, "strict.molecatcher.rpz"' in made.stdout
    assert [key.profile for key in ZoneKeyFiles(tmp_path / "zone_keys").load()] == ["strict"]
    assert "strict" in run(tmp_path, "list").stdout
    assert run(tmp_path, "create", "b", "--profile", "No Name", *OPTIONS).exit_code == 2
