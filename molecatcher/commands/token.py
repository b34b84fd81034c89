"""`molecatcher token`: credentials for the machines that pull lists or send events."""

import re
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from molecatcher.commands.options import AllowOption, DenyOption, FormatOption

if TYPE_CHECKING:
    from db.access.values import Token, TokenScope
    from db.store import Store

app = typer.Typer(
    name="token",
    help="Credentials for firewalls, sensors and other machines: shown once, kept as a digest, good for one purpose.",
    no_args_is_help=True,
)

# Commands import what they need when they run, as in `molecatcher.cli`.
# ruff: noqa: PLC0415

MAX_PREFIXES = 64
LIFETIME = re.compile(r"([1-9][0-9]{0,4})([hd])", re.ASCII)
HOURS = {"h": 1, "d": 24}

StateOption = Annotated[
    Path | None,
    typer.Option("--state", metavar="DIR", help="Where the database lives (default: /var/lib/molecatcher for root)"),
]
TokenArgument = Annotated[str, typer.Argument(metavar="ID", help="The 12 digits after mc_, as `token list` shows them")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who will use it, such as paloalto-berlin-1")],
    *,
    scope: Annotated[
        list[str] | None, typer.Option("--scope", metavar="SCOPE", help="What it opens (repeatable) [feeds:read]")
    ] = None,
    list_name: Annotated[
        str | None, typer.Option("--list", metavar="LIST", help="Only this list (default: every list)")
    ] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", metavar="NAME", help="Only in this profile (default: any)")
    ] = None,
    sensor: Annotated[str | None, typer.Option("--sensor", metavar="ID", help="Only as this sensor")] = None,
    allow: AllowOption = None,
    deny: DenyOption = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="90d|12h", help="Good for so long (default: until revoked)")
    ] = None,
    output: FormatOption = "table",
    state: StateOption = None,
) -> None:
    """Make a token and print it, this once.

    Example: molecatcher token create gateway-berlin --scope sensors:enrol   (good once, for an hour: see `enrol`)

    Example: molecatcher token create paloalto-berlin-1 --list unsanctioned-domains --allow 10.1.0.0/16
    """
    from api.access.credentials import MAX_TOKENS
    from api.access.secrets import digest_of, new_id, new_secret
    from db.access.values import Token
    from molecatcher.errors import SetupError

    secret, now_ns = new_secret(), time.time_ns()
    scopes = _scopes(scope or ["feeds:read"])
    token = Token(
        token_id=new_id(),
        name=name,
        scopes=scopes,
        list_name=_list_name(list_name),
        profile=parse_profile(profile),
        sensor_id=_sensor_id(sensor, scopes),
        allowed=parse_prefixes(allow or (), "--allow"),
        denied=parse_prefixes(deny or (), "--deny"),
        digest=digest_of(secret),
        created_at_ns=now_ns,
        expires_at_ns=_expires_at(scopes, expires, now_ns),
    )
    with open_state(state) as store:
        if not acting(store, "token.create", token.token_id).add_token(token, MAX_TOKENS):
            raise SetupError(f"there are {MAX_TOKENS} tokens already")
    _show_secret(token.token_id, secret, output)


@app.command(name="list")
def list_tokens(output: FormatOption = "table", state: StateOption = None) -> None:
    """Say which tokens there are, what each opens and when it was last used. No secret is shown."""
    import msgspec

    with open_state(state) as store:
        found = store.tokens()
    if output == "json":
        sys.stdout.buffer.write(msgspec.json.encode([_document(token) for token in found]) + b"\n")
    else:
        _print_table(found)


@app.command()
def rotate(
    token: TokenArgument,
    *,
    finish: Annotated[bool, typer.Option("--finish", help="Make no new secret; end the one before the newest")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Make another newest secret, as when that was lost; it ends")
    ] = False,
    output: FormatOption = "table",
    state: StateOption = None,
) -> None:
    """Give a token a second secret, and print it this once. The one before stays good until `--finish`.

    A firewall that is refused stops enforcing its list: change its secret first, then finish.
    """
    from api.access.secrets import digest_of, new_secret

    if finish and replace:
        raise typer.BadParameter("give --finish or --replace", param_hint="--replace")
    token_id, secret = _token_id(token), new_secret()
    with open_state(state) as store:
        if finish:
            _require(acting(store, "token.finish", token_id).drop_previous_secret(token_id), token)
        else:
            acted = acting(store, "token.rotate", token_id)
            change = acted.replace_newest_secret if replace else acted.rotate_token
            if not change(token_id, digest_of(secret)):
                _say_why_not_rotated(store, token)
    if finish:
        typer.echo("only the newest secret is good now", err=True)
    else:
        _show_secret(token_id, secret, output)


@app.command()
def revoke(token: TokenArgument, state: StateOption = None) -> None:
    """End a token for good, within a second. A firewall that uses it may stop enforcing its list."""
    token_id = _token_id(token)
    with open_state(state) as store:
        _require(acting(store, "token.revoke", token_id).revoke_token(token_id, time.time_ns()), token)
    typer.echo("revoked", err=True)


def open_state(state: Path | None) -> "Store":
    """Return the store of a state directory, of the settings' unless one is given."""
    from db.store import open_store
    from molecatcher.settings import Settings
    from molecatcher.state import make_database

    settings = Settings(state=state) if state else Settings()
    make_database(settings.database)
    return open_store(settings.database)


def acting(store: "Store", action: str, target: str) -> "Store":
    """Return the store that notes in the audit log what the user of this program changes."""
    import getpass

    from api.access.audit import local_act

    return store.on_behalf_of(local_act(time.time_ns(), getpass.getuser(), action, target))


def _token_id(text: str) -> str:
    """Return the id in `text`; a whole token is taken, too."""
    return text.removeprefix("mc_").partition("_")[0]


def _require(is_done: bool, token: str) -> None:
    from molecatcher.errors import SetupError

    if not is_done:
        raise SetupError(f"there is no token {_token_id(token)[:12]!r} that is good: see `molecatcher token list`")


def _say_why_not_rotated(store: "Store", token: str) -> NoReturn:
    from molecatcher.errors import SetupError

    good = [row for row in store.tokens() if row.token_id == _token_id(token) and row.revoked_at_ns is None]
    _require(bool(good), token)
    if good[0].previous_digest is None:
        raise SetupError("this token has one secret: leave --replace out to make a second")
    advice = "end the older one with --finish once no device uses it, or give --replace if the newer one was lost"
    raise SetupError(f"two secrets of this token are good: {advice}")


def _scopes(words: list[str]) -> "tuple[TokenScope, ...]":
    from db.access.values import TokenScope

    unknown = [word for word in words if word not in set(TokenScope)]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r}: choose {', '.join(TokenScope)}", param_hint="--scope")
    return tuple(dict.fromkeys(map(TokenScope, words)))


def _list_name(word: str | None) -> str | None:
    from rules.lists.blocklist import ListName

    if word is not None and word not in set(ListName):
        raise typer.BadParameter(f"{word!r}: choose {', '.join(ListName)}", param_hint="--list")
    return word


def parse_profile(word: str | None) -> str | None:
    """Return the profile; whether it exists is the server's policy to say, so only its form is looked at."""
    from rules.policy.profiles import is_profile_name

    if word is not None and not is_profile_name(word):
        raise typer.BadParameter("give the name of a profile, such as strict", param_hint="--profile")
    return word


def parse_prefixes(words: Sequence[str], option: str) -> tuple[str, ...]:
    """Return the prefixes in their usual form; what cannot be one ends the program with a word about `option`."""
    from api.access.addresses import parse_networks

    if len(words) > MAX_PREFIXES:
        raise typer.BadParameter(f"{MAX_PREFIXES} at most", param_hint=option)
    try:
        return tuple(map(str, parse_networks(words)))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _sensor_id(word: str | None, scopes: "tuple[TokenScope, ...]") -> str | None:
    from db.access.values import SENSORS
    from rules.values.event import DEMONSTRATION

    if word is not None and SENSORS.isdisjoint(scopes):
        raise typer.BadParameter(
            f"only a token for {' or '.join(sorted(SENSORS))} is a sensor's", param_hint="--sensor"
        )
    if word == DEMONSTRATION:
        raise typer.BadParameter(f"{word} is the demonstration's: choose another id", param_hint="--sensor")
    return word


def _expires_at(scopes: "tuple[TokenScope, ...]", lifetime: str | None, now_ns: int) -> int | None:
    from api.access.enrolment import checked_expiry

    try:
        return checked_expiry(scopes, _expiry(lifetime, now_ns), now_ns)
    except ValueError as error:
        field, _, said = str(error).partition(": ")
        raise typer.BadParameter(said, param_hint="--expires" if field == "expires_at" else "--scope") from None


def _expiry(text: str | None, now_ns: int) -> int | None:
    if text is None:
        return None
    found = LIFETIME.fullmatch(text)
    if found is None:
        raise typer.BadParameter("give days or hours, such as 90d or 12h", param_hint="--expires")
    lifetime = timedelta(hours=int(found[1]) * HOURS[found[2]])
    return now_ns + int(lifetime.total_seconds()) * 1_000_000_000


def _show_secret(token_id: str, secret: str, output: str) -> None:
    import msgspec

    from api.access.secrets import written

    text = written(token_id, secret)
    if output == "json":
        sys.stdout.buffer.write(msgspec.json.encode({"id": token_id, "token": text}) + b"\n")
        return
    typer.echo("this is shown once, keep it where the device keeps its passwords:", err=True)
    typer.echo(text)


def _document(token: "Token") -> dict[str, object]:
    return {
        "id": token.token_id,
        "name": token.name,
        "scopes": token.scopes,
        "list": token.list_name,
        "profile": token.profile,
        "sensor": token.sensor_id,
        "allow": token.allowed,
        "deny": token.denied,
        "secrets": 2 if token.previous_digest else 1,
        "created_at": shown_time(token.created_at_ns),
        "expires_at": shown_time(token.expires_at_ns),
        "revoked_at": shown_time(token.revoked_at_ns),
        "last_used_at": shown_time(token.last_used_ns),
    }


def shown_time(at_ns: int | None) -> str | None:
    """Return a time to the second, None for none."""
    return datetime.fromtimestamp(at_ns // 1_000_000_000, UTC).isoformat() if at_ns is not None else None


def _print_table(tokens: "Sequence[Token]") -> None:
    from molecatcher.commands.tables import console, plain_table

    rows = []
    for token in tokens:
        opens = " ".join([*token.scopes, *filter(None, (token.list_name, token.profile, token.sensor_id))])
        state = f"revoked {shown_time(token.revoked_at_ns)}" if token.revoked_at_ns else _until(token)
        secrets = "2" if token.previous_digest else "1"
        last = shown_time(token.last_used_ns) or "never"
        rows.append((token.token_id, token.name, opens, " ".join(token.allowed), secrets, last, state))
    console().print(plain_table(("id", "name", "opens", "only from", "secrets", "last used", "state"), rows))


def _until(token: "Token") -> str:
    if token.expires_at_ns is None:
        return "good"
    return f"{'expired' if token.expires_at_ns <= time.time_ns() else 'good until'} {shown_time(token.expires_at_ns)}"
