"""The command line. Exit status 0: done; 1: could not be done, one sentence says why; 2: not understood."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from molecatcher.commands.account import app as account_commands
from molecatcher.commands.catalogue import app as catalogue_commands
from molecatcher.commands.enforce import app as enforce_commands
from molecatcher.commands.enrol import enrol
from molecatcher.commands.fetch import EPILOG as FETCH_EPILOG
from molecatcher.commands.fetch import fetch
from molecatcher.commands.format_help import FormatHelp
from molecatcher.commands.options import (
    AccessOption,
    CatalogueOption,
    CertificateOption,
    DetectionsOption,
    FeedsListenOption,
    FormatOption,
    InterfaceOption,
    KeyOption,
    ListenOption,
    NetnsOption,
    PolicyOption,
    RequireOption,
    SensorNameOption,
    SiteOption,
    StateOption,
    WorkersOption,
    ZoneListenOption,
    settings_of,
)
from molecatcher.commands.token import app as token_commands
from molecatcher.commands.zone import app as zone_commands
from molecatcher.errors import MolecatcherError

# Commands import what they need when they run: `molecatcher --help` stays quick, `replay` loads no web server.
# ruff: noqa: PLC0415

WATCH, READ, LISTS = "Watch", "Read recordings", "Lists"
RULES, ACCESS = "Rules and this host", "Access"

app = typer.Typer(
    name="molecatcher",
    help="Find the tunnels under a firewall: sanctioned, unsanctioned and suspicious ones, with the evidence.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(catalogue_commands, rich_help_panel=RULES)
app.add_typer(enforce_commands, rich_help_panel=LISTS)
app.add_typer(token_commands, rich_help_panel=ACCESS)
app.add_typer(account_commands, rich_help_panel=ACCESS)
app.add_typer(zone_commands, rich_help_panel=LISTS)
stdout, stderr = Console(), Console(stderr=True)


def _version(wanted: bool) -> None:
    if wanted:
        from molecatcher import __version__

        typer.echo(f"molecatcher {__version__}")
        raise typer.Exit


@app.callback()
def root(
    _version_wanted: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Find the tunnels under a firewall: sanctioned, unsanctioned and suspicious ones, with the evidence."""


@app.command(rich_help_panel=WATCH)
def run(
    interface: InterfaceOption = None,
    netns: NetnsOption = None,
    listen: ListenOption = None,
    state: StateOption = None,
    policy: PolicyOption = None,
    *,
    feeds_listen: FeedsListenOption = None,
    tls_cert: CertificateOption = None,
    tls_key: KeyOption = None,
    access: AccessOption = None,
    require_auth: RequireOption = None,
    zone_listen: ZoneListenOption = None,
    workers: WorkersOption = None,
    sensor_name: SensorNameOption = None,
    site: SiteOption = None,
    catalogue_dir: CatalogueOption = None,
) -> None:
    """The main job: sensor, API and page on this host.

    Started by root it gives up root: it continues as the user `molecatcher` with the right to capture and nothing else.
    Stop it with Ctrl-C; reload the policy with SIGHUP (a changed file is noticed by itself).

    Example: molecatcher run --interface eth0 --policy policy.toml
    """
    from molecatcher.processes.supervise import run as supervise

    where = {"interface": tuple(interface or ()), "netns": tuple(netns or ()), "workers": workers}
    lists = {"feeds_listen": feeds_listen, "tls_cert": tls_cert, "tls_key": tls_key, "zone_listen": zone_listen}
    rules = {"policy": policy, "catalogue_dir": catalogue_dir}
    who = {"access": access, "require_auth": require_auth, "sensor_name": sensor_name, "site": site}
    sys.exit(supervise(settings_of(**where, **lists, **who, **rules, listen=listen, state=state)))


@app.command(rich_help_panel=WATCH)
def sensor(
    interface: InterfaceOption = None,
    netns: NetnsOption = None,
    state: StateOption = None,
    policy: PolicyOption = None,
    workers: WorkersOption = None,
    *,
    catalogue_dir: CatalogueOption = None,
    api: Annotated[
        str | None, typer.Option("--api", metavar="URL", help="Send events there (default: into the database here)")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", metavar="FILE", help="The sensor's token (scope events:write)")
    ] = None,
    api_ca: Annotated[
        Path | None, typer.Option("--api-ca", metavar="FILE", help="The only authority to trust for it (PEM)")
    ] = None,
    sensor_name: SensorNameOption = None,
    site: SiteOption = None,
) -> None:
    """Only the sensor: capture and classify, into the database under the state directory or to another host's API.

    With --api the policy comes from there too; of a --policy file what both speak of wins.

    Example: molecatcher sensor --api https://molecatcher.example.com:8484 --token-file /etc/molecatcher/token
    """
    from molecatcher.processes.workers import run as run_sensor

    where = {"interface": tuple(interface or ()), "netns": tuple(netns or ()), "workers": workers}
    to = {"api": api, "token_file": token_file, "api_ca": api_ca}
    who = {"sensor_name": sensor_name, "site": site}
    run_sensor(settings_of(**where, **to, **who, state=state, policy=policy, catalogue_dir=catalogue_dir))


@app.command(rich_help_panel=WATCH)
def serve(
    listen: ListenOption = None,
    state: StateOption = None,
    policy: PolicyOption = None,
    *,
    feeds_listen: FeedsListenOption = None,
    tls_cert: CertificateOption = None,
    tls_key: KeyOption = None,
    access: AccessOption = None,
    require_auth: RequireOption = None,
    zone_listen: ZoneListenOption = None,
    catalogue_dir: CatalogueOption = None,
) -> None:
    """Only the API, the block lists and the page, from the database under the state directory."""
    from molecatcher.processes.api import run as run_api

    lists = {"feeds_listen": feeds_listen, "tls_cert": tls_cert, "tls_key": tls_key, "zone_listen": zone_listen}
    who = {"access": access, "require_auth": require_auth}
    run_api(settings_of(**lists, **who, listen=listen, state=state, policy=policy, catalogue_dir=catalogue_dir))


@app.command(rich_help_panel=WATCH)
def attribute(state: StateOption = None) -> None:
    """Only the helper that names other users' processes to the sensor; needs CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH."""
    from molecatcher.processes.attribution import run as run_attribution

    run_attribution(settings_of(state=state))


@app.command(rich_help_panel=READ)
def replay(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="pcap or pcapng, also .gz; - is standard input")
    ],
    policy: PolicyOption = None,
    output: DetectionsOption = "table",
    store: Annotated[bool, typer.Option("--store", help="Also write the events to the database, each once")] = False,
    state: StateOption = None,
) -> None:
    """Show what the sensor would have said of recorded traffic.

    Exit status 1 if a file could not be read whole; what was read of it, and the other files, are shown all the same.

    Example: molecatcher replay capture.pcapng --policy policy.toml --format json | jq .service
    """
    from molecatcher.commands.replay import replay_files

    store_in = settings_of(state=state) if store else None
    sys.exit(replay_files(files, policy, as_json=output == "json", store_in=store_in))


@app.command(name="ingest-log", rich_help_panel=READ)
def ingest_log(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Squid or HAProxy logs, also .gz; - is standard input")
    ],
    *,
    policy: PolicyOption = None,
    output: DetectionsOption = "table",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is added, into the database, until stopped")
    ] = False,
    store: Annotated[bool, typer.Option("--store", help="Also write the events to the database, each once")] = False,
    state: StateOption = None,
    name: Annotated[
        str | None, typer.Option("--name", help="The sensor id of these events (default: proxy-log:HOSTNAME)")
    ] = None,
) -> None:
    """Find tunnels in the logs of a proxy, behind which the sensor sees only the proxy.

    Formats are recognised line by line: Squid's squid, common and combined, HAProxy's httplog and tcplog, with or
    without syslog's prefix. What to configure in the proxy is in docs/proxy-logs.md. A log may be read again: its
    events are the same.

    Example: molecatcher ingest-log /var/log/squid/access.log --policy policy.toml

    Example: molecatcher ingest-log --follow /var/log/squid/access.log /var/log/haproxy.log
    """
    from molecatcher.commands.ingest_log import default_name, follow_files, ingest_files

    if follow:
        follow_files(files, name or default_name(), settings_of(state=state, policy=policy))
        return
    store_in = settings_of(state=state) if store else None
    ingest_files(files, policy, name or default_name(), as_json=output == "json", store_in=store_in)


@app.command(rich_help_panel=READ)
def explain(
    file: Annotated[str, typer.Argument(metavar="FILE", help="pcap or pcapng, also .gz; - is standard input")],
    policy: PolicyOption = None,
    number: Annotated[
        int | None, typer.Option("--event", "--flow", min=1, help="Only this detection, by its number in the table")
    ] = None,
    output: Annotated[
        str, typer.Option("--format", metavar="plain|table|json", help="table: one line each; json: one object a line")
    ] = "plain",
) -> None:
    """Explain each detection in recorded traffic in sentences, with the packets that decided, dissected.

    Example: molecatcher explain capture.pcapng --policy policy.toml --format table

    Example: molecatcher explain capture.pcapng --policy policy.toml --event 3
    """
    from molecatcher.commands.explain import explain_file

    if output not in ("plain", "table", "json"):
        raise typer.BadParameter("choose plain, table or json", param_hint="--format")
    sys.exit(explain_file(file, policy, number, output))


@app.command(cls=FormatHelp, rich_help_panel=LISTS)
def blocklist(
    output: Annotated[str, typer.Argument(metavar="FORMAT", help="LIST.FORMAT, one of those below")],
    policy: PolicyOption = None,
    profile: Annotated[
        str, typer.Option("--profile", metavar="NAME", help="Which services and roles: docs/blocklists.md")
    ] = "agents-only",
) -> None:
    """Print a block list built now from the catalogue and the policy.

    The running program serves the same lists, numbered and kept, under /feeds/.

    Example: molecatcher blocklist domains.rpz --policy policy.toml > rpz.zone
    """
    from molecatcher.commands.blocklist import print_list

    print_list(output, settings_of(policy=policy), profile)


@app.command(rich_help_panel=RULES)
def sigma(
    policy: PolicyOption = None,
    output: Annotated[Path | None, typer.Option("--output", metavar="DIR", help="A file for each rule there")] = None,
) -> None:
    """Print the catalogue as Sigma rules, to look for tunnels in DNS, proxy and TLS logs that no sensor sees.

    What the policy sanctions is left out.

    Example: molecatcher sigma --policy policy.toml --output rules/
    """
    from molecatcher.commands.sigma import write_rules

    write_rules(settings_of(policy=policy), output)


@app.command(rich_help_panel=RULES)
def check(
    policy: PolicyOption = None,
    state: StateOption = None,
    output: FormatOption = "table",
    services: Annotated[bool, typer.Option("--services", help="List the services that a policy may name")] = False,
    *,
    catalogue_dir: CatalogueOption = None,
) -> None:
    """Validate the policy and print the configuration in effect.

    Exit status 0: all is well (warnings are printed); 1: the policy cannot be used.
    """
    from molecatcher.commands.check import print_check

    print_check(
        settings_of(policy=policy, state=state, catalogue_dir=catalogue_dir),
        as_json=output == "json",
        with_services=services,
    )


@app.command(rich_help_panel=RULES)
def doctor(
    output: FormatOption = "table",
) -> None:
    """Say what this host can capture, what is missing and how to mend it. Exit status 1 if it cannot capture."""
    from molecatcher.commands.doctor import print_doctor

    sys.exit(print_doctor(as_json=output == "json"))


app.command(rich_help_panel=WATCH)(enrol)
app.command(epilog=FETCH_EPILOG, rich_help_panel=LISTS)(fetch)


def main() -> None:
    """Run the command line and end the process with its exit status."""
    os.umask(0o077)  # what it stores says who did what
    _open_standard_streams()
    sys.exit(guarded(app))


def _open_standard_streams() -> None:
    """Let no file take the place of a standard stream that was closed: what is printed would go into that file.

    Reading and printing then fail as they should; what is logged goes nowhere.
    """
    for name, flags in (("stdin", os.O_WRONLY), ("stdout", os.O_RDONLY), ("stderr", os.O_RDWR)):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, flags)  # the lowest that is free
            setattr(sys, name, open(descriptor, "r" if name == "stdin" else "w", closefd=False))  # noqa: SIM115


def guarded(command: Callable[[], object]) -> int:
    """Return the exit status of `command`; errors raised on purpose become one sentence on standard error."""
    from api.errors import ApiError
    from db.errors import DbError
    from rules.errors import RulesError
    from sensor.errors import SensorError

    try:
        try:
            command()
        finally:
            sys.stdout.flush()
    except (MolecatcherError, RulesError, SensorError, DbError, ApiError) as error:
        stderr.print(f"molecatcher: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    except OSError as error:  # of the surroundings, such as a full disk behind standard output
        said = f"{error.strerror}: {error.filename}" if error.filename else error.strerror or str(error)
        stderr.print(f"molecatcher: {said}", style="red", markup=False, highlight=False, soft_wrap=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what waits to be printed would fail again at the end
        return 1
    return 0
