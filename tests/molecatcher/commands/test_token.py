"""`molecatcher token`, as a person uses it."""

import json
import os
import pwd
from pathlib import Path

import pytest
from netns import needs_root
from typer.testing import CliRunner, Result

from api.access.secrets import digest_of, parse
from db.access.values import AuditFilter
from db.store import open_store
from molecatcher.cli import app
from molecatcher.logs import redact_tokens


def run(state: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["token", *words, "--state", str(state)])


def create(state: Path, *options: str) -> str:
    made = run(state, "create", "firewall-1", "--format", "json", *options)
    assert made.exit_code == 0, made.output
    return str(json.loads(made.stdout)["token"])


def test_a_token_is_shown_once_and_only_its_digest_is_kept(tmp_path: Path) -> None:
    text = create(tmp_path, "--list", "unsanctioned-domains", "--allow", "10.1.0.0/16", "--expires", "90d")
    secret = text.split("_")[2]
    listed = run(tmp_path, "list", "--format", "json").stdout
    (row,) = json.loads(listed)
    assert (row["name"], row["list"], row["allow"], row["secrets"]) == (
        "firewall-1",
        "unsanctioned-domains",
        ["10.1.0.0/16"],
        1,
    )
    assert row["scopes"] == ["feeds:read"]
    assert row["expires_at"] > row["created_at"]
    assert secret not in listed + run(tmp_path, "list").stdout
    for path in tmp_path.rglob("*"):
        assert secret.encode() not in (path.read_bytes() if path.is_file() else b"")
    with open_store(tmp_path / "molecatcher.db") as store:
        (kept,) = store.tokens()
    assert kept.digest == digest_of(secret)
    assert parse(text) is not None


def test_rotation_and_the_end_of_a_token(tmp_path: Path) -> None:
    text = create(tmp_path)
    token_id = text.split("_")[1]
    newer = json.loads(run(tmp_path, "rotate", token_id, "--format", "json").stdout)["token"]
    assert newer.split("_")[1] == token_id
    assert newer != text
    assert json.loads(run(tmp_path, "list", "--format", "json").stdout)[0]["secrets"] == 2
    assert run(tmp_path, "rotate", token_id, "--finish").exit_code == 0
    assert json.loads(run(tmp_path, "list", "--format", "json").stdout)[0]["secrets"] == 1
    assert run(tmp_path, "revoke", token_id).exit_code == 0
    assert json.loads(run(tmp_path, "list", "--format", "json").stdout)[0]["revoked_at"]
    assert run(tmp_path, "rotate", token_id).exit_code == 1
    assert run(tmp_path, "revoke", token_id).exit_code == 1
    with open_store(tmp_path / "molecatcher.db") as store:
        rows = store.audit(AuditFilter(target=token_id), 9)[::-1]
    assert [row.action for row in rows] == ["token.create", "token.rotate", "token.finish", "token.revoke"]
    assert {row.address for row in rows} == {"command line"}


def test_a_second_rotation_ends_no_secret_unless_it_is_said_which(tmp_path: Path) -> None:
    def kept() -> tuple[bytes | None, bytes]:
        with open_store(tmp_path / "molecatcher.db") as store:
            (token,) = store.tokens()
        return token.previous_digest, token.digest

    token_id, oldest = create(tmp_path).split("_")[1], kept()[1]
    early = run(tmp_path, "rotate", token_id, "--replace")
    assert (early.exit_code, "leave --replace out" in str(early.exception)) == (1, True)
    assert run(tmp_path, "rotate", token_id).exit_code == 0
    newer = kept()[1]
    again = run(tmp_path, "rotate", token_id)
    assert (again.exit_code, kept()) == (1, (oldest, newer))
    assert "end the older one with --finish" in str(again.exception)
    assert "--replace if the newer one was lost" in str(again.exception)
    assert run(tmp_path, "rotate", token_id, "--finish", "--replace").exit_code == 2
    assert run(tmp_path, "rotate", token_id, "--replace").exit_code == 0
    assert kept()[0] == oldest
    assert kept()[1] not in (oldest, newer)


def test_a_name_that_a_terminal_would_obey_is_only_shown(tmp_path: Path) -> None:
    assert run(tmp_path, "create", "a\x1b[2Jb").exit_code == 0
    listed = run(tmp_path, "list").stdout
    assert "\x1b" not in listed
    assert "a\\x1b[2Jb" in listed


@pytest.mark.parametrize(
    "options",
    [
        ("--list", "everything"),
        ("--scope", "root"),
        ("--allow", "10.1.0.1/16"),
        ("--deny", "::ffff:10.0.0.0/104"),
        ("--expires", "0d"),
        ("--expires", "soon"),
        ("--scope", "events:write", "--sensor", "demonstration"),
        ("--sensor", "gateway-1"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, options: tuple[str, str]) -> None:
    assert run(tmp_path, "create", "firewall-1", *options).exit_code == 2
    assert json.loads(run(tmp_path, "list", "--format", "json").stdout) == []


def test_an_enrolment_token_is_short_lived_and_the_option_that_is_wrong_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, "create", "gateway", "--scope", "sensors:enrol", "--expires", "25h")
    assert done.exit_code == 2
    assert "Invalid value for --expires: an enrolment token is good for 24 hours" in " ".join(done.output.split())


def test_no_secret_is_logged(tmp_path: Path) -> None:
    text = create(tmp_path)
    event = redact_tokens(None, "", {"event": "request_failed", "path": f"/feeds/t/{text}/x.txt", "count": 3})
    assert text.split("_")[2] not in str(event)
    assert text.split("_")[1] in str(event)
    assert event["count"] == 3


def test_a_list_shows_whole_ids_and_names_as_they_are(tmp_path: Path) -> None:
    text = create(tmp_path, "--list", "unsanctioned-domains", *("--allow", "10.1.0.0/16") * 6, "--expires", "365d")
    assert run(tmp_path, "create", "[/red] [bold]x").exit_code == 0
    shown = run(tmp_path, "list").stdout
    assert text.split("_")[1] in shown
    assert "[/red]" in shown
    assert "[bold]x" in shown


@needs_root
@pytest.mark.parametrize("is_there", [False, True])
def test_what_root_makes_before_the_first_start_is_the_services(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    user, state = pwd.getpwnam("nobody"), tmp_path / "state"
    monkeypatch.setenv("MOLECATCHER_USER", user.pw_name)
    if is_there:
        state.mkdir()
        os.chown(state, user.pw_uid, user.pw_gid)
    create(state)
    assert (state / "molecatcher.db").stat().st_mode & 0o777 == 0o600
    assert {path.stat().st_uid for path in (state, *state.iterdir())} == {user.pw_uid}
