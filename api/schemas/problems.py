"""Errors as documents (RFC 9457)."""

from pydantic import BaseModel, Field

from api.schemas.document import Document
from api.schemas.health import CheckDocument


class InvalidParameter(Document):
    """A parameter that was refused."""

    parameter: str = Field(examples=["limit"])
    detail: str = Field(examples=["Input should be less than or equal to 500"])


class ProblemDocument(BaseModel):
    """An error (RFC 9457). `type` is stable; `detail` says what to do."""

    type: str = Field(examples=["urn:molecatcher:problem:invalid-parameter"])
    title: str = Field(examples=["A parameter has a value that cannot be used"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["limit: Input should be less than or equal to 500"])
    errors: list[InvalidParameter] | None = None
    checks: list[CheckDocument] | None = None
    correlation_id: str | None = Field(None, description="Names the log entry of an internal error")
