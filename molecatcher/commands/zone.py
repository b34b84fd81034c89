"""`molecatcher zone`: keys for resolvers that take the list of names as a zone, and what to configure there."""

import secrets
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molecatcher.commands.options import AllowOption, DenyOption, FormatOption

if TYPE_CHECKING:
    from api.zone.keys import ZoneKey
    from molecatcher.lists.zone_keys import ZoneKeyFiles
    from molecatcher.settings import Settings

app = typer.Typer(
    name="zone", help="The list of names as a response policy zone (--zone-listen).", no_args_is_help=True
)
keys_app = typer.Typer(
    name="key", help="TSIG keys: without one nothing beyond this host gets the zone.", no_args_is_help=True
)
app.add_typer(keys_app)

# Commands import what they need when they run, as in `molecatcher.cli`.
# ruff: noqa: PLC0415

SECRET_OCTETS = 32
DEFAULT_SERVER = "192.0.2.1:5353"

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="One label, such as bind-berlin")]
StateOption = Annotated[
    Path | None,
    typer.Option("--state", metavar="DIR", help="Where keys live (default: /var/lib/molecatcher for root)"),
]
ServerOption = Annotated[
    str | None,
    typer.Option("--server", metavar="HOST:PORT", help="Where resolvers reach this program (default: --zone-listen)"),
]


@keys_app.command()
def create(
    name: NameArgument,
    *,
    allow: AllowOption = None,
    deny: DenyOption = None,
    notify: Annotated[
        list[str] | None,
        typer.Option("--notify", metavar="ADDRESS[:PORT]", help="Tell this secondary of new serials (repeatable)"),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option("--profile", metavar="NAME", help="Only the zone of this profile (default: any)"),
    ] = None,
    algorithm: Annotated[str, typer.Option("--algorithm", metavar="hmac-sha256|384|512")] = "hmac-sha256",
    server: ServerOption = None,
    state: StateOption = None,
) -> None:
    """Make a key, and print what to configure in BIND, PowerDNS, Knot and Unbound.

    The running program takes it up within a second. To change a key make a second one, configure it, remove the first.

    Example: molecatcher zone key create bind-berlin --allow 10.1.0.53/32 --notify 10.1.0.53 --server 10.0.0.1:5353
    """
    from api.zone.keys import ALGORITHMS, ZoneKey
    from molecatcher.commands.token import parse_prefixes, parse_profile
    from molecatcher.errors import SetupError
    from molecatcher.processes.open_zone import parse_secondary

    if algorithm not in ALGORITHMS:
        raise typer.BadParameter(f"choose {', '.join(ALGORITHMS)}", param_hint="--algorithm")
    for secondary in notify or ():
        try:
            parse_secondary(secondary)
        except SetupError as error:
            raise typer.BadParameter(str(error), param_hint="--notify") from None
    key = ZoneKey(
        name=name,
        secret=b64encode(secrets.token_bytes(SECRET_OCTETS)).decode("ascii"),
        algorithm=algorithm,
        allowed=parse_prefixes(allow or (), "--allow"),
        denied=parse_prefixes(deny or (), "--deny"),
        notify=tuple(notify or ()),
        profile=parse_profile(profile),
    )
    settings = _settings(state)
    with _noting("zone_key.create", name, state, None, key):
        _files(settings).add(key)
    _print_configuration(key, settings, server)


@keys_app.command()
def show(name: NameArgument, server: ServerOption = None, state: StateOption = None) -> None:
    """Print again what to configure for a key, with its secret. The audit log says who did."""
    from molecatcher.errors import SetupError

    settings = _settings(state)
    found = [key for key in _files(settings).load() if key.name == name]
    if not found:
        raise SetupError(f"there is no key {name!r}: see `molecatcher zone key list`")
    with _noting("zone_key.show", name, state, found[0], found[0]):
        _print_configuration(found[0], settings, server)


@keys_app.command(name="list")
def list_keys(output: FormatOption = "table", state: StateOption = None) -> None:
    """Say which keys there are, where each is good from and whom it tells. No secret is shown."""
    import msgspec

    from molecatcher.commands.tables import console, plain_table

    found = list(_files(_settings(state)).load())
    if output == "json":
        rows = [{**msgspec.to_builtins(key), "secret": None} for key in found]
        sys.stdout.buffer.write(msgspec.json.encode(rows) + b"\n")
        return
    shown = [
        (key.name, key.profile or "", *(" ".join(row) for row in (key.allowed, key.denied, key.notify)))
        for key in found
    ]
    console().print(plain_table(("name", "profile", "only from", "never from", "tells"), shown))


@keys_app.command()
def remove(name: NameArgument, state: StateOption = None) -> None:
    """Remove a key; within a second it opens nothing. A resolver that used it keeps its zone for a month."""
    from molecatcher.errors import SetupError

    files = _files(_settings(state))
    before = next((key for key in files.load() if key.name == name), None)
    with _noting("zone_key.delete", name, state, before, None):
        if not files.remove(name):
            raise SetupError(f"there is no key {name!r}: see `molecatcher zone key list`")
    typer.echo("removed", err=True)


def _settings(state: Path | None) -> "Settings":
    from molecatcher.settings import Settings

    return Settings(state=state) if state else Settings()


def _files(settings: "Settings") -> "ZoneKeyFiles":
    from molecatcher.lists.zone_keys import ZoneKeyFiles

    return ZoneKeyFiles(settings.zone_keys)


@contextmanager
def _noting(
    action: str, name: str, state: Path | None, before: "ZoneKey | None", after: "ZoneKey | None"
) -> Iterator[None]:
    """Have what is done with a key noted in the audit log, unless it fails; what cannot be noted does not happen."""
    import msgspec

    from molecatcher.commands.token import acting, open_state

    rows = [msgspec.to_builtins(key) if key else None for key in (before, after)]
    with open_state(state) as store, acting(store, action, name).noting(name, *rows):
        yield


def _print_configuration(key: "ZoneKey", settings: "Settings", server: str | None) -> None:
    from api.serving.server import parse_listen
    from api.zone.profile_zones import zone_name
    from molecatcher.lists.resolver_configuration import configurations
    from molecatcher.processes.open_zone import zone_origin
    from rules.policy.profiles import DEFAULT_PROFILE

    where = parse_listen(server or settings.zone_listen or DEFAULT_SERVER, only_loopback=False)
    name = zone_name(zone_origin(settings.zone_name), key.profile or DEFAULT_PROFILE).to_text(omit_final_dot=True)
    for resolver, text in configurations(key, name, where.host, where.port).items():
        typer.echo(f"## {resolver}\n\n{text}\n")
