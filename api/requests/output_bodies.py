"""What is sent to make an output or a program that may call back, with bounds."""

from typing import Annotated, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, Field, StringConstraints, field_validator

from api.requests.bodies import Body, ChangeBody, Person, Word
from db.workflow.output_values import OutputFilter
from rules.values.verdict import Outcome, Severity

MAX_URL = 2048


def checked_url(url: str) -> str:
    """Return a URL that can be spoken to.

    Raises:
        ValueError: it is none, or holds a user.
    """
    parts = urlsplit(url)
    is_text = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in {"http", "https"} or not parts.hostname or not is_text:
        raise ValueError("give a URL such as https://soar.example.com/hooks")
    if parts.username is not None or parts.password is not None or parts.port == 0:
        raise ValueError("leave user and password out of the URL")
    return url


Url = Annotated[str, StringConstraints(strip_whitespace=True, min_length=8, max_length=MAX_URL)]
HttpUrl = Annotated[Url, AfterValidator(checked_url)]


class FilterBody(Body):
    """Which events an output takes; empty lists take all."""

    verdicts: Annotated[list[Outcome], Field(max_length=8)] = Field([Outcome.UNSANCTIONED, Outcome.SUSPICIOUS])
    min_severity: Severity = Severity.INFORMATIONAL
    services: Annotated[list[Word], Field(max_length=100)] = Field([], examples=[["ngrok"]])

    def to_filter(self) -> OutputFilter:
        """Return the filter of the store."""
        return OutputFilter(
            verdicts=tuple(self.verdicts), min_severity=self.min_severity, services=tuple(self.services)
        )


class WebhookTarget(Body):
    """A receiver of signed webhooks (Standard Webhooks). The secret is made here and shown once."""

    kind: Literal["webhook"]
    url: HttpUrl = Field(examples=["https://soar.example.com/hooks/molecatcher"])


class HecTarget(Body):
    """Splunk's HTTP Event Collector."""

    kind: Literal["hec"]
    url: HttpUrl = Field(description="Without a path", examples=["https://splunk.example.com:8088"])
    token: Annotated[str, Field(min_length=1, max_length=256, pattern="^[!-~]+$")]
    index: Annotated[str, Field(max_length=128, pattern="^[A-Za-z0-9_-]*$")] = ""


class SyslogTarget(Body):
    """A syslog server over TLS (RFC 5424, RFC 5425)."""

    kind: Literal["syslog"]
    host: Annotated[str, Field(min_length=1, max_length=253, pattern="^[A-Za-z0-9.:_-]+$")]
    port: Annotated[int, Field(ge=1, le=65535)] = 6514
    format: Literal["json", "cef"] = "json"
    ca: Annotated[str, Field(max_length=32_768)] = Field("", description="PEM; empty: the system's authorities")


class AppriseTarget(Body):
    """People, by e-mail or chat, as apprise addresses them; kept secret, since it holds passwords."""

    kind: Literal["apprise"]
    address: Url = Field(examples=["mailtos://user:password@mail.example.com?to=soc@example.com"])

    @field_validator("address")
    @classmethod
    def _is_for_people(cls, address: str) -> str:
        scheme = address.partition("://")[0].lower()
        if scheme in GENERIC or "://" not in address:
            raise ValueError("give an address of a mail or chat service; for programs there is `webhook`")
        if READS_FILES & {name.lower() for name, _ in parse_qsl(urlsplit(address).query, keep_blank_values=True)}:
            raise ValueError("leave out what names a file of this host")
        return address


# What speaks to programs or to this host itself, or is given a file's name in the path.
_OF_PROGRAMS = ("json", "jsons", "xml", "xmls", "form", "forms", "syslog", "fcm", "vapid")
_OF_THIS_HOST = ("file", "dbus", "qt", "kde", "glib", "gnome", "windows", "macosx")
GENERIC = frozenset({*_OF_PROGRAMS, *_OF_THIS_HOST})
READS_FILES = frozenset({"template", "keyfile", "subfile", "pgpkey", "attach"})
Target = Annotated[WebhookTarget | HecTarget | SyslogTarget | AppriseTarget, Field(discriminator="kind")]


class OutputBody(Body):
    """Where events are to go by themselves."""

    name: Person = Field(examples=["soar"])
    target: Target
    wanted: FilterBody = Field(default_factory=lambda: FilterBody.model_validate({}))
    from_beginning: bool = Field(False, strict=True, description="True: also the events that are stored already")


class SourceBody(Body):
    """A program that may change findings by signed webhooks."""

    name: Person = Field(examples=["soar"])


class InboundData(ChangeBody):
    """What is done to one finding."""

    finding_id: Annotated[str, Field(min_length=1, max_length=64)]


class InboundBody(Body):
    """A webhook of a program that changes a finding."""

    type: Literal["finding.changed"]
    timestamp: Annotated[str, Field(max_length=64)]
    data: InboundData
