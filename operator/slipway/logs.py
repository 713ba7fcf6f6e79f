"""Structured logs: one JSON object a line, with the object it is about."""

import json
import logging
import sys
from datetime import UTC, datetime

_QUIET = ("kopf", "aiohttp", "asyncio", "kubernetes")


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (about := getattr(record, "object", None)) is not None:
            line["object"] = str(about)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def set_up(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _QUIET:  # they log each event and request
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
