"""Structured logs: one JSON object a line on stderr, with the ids of request and job, and without any secret."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

SECRET_NAMES = re.compile(r"authorization|cookie|secret|password|passwd|token|signature|api[-_]?key", re.IGNORECASE)
SECRETS = (
    (re.compile(r"\bpk_[A-Za-z0-9]{1,32}_[A-Za-z0-9_-]+"), "pk_***"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]+"), r"\1 ***"),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/@]*:[^\s/@]*@"), r"\1***@"),
    (re.compile(r"(?i)(https?://[^\s?#\"']*)[?#][^\s\"']*"), r"\1?***"),
    (re.compile(r"(?i)((?:token|secret|password|signature|key)=)[^\s&\"']+"), r"\1***"),
    (re.compile(r"(/s/)[A-Za-z0-9._~=-]+"), r"\1***"),
    (re.compile(r"(/taste/shoppers/)[^/?#\s\"']+"), r"\1***"),
)
"""Keys, passwords in addresses, queries of addresses (signed links), the links of shoppers; and which shopper a page
was of, since no erasure reaches a log."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("packshot")


def without_secrets(text: str) -> str:
    """Returns text in which keys, passwords and signed links are stars."""
    for pattern, instead in SECRETS:
        text = pattern.sub(instead, text)
    return text


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor: takes secrets out of everything that an event holds, however deep."""
    return {name: "***" if SECRET_NAMES.search(name) else _clean(value) for name, value in event.items()}


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, dict):
        return {k: "***" if SECRET_NAMES.search(str(k)) else _clean(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(v) for v in value]
    return value


def set_up(stream: Any = None, *, libraries: bool = True) -> None:
    """Sends the studio's logs as JSON lines to a stream.

    Args:
        stream: None: stderr.
        libraries: also what Python's own logging gets, from warnings on.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(ensure_ascii=False)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=stream or sys.stderr),
        cache_logger_on_first_use=False,
    )
    if not libraries:
        return
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
    logging.getLogger("uvicorn.access").disabled = True  # The gate logs every request itself, and without its query.
