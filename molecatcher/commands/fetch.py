"""`molecatcher fetch`: keep a file in step with a list, for programs that cannot pull by themselves."""

import time
from pathlib import Path
from typing import Annotated

import typer

# Commands import what they need when they run, as in `molecatcher.cli`.
# ruff: noqa: PLC0415


RECIPES = {
    "nftables": ("unsanctioned-addresses.nft", "/etc/molecatcher/blocked.nft", "nft -f /etc/molecatcher/blocked.nft"),
    "ipset": ("unsanctioned-addresses.ipset", "/etc/molecatcher/ipset", "ipset restore -file /etc/molecatcher/ipset"),
    "dnsmasq": ("unsanctioned-domains.dnsmasq.conf", "/etc/molecatcher/dnsmasq.conf", "pkill -HUP -x dnsmasq"),
    "hosts": ("unsanctioned-domains.hosts", "/etc/molecatcher/hosts", "pkill -HUP -x dnsmasq"),
    "squid": ("unsanctioned-domains.squid.txt", "/etc/squid/molecatcher.txt", "squid -k reconfigure"),
    "suricata": (
        "unsanctioned-domains.suricata.rules",
        "/etc/suricata/rules/molecatcher.rules",
        "suricatasc -c reload-rules",
    ),
    "knot": ("unsanctioned-domains.rpz", "/etc/knot-resolver/molecatcher.rpz", "systemctl reload-or-restart kresd@1"),
}
EPILOG = "\n\n".join(
    f"{program}: FEEDS/{file} -o {path} --hook '{hook}'" for program, (file, path, hook) in RECIPES.items()
)


def fetch(
    url: Annotated[str, typer.Argument(metavar="URL", help="https://HOST:PORT/feeds/LIST.FORMAT")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where the list goes")],
    token_file: Annotated[
        Path | None, typer.Option("--token-file", metavar="FILE", help="Holds the token, in one line")
    ] = None,
    hook: Annotated[
        str, typer.Option("--hook", metavar="COMMAND", help="Run after a change (no shell); again until it succeeds")
    ] = "",
    interval: Annotated[
        float | None,
        typer.Option("--interval", "--every", metavar="SECONDS", min=1, help="Go on, this often (default: once)"),
    ] = None,
) -> None:
    """Pull a list into a file: whole and checked, or not at all.

    Exit status 0: the file is up to date; 1: it is not, and stays as it is, or the hook failed.

    Example: molecatcher fetch http://127.0.0.1:8484/feeds/unsanctioned-domains.dnsmasq.conf -o /etc/blocked.conf

    The answer must be whole, newer, no web page, and have its checksum; then the file is replaced in one step and the
    hook runs. What each program needs (FEEDS is the address before the file name; docs/feeds.md has the rest):
    """
    from molecatcher.errors import FetchError, SetupError
    from molecatcher.lists.fetch import Pull

    try:
        token = token_file.read_text(encoding="ascii").strip() if token_file else ""
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"the token cannot be read from {token_file}: {error}") from None
    pull = Pull(url, output, token, hook)
    while interval is not None:
        try:
            if pull.run():
                typer.echo(f"{output} is new", err=True)
        except FetchError as error:
            typer.echo(str(error), err=True)
        time.sleep(interval)
    typer.echo(f"{output} is new" if pull.run() else f"{output} is up to date", err=True)
