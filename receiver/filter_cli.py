"""Filters an export as a relay would, on any machine and within a relay's bounds of memory and time.

It reads a line of settings as JSON and then the export from stdin. It prints one JSON object: the recipients and what
was left out, or under `why` what is wrong with the export.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from common.exit_codes import DONE, REFUSED
from common.settings import BadSettings, Settings
from receiver.outcome import Origin, Stopped, outcome_of_error, records
from receiver.system import process_limits
from receiver.upload import formats, stream
from receiver.upload.formats import BadExport
from receiver.upload.recipient_filter import FilteredExport, filter_export


def encode_request(settings: Settings, export: bytes) -> bytes:
    """Return what main() reads."""
    return json.dumps(settings._asdict()).encode() + b"\n" + export


def main() -> int:
    """Filter an export from stdin; return the exit code."""
    fields = json.loads(sys.stdin.buffer.readline())
    read: Any = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    settings = Settings(**read)
    process_limits.limit_resources(settings)
    try:
        answer = _answer(_filter_stdin(settings))
    except BadExport as error:
        return _end(REFUSED, {"why": str(error)})
    except (Stopped, BadSettings, MemoryError) as error:
        outcome = outcome_of_error(settings.customer, Origin(0), error)
        return _end(outcome.code, {"why": outcome.why})
    return _end(DONE, answer)


def _filter_stdin(settings: Settings) -> FilteredExport:
    export = stream.strip_end_mark(sys.stdin.buffer.read(), required=False)
    return filter_export(formats.read(export, settings), settings)


def _answer(filtered: FilteredExport) -> dict[str, Any]:
    recipients = sorted(filtered.recipients)
    return {
        "recipients": recipients,
        "left_out": filtered.left_out,
        "named": records(filtered.named),
        "notes": filtered.notes,
    }


def _end(code: int, answer: dict[str, Any]) -> int:
    json.dump(answer, sys.stdout)
    return code


if __name__ == "__main__":
    sys.exit(main())
