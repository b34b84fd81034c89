"""An event as a person is told of it."""

from api.context import ApiContext
from rules.classification.explain import explain
from rules.values.event import Event


def explained(event: Event, context: ApiContext) -> tuple[str, ...]:
    """Return the sentences that explain `event` under what is decided now."""
    service = next((row for row in context.catalogue_services() if row.id == event.service), None)
    name = service.name if service else event.service or "an unknown service"
    return explain(event, name, service.decision if service else None)
