"""What every document of the API is made of."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict

TIME = datetime.fromisoformat("2026-11-23T18:00:00.000000+00:00")
POLICY_DIGEST = "9f2c1e77a0b4d358"


class Document(BaseModel):
    """Base of the documents: a member that is not declared here is a mistake of ours."""

    model_config = ConfigDict(extra="forbid")
