"""`molecatcher enrol`: make this host a sensor of another host's API, with one token that is good once."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from molecatcher.commands.options import SensorNameOption, SiteOption, StateOption, settings_of

# Commands import what they need when they run, as in `molecatcher.cli`.
# ruff: noqa: PLC0415


def enrol(
    url: Annotated[str, typer.Argument(metavar="URL", help="The API: https://HOST:PORT")],
    *,
    token_file: Annotated[
        Path | None,
        typer.Option(
            "--token-file", metavar="FILE", help="Has the enrolment token; - is standard input (default: ask)"
        ),
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option("--ca", metavar="FILE", help="The only authority to trust for it, PEM (default: the system's)"),
    ] = None,
    unit: Annotated[
        Path | None,
        typer.Option("--unit", metavar="FILE", help="Also write the settings for the sensor's unit there"),
    ] = None,
    state: StateOption = None,
    sensor_name: SensorNameOption = None,
    site: SiteOption = None,
) -> None:
    """Make this host a sensor of another host's API.

    The enrolment token is made there (`molecatcher token create NAME --scope sensors:enrol`, or on the page under
    Sensors); it is good once, for an hour. This host keeps a token of its own in the state directory, with mode 0600.
    The settings for the sensor's unit go to standard output.

    Example: molecatcher enrol https://molecatcher.example.com:8484 --ca company-ca.pem --unit
    /etc/systemd/system/molecatcher-sensor.service.d/api.conf
    """
    from molecatcher.commands.tables import counted
    from molecatcher.errors import SetupError
    from molecatcher.logs import configure_logging
    from molecatcher.processes.enrolment import Enrolment

    configure_logging()
    enrolment = Enrolment(settings_of(state=state, api=url, sensor_name=sensor_name, site=site), ca)
    enrolment.exchange(_token(token_file))
    typer.echo(f"sensor {enrolment.sensor_id} has its own token: {enrolment.token_file}", err=True)
    sanctioned = counted(enrolment.check(), "sanctioned ingress", "sanctioned ingresses")
    typer.echo(f"the API answers and has its rules for it: {sanctioned}", err=True)
    text = enrolment.unit_settings()
    sys.stdout.write(text)
    if unit is not None:
        try:
            unit.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            unit.write_text(text, encoding="utf-8")
            unit.chmod(0o644)
        except OSError as error:
            raise SetupError(f"{unit} cannot be written: {error.strerror}; the settings are printed above") from None
    where = f"{unit} has" if unit else "put this in, with `systemctl edit molecatcher-sensor`:"
    typer.echo(f"next: {where} the settings above; then", err=True)
    typer.echo("  systemctl daemon-reload && systemctl enable --now molecatcher-sensor", err=True)
    typer.echo(f"or run: molecatcher sensor {enrolment.options()}", err=True)


def _token(token_file: Path | None) -> str:
    from molecatcher.errors import SetupError

    if token_file is None and sys.stdin.isatty():
        return str(typer.prompt("enrolment token", hide_input=True, err=True)).strip()
    try:
        is_input = token_file is None or str(token_file) == "-"
        text = sys.stdin.readline() if is_input or token_file is None else token_file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"the enrolment token cannot be read from {token_file}: {error}") from None
    return text.strip()
