"""The policy as the page shows it: the file's part and what people changed, each with where it comes from."""

from dataclasses import dataclass

from api.context import ApiContext, PolicyStatus
from api.policy.blocked import blocked_documents, never_blocked_documents
from api.policy.exceptions import exception_document, exceptions_of_file
from api.policy.sanctioned import ingress_documents
from db.workflow.values import StoredDecision
from rules.catalogue.service import CATEGORIES
from rules.values.verdict import Decision

MAX_EXCEPTIONS_SHOWN = 200

Documents = tuple[dict[str, object], ...]


@dataclass(frozen=True, slots=True)
class PolicyView:
    """What is sanctioned, excepted, decided and blocked. `by_file` are the decisions of the file, which win."""

    status: PolicyStatus
    sanctioned: Documents
    exceptions: Documents
    has_more_exceptions: bool
    by_file: tuple[tuple[str, Decision], ...]
    decisions: tuple[StoredDecision, ...]
    blocked: Documents
    never_blocked: Documents
    choices: tuple[tuple[str, str], ...]
    services: tuple[tuple[str, str], ...]


def make_policy(context: ApiContext) -> PolicyView:
    """Return the whole policy; `services` are what can be sanctioned, `choices` those with the categories."""
    policy = context.ruleset().policy
    stored = context.store.policy.exceptions(None, None, None, MAX_EXCEPTIONS_SHOWN + 1)
    shown = [exception_document(row, context) for row in stored[:MAX_EXCEPTIONS_SHOWN]]
    in_file = [row for row in policy.decisions.items() if row[0] not in policy.decided_in_database]
    services = sorted(((row.id, row.name) for row in context.catalogue_services()), key=lambda row: row[1].lower())
    return PolicyView(
        status=context.policy_status(),
        sanctioned=tuple(ingress_documents(context)),
        exceptions=(*exceptions_of_file(context), *shown),
        has_more_exceptions=len(stored) > MAX_EXCEPTIONS_SHOWN,
        by_file=tuple(sorted(in_file)),
        decisions=tuple(context.store.policy.decisions()),
        blocked=tuple(blocked_documents(context)),
        never_blocked=tuple(never_blocked_documents(context)),
        choices=(*((name, f"all of {name}") for name in sorted(CATEGORIES)), *services),
        services=tuple(services),
    )
