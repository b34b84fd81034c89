"""Saved searches beside the filter that they are of: to open, to share, to remove, and the present one to save."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.requests import Request

from api.caller import Caller
from api.context import ApiContext
from api.page.filters import filter_of
from api.page.render import origin_of
from db.workflow.values import SavedSearch, SearchedResource


@dataclass(frozen=True, slots=True)
class SearchLink:
    """A saved search: `address` opens it; `owner` is "" for one's own, and for who sees no names."""

    search: SavedSearch
    address: str
    url: str
    owner: str
    is_own: bool
    is_open: bool


@dataclass(frozen=True, slots=True)
class Searches:
    """The searches of one list that somebody may open; `present` is the filter that the page shows now."""

    resource: SearchedResource
    links: tuple[SearchLink, ...]
    present: Mapping[str, str]

    @property
    def can_save(self) -> bool:
        """Tell whether there is a filter, and none of the links has it already."""
        return bool(self.present) and not any(link.is_open for link in self.links)


def make_searches(context: ApiContext, resource: SearchedResource, request: Request, who: Caller) -> Searches:
    """Return the searches of `resource` that `who` made or others share."""
    present = filter_of(request)
    found = context.store.searches.searches(who.name)
    links = (_link(row, request, who, present) for row in found if row.resource is resource)
    return Searches(resource, tuple(links), present)


def _link(search: SavedSearch, request: Request, who: Caller, present: Mapping[str, str]) -> SearchLink:
    is_own = search.owner == who.name
    address = f"/{search.resource}?{urlencode(search.query)}"
    return SearchLink(
        search=search,
        address=address,
        url=f"{origin_of(request)}{address}",
        owner="" if is_own or not who.sees_names else search.owner,
        is_own=is_own,
        is_open=search.query == present,
    )
