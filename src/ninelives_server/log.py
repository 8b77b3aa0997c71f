"""Structured logs: an event name in `noun.verb_past` and typed fields, never a secret.

Ids are bound once at the edge (`structlog.contextvars.bind_contextvars`), so that every later line
carries them. User code's own output is not logs; it goes to its session.
"""

import logging
import sys
from typing import Literal

import structlog

Logger = structlog.stdlib.BoundLogger


def configure(level: str = "info", style: Literal["console", "json"] = "console") -> None:
    """Write logs to stderr, as lines for people or as one JSON object a line."""
    render: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            *shared,
            structlog.processors.format_exc_info,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_number(level)),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    # Libraries log through the standard library: their lines must have the same form.
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                render,
            ],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[lines], force=True)


def _number(level: str) -> int:
    return int(logging.getLevelNamesMapping().get(level.upper(), logging.INFO))


def get(name: str) -> Logger:
    """Return the logger of a module; pass `__name__`."""
    logger: Logger = structlog.get_logger(module=name)
    return logger
