"""What a desk writes down: one JSON object a line, without its secrets; an audit line for each command."""

import json
import logging
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_EXTRA = ("command", "way", "client", "body", "success", "client_order_id")


class JsonLines(logging.Formatter):
    """secrets: texts that are never written, wherever they came from."""

    def __init__(self, secrets: Sequence[str]) -> None:
        super().__init__()
        self._secrets = [json.dumps(secret)[1:-1] for secret in secrets if secret]  # as they stand in a line

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({name: getattr(record, name) for name in _EXTRA if hasattr(record, name)})
        if record.exc_info:
            line["error"] = "".join(traceback.format_exception(*record.exc_info))
        text = json.dumps(line, default=str)
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        return text


def begin(secrets: Sequence[str], audit: Path | None, level: str = "INFO") -> None:
    """Logs go to stderr from now on, and audit lines also into a file that only its owner may read."""
    lines = JsonLines(secrets)
    errors = logging.StreamHandler(sys.stderr)
    errors.setFormatter(lines)
    root = logging.getLogger()
    root.handlers = [errors]
    root.setLevel(logging.WARNING)
    for name in ("livetrade", "livetrade.audit"):
        logging.getLogger(name).setLevel(level)
    if audit is not None:
        audit.touch(0o600)
        kept = logging.FileHandler(audit, encoding="utf-8")
        kept.setFormatter(lines)
        logging.getLogger("livetrade.audit").addHandler(kept)
