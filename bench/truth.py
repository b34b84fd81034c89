"""What is in the mix by five-tuple, and how what a program found compares with it."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from peers.program import Ends, back, ends


@dataclass(frozen=True, slots=True)
class Truth:
    """What is in the capture, by five-tuple: the class of each tunnel flow, and the lookalikes."""

    packets: int
    suffixes: tuple[str, ...]
    tunnels: dict[Ends, str]
    lookalikes: frozenset[Ends]

    def score(self, found: set[Ends] | None) -> tuple[str, str, str]:
        """Return the tunnel flows found, the lookalikes flagged, and other flows flagged."""
        if found is None:
            return "-", "-", "-"
        hits, false = self._split(found)
        return f"{len(hits)}/{len(self.tunnels)}", str(len(false & self.lookalikes)), str(len(false - self.lookalikes))

    def loss_table(self, rows: Iterable[tuple[str, set[Ends] | None]]) -> list[str]:
        """Return the table of tunnel flows missed, by class, as Markdown; `rows` are names and what they found."""
        totals = Counter(self.tunnels.values())
        lines = [
            f"| missed of | {' | '.join(f'{kind} ({count})' for kind, count in totals.items())} |",
            "|---|" + "--:|" * len(totals),
        ]
        for name, found in rows:
            if found is not None:
                hits = Counter(self.tunnels[row] for row in self._split(found)[0])
                lines.append(f"| {name} | {' | '.join(str(totals[kind] - hits[kind]) for kind in totals)} |")
        return lines

    def _split(self, found: set[Ends]) -> tuple[set[Ends], set[Ends]]:
        """Return the tunnel flows among `found`, and the others; a flow may be given from either end."""
        known = self.tunnels.keys() | self.lookalikes
        turned = {back(row) if back(row) in known else row for row in found}
        return turned & self.tunnels.keys(), turned - self.tunnels.keys()


def read_truth(path: Path) -> Truth:
    """Return the truth that the generator wrote."""
    document = json.loads(path.read_text(encoding="utf-8"))
    tunnels, lookalikes = ({_row_ends(row): row["class"] for row in document[key]} for key in ("tunnels", "lookalikes"))
    return Truth(document["packets"], tuple(document["suffixes"]), tunnels, frozenset(lookalikes))


def _row_ends(row: dict[str, str | int]) -> Ends:
    return ends(str(row["transport"]), row["src"], row["src_port"], row["dst"], row["dst_port"])


def make_mix(folder: Path, packets: int) -> Path:
    """Return a mix of so many packets in `folder`, made by a process of its own; the truth is beside it."""
    capture = folder / "mix.pcap"
    generator = str(Path(__file__).with_name("mix.py"))
    subprocess.run([sys.executable, generator, "--packets", str(packets), str(capture)], check=True)
    return capture
