"""What of events and findings a caller is shown: as they are, or under pseudonyms."""

from dataclasses import dataclass
from typing import Annotated

import msgspec
from fastapi import Depends, Query
from starlette.requests import Request

from api.caller import Who
from api.problems import Kind, Problem
from api.pseudonyms import Pseudonyms
from db.values import Dimension, EventFilter, Finding, FindingFilter
from rules.values.event import Event


@dataclass(frozen=True, slots=True)
class Veil:
    """Shows values to one caller and reads theirs; without pseudonyms everything stays as it is."""

    pseudonyms: Pseudonyms | None = None

    def event(self, event: Event) -> Event:
        """Return the event as it is shown."""
        return self.pseudonyms.event(event) if self.pseudonyms else event

    def finding(self, finding: Finding) -> Finding:
        """Return the finding as it is shown."""
        return self.pseudonyms.finding(finding) if self.pseudonyms else finding

    def shown_id(self, finding_id: str) -> str:
        """Return a finding's id as it is shown."""
        return self.pseudonyms.finding_id(finding_id) if self.pseudonyms else finding_id

    def real_id(self, finding_id: str) -> str:
        """Return the finding's id that was meant."""
        return self.pseudonyms.reveal_finding_id(finding_id) if self.pseudonyms else finding_id

    def group(self, dimension: Dimension, value: str | None) -> str | None:
        """Return what events were counted by as it is shown."""
        is_name = self.pseudonyms and dimension is Dimension.SRC and value
        return self.pseudonyms.address(value) if self.pseudonyms and is_name and value else value

    def events(self, wanted: EventFilter) -> EventFilter:
        """Return the filter that was meant: sources by pseudonym, and a search that does not look at them."""
        if self.pseudonyms is None:
            return wanted
        src = self._source(wanted.src, self.pseudonyms)
        return msgspec.structs.replace(wanted, src=src, q_finds_sources=False)

    def findings(self, wanted: FindingFilter) -> FindingFilter:
        """Return the filter that was meant, as for events."""
        if self.pseudonyms is None:
            return wanted
        src = self._source(wanted.src, self.pseudonyms)
        return msgspec.structs.replace(wanted, src=src, q_finds_sources=False)

    @staticmethod
    def _source(src: str | None, pseudonyms: Pseudonyms) -> str | None:
        """Return the source that was meant; one after the other, networks would tell what a pseudonym stands for."""
        if src and "/" in src:
            raise Problem(Kind.INVALID_PARAMETER, "src: pseudonyms are in no network: give one address")
        return src and pseudonyms.reveal_address(src)

    def require_names(self) -> None:
        """Refuse what cannot be shown without names.

        Raises:
            Problem: the caller sees none.
        """
        if self.pseudonyms is not None:
            raise Problem(Kind.NOT_ALLOWED, "This shows who it was: ask as somebody who may see names.")


def _veil(
    request: Request,
    who: Who,
    names: Annotated[bool, Query(description="False: sources and people under stable pseudonyms")] = True,
) -> Veil:
    pseudonyms: Pseudonyms = request.app.state.pseudonyms
    return Veil() if names and who.sees_names else Veil(pseudonyms)


Shown = Annotated[Veil, Depends(_veil)]
