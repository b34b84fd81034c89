"""Molecatcher itself, as installed and without its compiled part."""

import json
import sys
from pathlib import Path

from peers.program import Ends, Program, Work, ends, first_line

PROGRAM = str(Path(sys.executable).with_name("molecatcher"))
WITHOUT = "import os; os.environ['MOLECATCHER_PURE_PYTHON'] = '1'; from molecatcher.cli import main; main()"


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


PROGRAMS = [
    Program("molecatcher", _version, _command, _find),
    Program("molecatcher, pure Python", _version, _pure_command, _find),
]
