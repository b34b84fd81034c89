"""`molecatcher explain`: each detection of a file in sentences, with the packets that decided."""

import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from molecatcher.catalogue.folder import CatalogueFolder
from molecatcher.commands.progress import progress_of
from molecatcher.commands.replay import read_policy_file
from molecatcher.commands.tables import STYLES, console, print_summary
from molecatcher.errors import MolecatcherError
from molecatcher.recordings.dissection import dissect
from molecatcher.recordings.replay import Replay
from rules.classification.explain import explain
from rules.policy.policy import Policy
from rules.policy.ruleset import Ruleset
from rules.values.dissected import DissectedPacket
from rules.values.event import Event, to_document

MAX_EXPLAINED = 1000
TABLE_COLUMNS = ("number", "time", "source", "destination", "verdict", "service", "packets")
_UNKNOWN = "an unknown service"

Numbered = tuple[int, Event]


def explain_file(path: str, policy_path: Path | None, number: int | None, output: str) -> int:
    """Print the detections of the file at `path`, 1,000 at most, or only the one with this number.

    Returns 1 if the file could not be read whole, else 0.

    Raises:
        MolecatcherError: there is no detection of that number.
    """
    catalogue = CatalogueFolder().load()
    rules = Ruleset(catalogue, read_policy_file(policy_path, catalogue) if policy_path else Policy())
    replay, messages = Replay(rules, keeps_packets=True), Console(stderr=True)
    with progress_of(Path(path).name, messages) as update:
        rows = enumerate(replay.play(path, update), start=1)
        wanted = _only(rows, number) if number is not None else list(islice(rows, MAX_EXPLAINED))
        has_more = number is None and next(rows, None) is not None
    _print(wanted, rules, output)
    if number is None and not has_more:
        print_summary(messages, replay.summary)
    if has_more:
        messages.print(f"There are more than {MAX_EXPLAINED:,} detections; --event N explains any of them.")
    return 1 if replay.summary.failures else 0


def _only(rows: Iterator[Numbered], number: int) -> list[Numbered]:
    count = 0
    for row in rows:
        if row[0] == number:
            return [row]
        count = row[0]
    raise MolecatcherError(f"there is no detection {number}: the file has {count}; --format table lists them")


def _print(rows: list[Numbered], rules: Ruleset, output: str) -> None:
    if output == "table":
        console().print(_table(rows))
        return
    if output == "json":
        for number, event in rows:
            _print_json(number, event, rules, dissect(event.evidence))
    else:
        _print_all(rows, rules)


def _print_all(rows: list[Numbered], rules: Ruleset) -> None:
    """Print each detection; one that says the same as another before it only refers to that."""
    explained: dict[tuple[object, ...], int] = {}
    out, was_short = _plain_console(), False
    for number, event in rows:
        same = explained.setdefault(_what_it_says(event), number)
        if same != number:
            out.print(f"{_title(number, event)}: the same as {same}; --event {number} shows its packets")
        else:
            if was_short:
                out.print()
            _print_plain(number, event, rules, dissect(event.evidence))
        was_short = same != number


def _what_it_says(event: Event) -> tuple[object, ...]:
    return (
        event.src_ip,
        event.verdict,
        event.service,
        event.role,
        event.dst_name,
        event.state,
        event.kind,
        event.reasons,
    )


def _sentences(event: Event, rules: Ruleset) -> tuple[str, ...]:
    service = rules.catalogue.services.get(event.service or "")
    decision = rules.policy.decide(service) if service else None
    return explain(event, service.name if service else event.service or _UNKNOWN, decision)


def _print_json(number: int, event: Event, rules: Ruleset, packets: list[DissectedPacket]) -> None:
    document = to_document(event, with_aggregates=False)
    document |= {"number": number, "explanation": _sentences(event, rules), "evidence": packets}
    sys.stdout.buffer.write(msgspec.json.encode(document) + b"\n")
    sys.stdout.buffer.flush()


def _print_plain(number: int, event: Event, rules: Ruleset, packets: list[DissectedPacket]) -> None:
    out = _plain_console()
    out.print(Text(_title(number, event), style="bold"))
    for sentence in _sentences(event, rules):
        out.print(f"   {sentence}")
    for place, packet in enumerate(packets, start=1):
        kept = f"{packet.octets} of {packet.wire_octets} octets" if packet.octets < packet.wire_octets else ""
        out.print(f"\n   Packet {place}, {packet.time}{f', {kept}' if kept else ''}: {packet.summary}")
        out.print(f"   {packet.why}")
        for line in packet.fields:
            out.print(f"      {line}")
    if not packets:
        out.print("   No packets of it were kept.")
    out.print()


def _plain_console() -> Console:
    return Console(soft_wrap=True, markup=False, highlight=False, emoji=False)


def _title(number: int, event: Event) -> str:
    destination = f"{event.dst_ip} port {event.dst_port}" + (f" ({event.dst_name})" if event.dst_name else "")
    return f"{number}. {event.src_ip} port {event.src_port} to {destination}, {event.transport.value}"


def _table(rows: list[Numbered]) -> Table:
    table = Table(header_style="bold", row_styles=("", "dim"))
    for column in TABLE_COLUMNS:
        table.add_column(column, overflow="fold", justify="right" if column in {"number", "packets"} else "left")
    for number, event in rows:
        seconds = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(event.observed_at_ns / 1e9))
        name = f" ({event.dst_name})" if event.dst_name else ""
        table.add_row(
            str(number),
            seconds,
            Text(event.src_ip),
            Text(f"{event.dst_ip}:{event.dst_port}{name}"),
            Text(event.verdict.value, style=STYLES.get(event.verdict, "")),
            event.service or "",
            str(len(dissect(event.evidence))),
        )
    return table
