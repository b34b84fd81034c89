"""The documents of the policy in force."""

from datetime import date, datetime

from pydantic import Field

from api.schemas.document import POLICY_DIGEST, TIME, Document
from rules.policy.policy import PolicyOrigin


class SanctionedDocument(Document):
    """A domain that may be used, with everything below it."""

    domain: str = Field(examples=["tunnels.example.com"])
    service: str = Field(examples=["ngrok"])
    owner: str = Field(examples=["platform@example.com"])
    reason: str = Field(examples=["team tenant"])
    expires: date | None = Field(examples=["2027-12-31"])
    is_active: bool
    origin: PolicyOrigin


class PolicyDocument(Document):
    """The policy in force; `error` says why the newest file was not taken."""

    path: str = Field(examples=["policy.toml"])
    loaded_at: datetime = Field(examples=[TIME])
    digest: str = Field(description="Of what it says, as events have it", examples=[POLICY_DIGEST])
    sanctioned: list[SanctionedDocument]
    error: str = Field(examples=[""])
    warnings: list[str] = Field(examples=[[]])
