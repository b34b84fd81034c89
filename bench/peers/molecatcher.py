"""Molecatcher itself, as installed and without its compiled part."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from db.store import open_store
from peers.live import Outcome, Receiver
from peers.program import Ends, Program, Work, ends, first_line
from rules.values.verdict import Outcome as Judged

PCAPNG = ".pcapng"
PROGRAM = str(Path(sys.executable).with_name("molecatcher"))
WITHOUT = "import os; os.environ['MOLECATCHER_PURE_PYTHON'] = '1'; from molecatcher.cli import main; main()"

FALL_BACKS = ("flow-heads", "ring", "af-packet")
FORCED = """
import sys
from sensor.capture.live import engine
from sensor.capture.filter.flow_heads import FlowHeads
from sensor.capture.live.sockets import Engine
from sensor.capture.live.plain import PlainTap
from sensor.capture.filter.program_heads import ProgramHeads
from sensor.capture.live.ring import open_ring
ways = {
    "flow-heads": lambda: (FlowHeads(), PlainTap),
    "ring": lambda: (ProgramHeads(), open_ring),
    "af-packet": lambda: (ProgramHeads(), PlainTap),
}
name = sys.argv.pop(1)
engine.choose_engine = lambda *_: Engine(name, "the bench wants it", *ways[name]())
from molecatcher.cli import main
main()
"""
MAX_EVENTS = 10_000


def _version() -> str | None:
    return first_line([PROGRAM, "--version"])


def _command(work: Work) -> list[str]:
    return [PROGRAM, "replay", "--format", "json", str(work.capture)]


def _pure_command(work: Work) -> list[str]:
    return [sys.executable, "-c", WITHOUT, *_command(work)[1:]]


def _find(work: Work) -> set[Ends]:
    rows = map(json.loads, work.output.read_text().splitlines())
    return {
        ends(row["transport"], row["src_ip"], row["src_port"], row["dst_ip"], row["dst_port"])
        for row in rows
        if row["verdict"] in {"unsanctioned", "suspicious"}
    }


def _live(work: Work, interface: str) -> list[str]:
    return [PROGRAM, "sensor", "--interface", interface, "--state", str(work.folder / "state")]


def _forced(engine: str) -> Callable[[Work, str], list[str]]:
    return lambda work, interface: [sys.executable, "-c", FORCED, engine, *_live(work, interface)[1:]]


def _outcome(work: Work, _log: str) -> Outcome:
    """Return what the sensor's last heartbeat counted and what it reported."""
    with open_store(work.folder / "state" / "molecatcher.db") as store:
        status = store.sensors()[0]
        rows = [row.event for row in store.ingested_after(0, MAX_EVENTS)]
    flagged = (row for row in rows if row.verdict in {Judged.UNSANCTIONED, Judged.SUSPICIOUS})
    found = {ends(str(row.transport), row.src_ip, row.src_port, row.dst_ip, row.dst_port) for row in flagged}
    return Outcome(status.packets + status.kernel_drops, status.kernel_drops + status.shed, found)


RECEIVERS = [
    Receiver("molecatcher", _version, _live, "sensor_started", _outcome),
    *(Receiver(f"molecatcher, {name}", _version, _forced(name), "sensor_started", _outcome) for name in FALL_BACKS),
]
PROGRAMS = [
    Program("molecatcher", _version, _command, _find),
    Program("molecatcher, pure Python", _version, _pure_command, _find),
    Program("molecatcher, pcapng", _version, _command, _find, suffix=PCAPNG),
]
