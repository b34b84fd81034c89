"""Services as the page shows them: those seen in the last 30 days first, then all others by name."""

from dataclasses import dataclass

from api.context import ApiContext, ServiceRow
from api.times import DAY_NS
from db.values import ServiceCount

DAYS = 30


@dataclass(frozen=True, slots=True)
class ServiceLine:
    """A service and what was seen of it; `known` is None for one that the catalogue lost."""

    id: str
    known: ServiceRow | None
    seen: ServiceCount | None

    @property
    def name(self) -> str:
        """Return what people call it."""
        return self.known.name if self.known else self.id or "no service named"


@dataclass(frozen=True, slots=True)
class ServicesView:
    """All services, and what was decided by category and decision: `decided[decision]` counts services."""

    lines: tuple[ServiceLine, ...]
    seen: int
    decided: tuple[tuple[str, int], ...]
    days: int = DAYS


def make_services(context: ApiContext) -> ServicesView:
    """Return every service of the catalogue and every other one that events name."""
    to_ns = context.now_ns() + 1
    counts = {row.service or "": row for row in context.store.service_counts(max(0, to_ns - DAYS * DAY_NS), to_ns)}
    known = {row.id: row for row in context.catalogue_services()}
    lines = [ServiceLine(key, known.get(key), counts.get(key)) for key in {*known, *counts}]
    lines.sort(key=lambda line: (-(line.seen.last_seen_ns if line.seen else 0), line.name.lower()))
    decided: dict[str, int] = {}
    for row in known.values():
        decided[row.decision.value] = decided.get(row.decision.value, 0) + 1
    return ServicesView(tuple(lines), len(counts), tuple(sorted(decided.items())))
