"""Client of Orchestra, which runs bash commands in sandboxed containers."""

from .client import Client
from .errors import OrchestraError, Refused, Unreachable
from .events import FollowEvent
from .models import (
    Artifact,
    Artifacts,
    Attempt,
    Changes,
    Explanation,
    FieldError,
    Job,
    JobStatus,
    Outcome,
    Queue,
    Reason,
    Repro,
    Schedule,
    Upload,
    Usage,
    Worker,
)

__all__ = [
    "Artifact",
    "Artifacts",
    "Attempt",
    "Changes",
    "Client",
    "Explanation",
    "FieldError",
    "FollowEvent",
    "Job",
    "JobStatus",
    "OrchestraError",
    "Outcome",
    "Queue",
    "Reason",
    "Refused",
    "Repro",
    "Schedule",
    "Unreachable",
    "Upload",
    "Usage",
    "Worker",
]
