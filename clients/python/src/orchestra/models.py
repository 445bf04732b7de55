"""Answers of the API. Each class has the fields of the schema of its name in openapi.json,
in Python's spelling; ``tests/test_models.py`` holds them to it."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

JobStatus = Literal["Pending", "Assigned", "Running", "Completed", "Failed", "Cancelled"]
FINAL: frozenset[str] = frozenset(("Completed", "Failed", "Cancelled"))


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one field."""

    #: RFC 6901, like ``/maxRetries``.
    pointer: str
    detail: str


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended. Which of the fields are set depends on the kind."""

    kind: str
    code: int | None = None
    signal: int | None = None
    reason: str | None = None
    #: Of one that was skipped: the job that it waited for, how that ended, and how it had to.
    job: int | None = None
    ended: str | None = None
    needs: str | None = None
    #: Of a poisonous one: how many workers were lost with it.
    lost: int | None = None


@dataclass(frozen=True)
class Usage:
    """What an attempt took: milliseconds and bytes."""

    cpu_ms: int | None = None
    peak_memory: int | None = None
    wall_ms: int | None = None
    throttles: int | None = None
    throttled_ms: int | None = None
    image_ms: int | None = None
    start_ms: int | None = None
    drain_ms: int | None = None


@dataclass(frozen=True)
class Job:
    """A job: what was asked for, and what became of it."""

    id: int
    command: str
    status: JobStatus
    created_at: str
    max_retries: int = 0
    queue: str = "default"
    retry_count: int = 0
    #: The tails of standard output and standard error, 64 KiB each.
    output: str = ""
    error: str = ""
    output_truncated: bool = False
    assigned_worker: str | None = None
    #: The number of the newest attempt.
    attempt: int | None = None
    exit_code: int | None = None
    outcome: Outcome | None = None
    #: Why it ended as it did, in a sentence.
    reason: str | None = None
    usage: Usage | None = None
    started_at: str | None = None
    finished_at: str | None = None
    cancelling: bool = False
    name: str | None = None
    image: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    #: The values are never shown.
    secrets: dict[str, str] = field(default_factory=dict)
    workspace: str = "shared"
    timeout: str | None = None
    lease: str | None = None
    retry: dict[str, Any] = field(default_factory=dict)
    priority: int = 0
    after: list[Any] = field(default_factory=list)
    after_any: list[Any] = field(default_factory=list)
    after_failed: list[Any] = field(default_factory=list)
    array: str | None = None
    array_id: int | None = None
    array_index: int | None = None
    labels: dict[str, str] = field(default_factory=dict)
    requires: dict[str, str] = field(default_factory=dict)
    resources: dict[str, Any] = field(default_factory=dict)
    network: str = "none"
    stdin: str | None = None
    not_before: str | None = None
    max_log: str | int | None = None
    files: list[dict[str, Any]] = field(default_factory=list)
    artifacts: list[str] = field(default_factory=list)
    #: Told in the answer to the submit alone.
    warnings: list[dict[str, Any]] = field(default_factory=list)

    @property
    def has_ended(self) -> bool:
        return self.status in FINAL

    @property
    def succeeded(self) -> bool:
        return self.status == "Completed"


@dataclass(frozen=True)
class Attempt:
    """One try of a job."""

    number: int
    worker: str
    claimed_at: str
    log_bytes: int
    started_at: str | None = None
    finished_at: str | None = None
    outcome: Outcome | None = None
    reason: str | None = None
    exit_code: int | None = None
    usage: Usage | None = None
    queued_ms: int | None = None
    #: What its container was made of.
    ran: dict[str, Any] | None = None


@dataclass(frozen=True)
class Reason:
    """Why a job is where it is."""

    #: For programs; its words never change.
    code: str
    text: str
    hint: str | None = None


@dataclass(frozen=True)
class Explanation:
    job: int
    status: JobStatus
    reasons: list[Reason]
    #: What does not hold it up and may surprise.
    warnings: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Artifact:
    """A file that a job left."""

    path: str
    bytes: int
    sha256: str
    executable: bool


@dataclass(frozen=True)
class Artifacts:
    attempt: int
    artifacts: list[Artifact]


@dataclass(frozen=True)
class Changes:
    """What a job did to the files in its folder."""

    attempt: int
    created: list[str]
    modified: list[str]
    deleted: list[str]
    #: So many more are not listed.
    more: int
    incomplete: bool


@dataclass(frozen=True)
class Repro:
    """The ``docker run`` that does the same."""

    attempt: int
    worker: str
    command: str
    notes: list[str]
    secrets: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Upload:
    """A file that jobs may have."""

    sha256: str
    bytes: int
    complete: bool


@dataclass(frozen=True)
class Queue:
    name: str
    paused: bool
    concurrency: int | None
    pending: int
    running: int
    workers: int
    paused_since: str | None = None


@dataclass(frozen=True)
class Worker:
    name: str
    online: bool
    slots: int
    queues: list[str]
    running: list[int]
    registered_at: str
    seen_at: str
    version: str | None = None
    host: str | None = None
    engine: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    offer: dict[str, Any] | None = None
    #: What it tells of itself: engine calls, warm sandboxes, images, the doctor's findings.
    stats: dict[str, Any] | None = None
    unwell: str | None = None
    draining_since: str | None = None


@dataclass(frozen=True)
class Schedule:
    name: str
    cron: str
    time_zone: str
    overlap: str
    catch_up: str
    spec: dict[str, Any]
    paused: bool
    next_times: list[str]
    skipped: int
    created_at: str
    last_time: str | None = None
    last_job: int | None = None
    paused_since: str | None = None
    skipped_time: str | None = None
    skipped_reason: str | None = None


Model = TypeVar("Model")


def camel(name: str) -> str:
    """``max_retries`` as the API writes it."""
    return re.sub(r"_([a-z0-9])", lambda match: match.group(1).upper(), name)


def decode(model: type[Model], value: Any) -> Model:
    """An answer as one of the classes above. Fields that it does not know are left out."""
    if not isinstance(value, dict):
        raise TypeError(f"{model.__name__} is no {type(value).__name__}")
    hints = typing.get_type_hints(model)
    names = [item.name for item in dataclasses.fields(model)]  # type: ignore[arg-type]
    known = {
        name: _decode(hints[name], value[camel(name)]) for name in names if camel(name) in value
    }
    return model(**known)


def _decode(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _decode(parts[0], value)
    if origin is list:
        return [_decode(parts[0], item) for item in value]
    is_model = isinstance(hint, type) and dataclasses.is_dataclass(hint)
    return decode(hint, value) if is_model else value
