"""The classes have what openapi.json says, no more and no less."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from orchestra import models

OPENAPI = Path(__file__).parents[3] / "contracts" / "openapi.json"
SCHEMAS: dict[str, Any] = json.loads(OPENAPI.read_text())["components"]["schemas"]
MODELS = {
    "Job": models.Job,
    "Attempt": models.Attempt,
    "Outcome": models.Outcome,
    "Usage": models.Usage,
    "Explanation": models.Explanation,
    "Artifact": models.Artifact,
    "Artifacts": models.Artifacts,
    "AttemptChanges": models.Changes,
    "Repro": models.Repro,
    "Upload": models.Upload,
    "Queue": models.Queue,
    "Worker": models.Worker,
    "Schedule": models.Schedule,
}


@pytest.mark.parametrize("name", MODELS)
def test_a_class_has_the_fields_of_its_schema(name: str) -> None:
    fields = {models.camel(field.name) for field in dataclasses.fields(MODELS[name])}
    assert fields == set(SCHEMAS[name]["properties"])


@pytest.mark.parametrize("name", MODELS)
def test_what_may_be_missing_has_a_default(name: str) -> None:
    def has_default(field: dataclasses.Field[Any]) -> bool:
        missing = dataclasses.MISSING
        return field.default is not missing or field.default_factory is not missing

    required = set(SCHEMAS[name].get("required") or [])
    for field in dataclasses.fields(MODELS[name]):
        assert has_default(field) or models.camel(field.name) in required, field.name


def test_what_is_not_known_is_left_out_and_what_is_nested_is_read() -> None:
    job = models.decode(
        models.Job,
        {
            "id": 1,
            "command": "true",
            "status": "Failed",
            "createdAt": "2026-01-01T00:00:00Z",
            "usage": {"cpuMs": 3, "colour": "red"},
            "outcome": {"kind": "exited", "code": 2},
            "colour": "red",
        },
    )
    assert job.usage == models.Usage(cpu_ms=3)
    assert job.outcome == models.Outcome("exited", code=2)
    assert job.has_ended and not job.succeeded
