"""The log of a job as a stream of events (``text/event-stream``)."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from .models import Job, decode


@dataclass(frozen=True)
class FollowEvent:
    """What happens to a job that is followed."""

    #: ``end`` is the last one.
    kind: Literal["log", "state", "end"]
    #: The position behind it, from which another following can go on.
    after: str
    #: Of a log event: which attempt wrote it, on which stream (``stdout``, ``stderr``, ``system``).
    attempt: int | None = None
    stream: str | None = None
    #: Its bytes, as the command wrote them.
    data: bytes = b""
    #: So many bytes were left out here.
    gap: int | None = None
    #: Of the others: the job as it is now.
    job: Job | None = None

    @property
    def text(self) -> str:
        """Its bytes as text; a character may be cut at either end."""
        return self.data.decode("utf-8", "replace")


def lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Whole lines, as they arrive. A master ends them with line feeds alone."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode() for line in whole)


def parse(lines: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Event, id and data of each event (WHATWG HTML, section 9.2.6). Comments are passed over."""
    event, last_id = "", ""
    data: list[str] = []
    for line in lines:
        if not line:
            if data:
                yield event, last_id, "\n".join(data)
            event, data = "", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            event = value
        elif name == "data":
            data.append(value)
        elif name == "id":
            last_id = value


def read(event: str, after: str, data: str) -> FollowEvent | None:
    """``None`` for an event that this version does not know."""
    value: dict[str, Any] = json.loads(data)
    if event == "log":
        text, encoded = value.get("text"), value.get("base64")
        written = text.encode() if text is not None else base64.b64decode(encoded or "")
        return FollowEvent(
            "log", after, value["attempt"], value.get("stream"), written, value.get("gap")
        )
    if event == "state":
        return FollowEvent("state", after, job=decode(Job, value))
    if event == "end":
        return FollowEvent("end", after, job=decode(Job, value))
    return None
