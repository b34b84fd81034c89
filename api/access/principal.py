"""Who asks: a person with a role, a machine with a token, or somebody on a host whose loopback is trusted."""

from dataclasses import dataclass

from starlette.requests import Request

from api.access.table import Rule
from db.access.values import AccessRole, ActorKind, Session, Token, TokenScope


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a request comes from. Only a person has a session, only a machine a token; on trusted loopback neither."""

    kind: ActorKind
    id: str = ""
    name: str = ""
    role: AccessRole | None = None
    scopes: frozenset[TokenScope] = frozenset()
    token: Token | None = None
    session: Session | None = None

    def may(self, rule: Rule) -> bool:
        """Tell whether a route with this rule is open to it."""
        if rule.is_open:
            return True
        if self.role is not None:
            return rule.opens_to_role(self.role)
        return rule.opens_to_scopes(self.scopes)


NOBODY = Principal(ActorKind.NOBODY)
LOCAL = Principal(ActorKind.LOCAL, id="loopback", name="somebody on this host", role=AccessRole.ADMIN)


def principal_of(request: Request) -> Principal:
    """Return who a request comes from, as `api.access.gate.authorize` found it; nobody before that."""
    principal: Principal = getattr(request.state, "principal", NOBODY)
    return principal


def of_token(token: Token) -> Principal:
    """Return the holder of a token."""
    return Principal(ActorKind.TOKEN, token.token_id, token.name, scopes=frozenset(token.scopes), token=token)


def of_session(session: Session) -> Principal:
    """Return the person of a session."""
    return Principal(ActorKind.PERSON, session.subject, session.name, role=session.role, session=session)
