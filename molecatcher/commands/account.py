"""`molecatcher account`: the account for the first use and for emergencies."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="account",
    help="The break-glass account: a way in before the company's sign-in is set up, and when it is down.",
    no_args_is_help=True,
)

# Commands import what they need when they run, as in `molecatcher.cli`.
# ruff: noqa: PLC0415

StateOption = Annotated[
    Path | None,
    typer.Option("--state", metavar="DIR", help="Where the database lives (default: /var/lib/molecatcher for root)"),
]
NameOption = Annotated[str, typer.Option("--name", metavar="NAME", help="What the account is called")]


@app.command(name="create-break-glass")
def create_break_glass(
    name: NameOption = "emergency",
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Also from other hosts (default: from this host's loopback only)")
    ] = False,
    state: StateOption = None,
) -> None:
    """Make the account, or give it a new password, and print that, this once.

    It has the role admin. Every use is in the audit log, in the program's log as an error, and in the metric
    molecatcher_break_glass_sign_ins_total: alarm on that.

    Example: molecatcher account create-break-glass
    """
    from api.access.break_glass import hash_of, new_password
    from db.access.values import Account
    from molecatcher.commands.token import acting, open_state

    password = new_password()
    with open_state(state) as store:
        acting(store, "account.create", name).put_account(
            Account(
                name=name,
                password_hash=hash_of(password),
                is_for_loopback_only=not allow_remote,
                created_at_ns=time.time_ns(),
            )
        )
    typer.echo(f"account {name!r}; its password is shown once, seal it where two people can get at it:", err=True)
    sys.stdout.write(f"{password}\n")


@app.command(name="list")
def list_accounts(state: StateOption = None) -> None:
    """Say which accounts there are, from where each is good and when it was last used."""
    from molecatcher.commands.tables import console, plain_table
    from molecatcher.commands.token import open_state, shown_time

    with open_state(state) as store:
        found = store.accounts()
    rows = []
    for row in found:
        where = "loopback" if row.is_for_loopback_only else "anywhere"
        rows.append((row.name, where, shown_time(row.created_at_ns) or "", shown_time(row.used_at_ns) or "never"))
    console().print(plain_table(("name", "from", "created", "last used"), rows))


@app.command()
def remove(name: NameOption = "emergency", state: StateOption = None) -> None:
    """Remove the account; sessions that it began go on until they are over (`/v1/sessions` revokes them)."""
    from molecatcher.commands.token import acting, open_state
    from molecatcher.errors import SetupError

    with open_state(state) as store:
        if not acting(store, "account.delete", name).drop_account(name):
            raise SetupError(f"there is no account {name!r}: see `molecatcher account list`")
    typer.echo("removed", err=True)
