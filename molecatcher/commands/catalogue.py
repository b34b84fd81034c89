"""`molecatcher catalogue`: what the catalogue of tunnel services holds, its updates, and additions of one's own."""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molecatcher.commands.options import FormatOption

if TYPE_CHECKING:
    from molecatcher.catalogue.folder import CatalogueFolder
    from rules.catalogue.catalogue import Catalogue
    from rules.policy.policy import Policy

app = typer.Typer(
    name="catalogue",
    help="The catalogue of tunnel services: what it holds, signed updates, additions of your own, tests of entries.",
    no_args_is_help=True,
)

# Commands import what they need when they run, as in `molecatcher.cli`.
# ruff: noqa: PLC0415

StateOption = Annotated[
    Path | None,
    typer.Option("--state", metavar="DIR", help="Where updates are kept (default: /var/lib/molecatcher for root)"),
]
AdditionsOption = Annotated[
    Path | None,
    typer.Option(
        "--catalogue-dir", metavar="DIR", help="Your own additions (default: catalogue.d in the state directory)"
    ),
]
KeyOption = Annotated[
    Path | None,
    typer.Option("--key", metavar="FILE", help="Public keys (PEM) to check with (default: MOLECATCHER_CATALOGUE_KEY)"),
]
PolicyOption = Annotated[
    Path | None, typer.Option("--policy", metavar="FILE", help="The policy that it must fit (default: the one in use)")
]
SourceArgument = Annotated[
    str, typer.Argument(metavar="FILE-or-URL", help="A bundle; its signature is beside it, .sig")
]


@app.command()
def show(
    service: Annotated[str | None, typer.Argument(metavar="[SERVICE]", help="Everything known of this one")] = None,
    *,
    output: FormatOption = "table",
    state: StateOption = None,
    catalogue_dir: AdditionsOption = None,
) -> None:
    """Say which catalogue is in force: version, date, where it is from, your additions; or what it says of a service.

    Example: molecatcher catalogue show ngrok
    """
    from molecatcher.commands.catalogue_tables import print_catalogue, print_service

    catalogue = _folder(state, catalogue_dir).load()
    if service is None:
        print_catalogue(catalogue, time.time_ns(), as_json=output == "json")
    else:
        print_service(catalogue, service, as_json=output == "json")


@app.command()
def diff(
    source: SourceArgument,
    *,
    output: FormatOption = "table",
    state: StateOption = None,
    catalogue_dir: AdditionsOption = None,
) -> None:
    """Show what a bundle has otherwise than the catalogue in force. Nothing changes, and no signature is needed."""
    from molecatcher.commands.catalogue_tables import print_changes

    folder = _folder(state, catalogue_dir)
    print_changes(folder.load(), _with_additions(folder, _fetched(source)), as_json=output == "json")


@app.command()
def update(
    source: SourceArgument,
    *,
    key: KeyOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check it, show what would change, change nothing")
    ] = False,
    allow_older: Annotated[
        bool, typer.Option("--allow-older", help="Also a version older than the one in force")
    ] = False,
    policy: PolicyOption = None,
    state: StateOption = None,
    catalogue_dir: AdditionsOption = None,
) -> None:
    """Take a signed catalogue. Running sensors and APIs use it within seconds; the one before is kept.

    The signature (Ed25519, in FILE.sig) must be by a key that you chose: --key, or MOLECATCHER_CATALOGUE_KEY.

    Example: molecatcher catalogue update https://intranet.example/catalogue.json --key catalogue.pem --dry-run
    """
    from molecatcher.catalogue.fetch import read_signature
    from molecatcher.catalogue.signatures import verify
    from molecatcher.commands.catalogue_tables import print_changes

    folder, public = _folder(state, catalogue_dir), _key(key)
    octets = _fetched(source)
    signature = read_signature(source)
    verify(octets, signature, public, source)
    before, after = folder.load(), _with_additions(folder, octets)
    is_older = _is_older(before, after, is_allowed=allow_older)
    _policy(policy, after)  # which must fit it
    print_changes(before, after, as_json=False)
    if dry_run:
        typer.echo("Nothing was changed (--dry-run).", err=True)
        return
    folder.install(octets, after.version, is_wanted=is_older, signature=signature)
    typer.echo(
        f"The catalogue is now {after.version}; `molecatcher catalogue rollback` returns to {before.version}.", err=True
    )


@app.command()
def rollback(state: StateOption = None, catalogue_dir: AdditionsOption = None) -> None:
    """Return to the catalogue before the last update; once more takes the newer again."""
    folder = _folder(state, catalogue_dir)
    folder.roll_back()
    typer.echo(f"The catalogue is now {folder.load().version}.", err=True)


@app.command()
def sign(
    source: Annotated[
        Path, typer.Argument(metavar="DIR-or-FILE", help="A catalogue's folder (such as rules/catalogue/), or a bundle")
    ],
    *,
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="Private key (Ed25519, PEM)")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where the bundle of a folder goes")
    ] = Path("catalogue.json"),
) -> None:
    """Make a bundle of a catalogue's folder and sign it; FILE.sig is its signature.

    Example: openssl genpkey -algorithm ed25519 -out private.pem && openssl pkey -in private.pem -pubout -out public.pem

    Example: molecatcher catalogue sign rules/catalogue/ --key private.pem --output catalogue.json
    """
    from molecatcher.catalogue.bundles import SIGNATURE_SUFFIX, pack, unpack
    from molecatcher.catalogue.signatures import sign as sign_octets
    from molecatcher.lists.fetch import replace_whole
    from rules.catalogue.catalogue import build_catalogue, read_files

    is_folder = source.is_dir()
    octets = pack(read_files(source)) if is_folder else _fetched(str(source))
    version = build_catalogue(unpack(octets, str(source))).version
    signature, target = sign_octets(octets, key), output if is_folder else source
    if is_folder:
        replace_whole(target, octets)
    replace_whole(target.with_name(f"{target.name}{SIGNATURE_SUFFIX}"), signature)
    typer.echo(f"{target} holds catalogue {version}; its signature is {target}{SIGNATURE_SUFFIX}", err=True)


@app.command()
def verify(source: SourceArgument, *, key: KeyOption = None) -> None:
    """Check that a bundle is whole and signed by one of your keys. Exit status 1 if not."""
    from molecatcher.catalogue.bundles import unpack
    from molecatcher.catalogue.fetch import read_signature
    from molecatcher.catalogue.signatures import verify as check
    from molecatcher.commands.tables import counted
    from rules.catalogue.catalogue import build_catalogue

    public = _key(key)
    octets = _fetched(source)
    check(octets, read_signature(source), public, source)
    catalogue = build_catalogue(unpack(octets, source))
    typer.echo(
        f"good: catalogue {catalogue.version} of {catalogue.generated}, {counted(len(catalogue.services), 'service')}"
    )


@app.command(name="test")
def check_entries(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", help="Entries to test as additions (default: what is in force)"),
    ] = None,
    *,
    policy: PolicyOption = None,
    output: FormatOption = "table",
    state: StateOption = None,
    catalogue_dir: AdditionsOption = None,
) -> None:
    """Test entries: syntax, their own examples and near misses, overlaps with other services, shared names, the policy.

    Exit status 0: no errors (warnings are printed); 1: errors, or a file that cannot be read.

    Example: molecatcher catalogue test example-tunnel.toml --policy policy.toml
    """
    from molecatcher.commands.catalogue_tables import print_problems
    from rules.catalogue.check import Level, check_catalogue

    catalogue, only = _folder(state, catalogue_dir).load_with(files or [])
    sanctions = _policy(policy, catalogue).active_sanctions(time.time_ns())
    problems = check_catalogue(catalogue, (sanction.domain for sanction in sanctions), only)
    print_problems(problems, len(only) or len(catalogue.services), as_json=output == "json")
    sys.exit(1 if any(problem.level is Level.ERROR for problem in problems) else 0)


def _folder(state: Path | None, additions: Path | None) -> "CatalogueFolder":
    from molecatcher.catalogue.folder import CatalogueFolder

    return CatalogueFolder(state, additions)


def _key(given: Path | None) -> Path:
    """Return the file of the public keys that the operator chose."""
    from molecatcher.errors import CatalogueError

    found = given or os.environ.get("MOLECATCHER_CATALOGUE_KEY")
    if not found:
        advice = "give the public key of whoever signs your catalogue with --key FILE, or set MOLECATCHER_CATALOGUE_KEY"
        raise CatalogueError(f"no key is configured, so no update can be trusted: {advice} (docs/catalogue.md)")
    return Path(found)


def _fetched(source: str) -> bytes:
    from rich.console import Console

    from molecatcher.catalogue.fetch import read_source
    from molecatcher.commands.progress import progress_of

    with progress_of(source.rpartition("/")[2] or source, Console(stderr=True)) as update_bar:
        return read_source(source, update_bar)


def _with_additions(folder: "CatalogueFolder", octets: bytes) -> "Catalogue":
    """Return what would be in force with a bundle: additions must fit it."""
    from molecatcher.catalogue.bundles import unpack

    return folder.build(unpack(octets, "the bundle"))


def _is_older(before: "Catalogue", after: "Catalogue", *, is_allowed: bool) -> bool:
    """Tell whether it is; refuse it unless that is allowed."""
    from molecatcher.errors import CatalogueError
    from rules.catalogue.catalogue import version_key

    is_older = version_key(after.version) < version_key(before.version)
    if is_older and not is_allowed:
        raise CatalogueError(
            f"{after.version} is older than the catalogue in force, {before.version}: give --allow-older if you mean it"
        )
    return is_older


def _policy(given: Path | None, catalogue: "Catalogue") -> "Policy":
    """Return the policy that is used, an empty one where there is none."""
    from molecatcher.live_rules import read_policy
    from molecatcher.settings import default_policy
    from rules.policy.policy import Policy

    named = os.environ.get("MOLECATCHER_POLICY")
    path = given or (Path(named) if named else default_policy())
    return read_policy(path, catalogue, time.time_ns()) if path else Policy()
