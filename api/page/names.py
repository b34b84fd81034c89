"""What people call a service."""

from api.context import ApiContext

SHORT_NAME_END = " ("


def short_names(context: ApiContext) -> dict[str | None, str]:
    """Return each service's name without what stands in parentheses behind it; None is no service."""
    names: dict[str | None, str] = {
        row.id: row.name.partition(SHORT_NAME_END)[0] for row in context.catalogue_services()
    }
    return names | {None: "unknown service"}
