"""Logging: JSON to standard error for machines, coloured lines where a person watches."""

import logging
import re
import sys

import structlog
from structlog.typing import EventDict, WrappedLogger

TOKEN_SECRET = re.compile(r"(mc_[0-9a-f]{12})_[0-9A-Za-z]+")


def configure_logging(*, as_json: bool | None = None) -> None:
    """Set up structlog once; `as_json` None: JSON unless standard error is a terminal."""
    wants_json = not sys.stderr.isatty() if as_json is None else as_json
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if wants_json else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact_tokens,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def redact_tokens(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Return the event without the secret of any token in its texts, paths and tracebacks; the token's id stays."""
    return {
        key: TOKEN_SECRET.sub(r"\1_...", value) if isinstance(value, str) else value for key, value in event.items()
    }
