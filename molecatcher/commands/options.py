"""Options that several commands share; `molecatcher.settings` has what they set."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molecatcher.errors import SetupError

if TYPE_CHECKING:
    from molecatcher.settings import Settings

# Commands import what they need when they run, as in `molecatcher.cli`.
# ruff: noqa: PLC0415


def _table_or_json(output: str) -> str:
    if output not in ("table", "json"):
        raise typer.BadParameter("choose table or json")
    return output


FormatOption = Annotated[str, typer.Option("--format", metavar="table|json", callback=_table_or_json)]
DetectionsOption = Annotated[
    str,
    typer.Option("--format", metavar="table|json", callback=_table_or_json, help="json: one detection a line"),
]
StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state", metavar="DIR", help="Where database, spool and secrets live (default: /var/lib/molecatcher for root)"
    ),
]
PolicyOption = Annotated[
    Path | None,
    typer.Option("--policy", metavar="FILE", help="What is sanctioned (TOML, docs/policy.md); without one nothing is"),
]
CatalogueOption = Annotated[
    Path | None,
    typer.Option(
        "--catalogue-dir", metavar="DIR", help="Your own additions to the catalogue (default: catalogue.d in --state)"
    ),
]
ListenOption = Annotated[
    str | None,
    typer.Option(
        "--listen",
        metavar="HOST:PORT",
        help="Where API and page answer; beyond loopback see docs/security.md (default: 127.0.0.1:8484)",
    ),
]
FeedsListenOption = Annotated[
    str | None,
    typer.Option(
        "--feeds-listen", metavar="HOST:PORT", help="Where other hosts get lists: TLS, with a token (default: nowhere)"
    ),
]
CertificateOption = Annotated[
    Path | None, typer.Option("--tls-cert", metavar="FILE", help="Certificate chain for other hosts (PEM)")
]
KeyOption = Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Its key (default: in that file)")]
ZoneListenOption = Annotated[
    str | None,
    typer.Option(
        "--zone-listen",
        metavar="HOST:PORT",
        help="Where resolvers get the names as a policy zone: AXFR, IXFR, NOTIFY (default: nowhere)",
    ),
]
AccessOption = Annotated[
    Path | None,
    typer.Option(
        "--access",
        metavar="FILE",
        help="Who may ask (TOML, docs/security.md) (default: /etc/molecatcher/access.toml if it is there)",
    ),
]
RequireOption = Annotated[
    bool | None,
    typer.Option("--require-auth", help="Ask everybody for a token or a sign-in, also on loopback", show_default=False),
]
InterfaceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--interface",
        "-i",
        metavar="[NETNS/]NAME",
        help="Capture here (repeatable) (default: chosen from the routes). NETNS: a name of `ip netns`, pid:N, a path",
    ),
]
NetnsOption = Annotated[
    list[str] | None,
    typer.Option("--netns", metavar="NETNS", help="Choose interfaces in this network namespace, too (repeatable)"),
]
SensorNameOption = Annotated[
    str | None,
    typer.Option("--sensor-name", metavar="NAME", help="What people call this sensor (default: the host's name)"),
]
SiteOption = Annotated[
    str | None, typer.Option("--site", metavar="NAME", help="Where it stands, such as a branch office; events say so")
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        help="Processes that share the capture, for links that one core cannot follow; needs eBPF (default: 1)",
    ),
]
AllowOption = Annotated[list[str] | None, typer.Option("--allow", metavar="PREFIX", help="Only from here (repeatable)")]
DenyOption = Annotated[list[str] | None, typer.Option("--deny", metavar="PREFIX", help="Never from here (repeatable)")]


def settings_of(**options: Any) -> "Settings":
    """Return the settings with the options that were given, over those of the environment.

    Raises:
        SetupError: one cannot be used; the message names its variable.
    """
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from molecatcher.settings import Settings

    given = {name: value for name, value in options.items() if value not in (None, ())}
    try:
        return Settings(**given)
    except ValidationError as error:
        wrong = "; ".join(f"{_variable(row['loc'])}: {row['msg']}" for row in error.errors())
        raise SetupError(f"the settings cannot be used: {wrong}") from None
    except SettingsError as error:
        advice = "write lists as MOLECATCHER_RESOLVERS='[\"192.0.2.53\"]'"
        raise SetupError(f"the settings cannot be used: {error}; {advice}") from None


def _variable(location: tuple[int | str, ...]) -> str:
    return f"MOLECATCHER_{location[0]}".upper() if location else "settings"
