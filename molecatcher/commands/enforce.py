"""`molecatcher enforce`: an address list enforced on this host, seen before it is applied, taken back cleanly."""

import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from molecatcher.commands.options import FormatOption

app = typer.Typer(
    name="enforce",
    help="Refuse the addresses of a list on this host and for what it forwards, with an nftables table of our own.",
    no_args_is_help=True,
)

# Commands import what they need when they run, as in `molecatcher.cli`.
# ruff: noqa: PLC0415

ListArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="An address list (addresses.txt), kept by `molecatcher fetch`")
]
ProtectOption = Annotated[
    list[str] | None, typer.Option("--protect", metavar="PREFIX", help="Never refuse this (repeatable)")
]
SpareOption = Annotated[
    bool, typer.Option("--spare-live", help="Leave connections that are established already; else they are reset")
]
LogOption = Annotated[
    bool, typer.Option("--log/--no-log", help="Write refused packets to the kernel's log (10 a second)")
]


@app.command()
def show(
    file: ListArgument, protect: ProtectOption = None, spare_live: SpareOption = False, log: LogOption = True
) -> None:
    """Dry run: print the rules that `apply` would load, checked by nft; what is withheld and why goes to stderr.

    Example: molecatcher enforce show addresses.txt
    """
    from molecatcher.enforce.nftables import check

    ruleset = _ruleset(file, protect or (), spare_live=spare_live, log=log)
    check(ruleset)
    sys.stdout.write(ruleset)


@app.command()
def apply(
    file: ListArgument,
    *,
    protect: ProtectOption = None,
    spare_live: SpareOption = False,
    log: LogOption = True,
    follow: Annotated[
        float | None, typer.Option("--follow", metavar="SECONDS", min=0.1, help="Look again this often, until stopped")
    ] = None,
) -> None:
    """Refuse what the list names, in one step. A list that cannot be used changes nothing.

    The rules stay when the program ends; `molecatcher enforce remove` takes them away.

    Example: molecatcher enforce apply /var/lib/molecatcher/addresses.txt --follow 30
    """
    from molecatcher.enforce.nftables import load

    ruleset = _ruleset(file, protect or (), spare_live=spare_live, log=log)
    load(ruleset)
    typer.echo(f"refusing what {file} names; what was refused: molecatcher enforce status", err=True)
    if follow is not None:
        _follow(file, protect or (), follow, ruleset, spare_live=spare_live, log=log)


@app.command()
def status(output: FormatOption = "table") -> None:
    """Say how many prefixes are refused and what was refused so far. Exit status 1 when nothing is enforced."""
    import msgspec

    from molecatcher.commands.tables import counted
    from molecatcher.enforce.nftables import status as read_status

    found = read_status()
    if output == "json":
        sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
    elif found is None:
        typer.echo("nothing is enforced on this host")
    else:
        refused = f"{counted(found.refused_packets, 'packet')}, {counted(found.refused_octets, 'octet')}"
        typer.echo(f"{counted(found.prefixes, 'prefix is', 'prefixes are')} refused; so far {refused}")
    raise typer.Exit(0 if found else 1)


@app.command()
def remove() -> None:
    """Take our table away, and with it every rule of ours."""
    from molecatcher.enforce.nftables import remove as remove_table

    typer.echo("removed" if remove_table() else "nothing was enforced on this host")


def _ruleset(file: Path, protect: Iterable[str], *, spare_live: bool, log: bool) -> str:
    """Return the rules for the list as it is now; what is withheld is said.

    Raises:
        UnusableList: The list cannot be enforced.
    """
    from molecatcher.enforce.prefixes import parse_prefixes, read_prefixes
    from molecatcher.enforce.protection import make_plan, protected_networks
    from molecatcher.enforce.ruleset import make_ruleset

    more = parse_prefixes("\n".join(protect), "--protect") if protect else []
    plan = make_plan(read_prefixes(file), protected_networks(more))
    for prefix, reason in plan.withheld.items():
        typer.echo(f"withheld {prefix}: {reason}", err=True)
    return make_ruleset(plan.refused, spare_live=spare_live, log=log)


def _follow(file: Path, protect: Iterable[str], interval_s: float, loaded: str, *, spare_live: bool, log: bool) -> None:
    """Keep the rules in step with the file, this host's addresses and the presence of our table, until stopped."""
    from molecatcher.enforce.nftables import is_loaded, load
    from molecatcher.errors import MolecatcherError
    from molecatcher.processes.notify import Notifier

    said, notifier = "", Notifier()
    notifier.ready()
    while True:
        time.sleep(interval_s)
        notifier.alive()
        try:
            ruleset = _ruleset(file, protect, spare_live=spare_live, log=log)
            if ruleset != loaded or not is_loaded():
                load(ruleset)
                typer.echo(f"{file} was applied", err=True)
            loaded, said = ruleset, ""
        except MolecatcherError as error:
            if str(error) != said:
                typer.echo(f"kept what is in force: {error}", err=True)
            said = str(error)
