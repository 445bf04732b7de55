"""The client: one method a call."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from . import events, files
from .errors import OrchestraError, Refused, Unreachable
from .events import FollowEvent
from .models import (
    Artifacts,
    Attempt,
    Changes,
    Explanation,
    Job,
    Queue,
    Repro,
    Schedule,
    Upload,
    Worker,
    camel,
    decode,
)
from .transport import PAUSES, Transport, value

#: The master holds a waiting read open for so many seconds at a time.
WAIT = 30.0
#: A master sends a comment every 15 seconds; a stream that is silent for longer is dead.
SILENCE = 45.0


class Client:
    """Speaks with one master. Not for several threads at once."""

    def __init__(
        self, url: str | None = None, token: str | None = None, *, patience: float = 60.0
    ) -> None:
        """Without arguments: as ``ORCHESTRA_URL`` and ``ORCHESTRA_TOKEN`` (or
        ``ORCHESTRA_TOKEN_FILE``) say. Calls that may be done twice are repeated for
        ``patience`` seconds while the master does not answer."""
        self._transport = Transport(url, token, patience)

    @property
    def url(self) -> str:
        return self._transport.url

    # Submitting

    def submit(self, command: str, *, key: str | None = None, **fields: Any) -> Job:
        """Submits a job: ``fields`` are those of docs/jobs.md, like ``max_retries=3``. The same
        ``key`` within a day is the same job; without one each call has its own."""
        answer = self._submit(spec(command, **fields), key)
        if isinstance(answer, list):
            raise OrchestraError("an array stands for many jobs: take submit_all")
        return decode(Job, answer)

    def submit_all(
        self, specs: Sequence[Mapping[str, Any]], *, key: str | None = None
    ) -> list[Job]:
        """Submits many jobs, all or none, as the API writes them: ``{"command": ...}``."""
        answer = self._submit(list(specs), key)
        return [decode(Job, job) for job in answer]

    def _submit(self, body: Any, key: str | None) -> Any:
        headers = {"idempotency-key": key or str(uuid.uuid4())}
        return self._transport.repeat(
            lambda: value(self._transport.send("POST", "/api/job", body=body, headers=headers))
        )

    def run(self, command: str, *, quiet: bool = False, **fields: Any) -> Job:
        """Submits a job, shows its output while it happens, and waits for its end."""
        job = self.submit(command, **fields)
        for event in self.follow(job.id):
            if event.kind == "end" and event.job:
                return event.job
            if event.kind == "log" and not quiet:
                out = sys.stderr if event.stream == "stderr" else sys.stdout
                if event.stream != "system":
                    out.write(event.text)
                    out.flush()
        raise OrchestraError(f"the log of job {job.id} has no end")

    # Looking

    def job(self, id: int) -> Job:
        return decode(Job, self._transport.read(f"/api/job/{id}"))

    def jobs(self, *, limit: int = 500, **filters: Any) -> Iterator[Job]:
        """All jobs that pass: ``status``, ``queue``, ``label`` (``k=v``), ``worker``, ``q`` (text),
        ``array``, ``order`` (``newest``). ``limit`` is the size of a page."""
        query: dict[str, Any] = {**filters, "limit": limit}
        path = "/api/job"
        while True:
            page = self._transport.repeat(
                lambda: self._transport.send("GET", path, query=query)  # noqa: B023
            )
            yield from (decode(Job, job) for job in value(page))
            link = page.links.get("next")
            if link is None:
                return
            path, query = link["url"].removeprefix(self.url), {}

    def wait(self, id: int, timeout: float | None = None) -> Job:
        """The job when it has ended; as it is after ``timeout`` seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            left = WAIT if until is None else min(WAIT, max(0.0, until - time.monotonic()))
            query = {"wait": f"{int(left * 1000)}ms"}
            job = decode(Job, self._transport.read(f"/api/job/{id}", query, wait=left))
            if job.has_ended or (until is not None and time.monotonic() >= until):
                return job

    def explain(self, id: int) -> Explanation:
        """Why it is where it is."""
        return decode(Explanation, self._transport.read(f"/api/job/{id}/explain"))

    def attempts(self, id: int) -> list[Attempt]:
        answer = self._transport.read(f"/api/job/{id}/attempts")
        return [decode(Attempt, attempt) for attempt in answer]

    def repro(self, id: int) -> Repro:
        """The ``docker run`` that does the same."""
        return decode(Repro, self._transport.read(f"/api/job/{id}/repro"))

    def changes(self, id: int, attempt: int | None = None) -> Changes:
        """What it did to the files in its folder."""
        query = {"attempt": attempt}
        return decode(Changes, self._transport.read(f"/api/job/{id}/changes", query))

    # The log

    def log(
        self,
        id: int,
        *,
        attempt: int | None = None,
        stream: str | None = None,
        tail: int | None = None,
        timestamps: bool = False,
    ) -> bytes:
        """What is stored of the log now, byte by byte."""
        query = {"attempt": attempt, "stream": stream, "tail": tail}
        if timestamps:
            query["timestamps"] = "true"
        return self._transport.repeat(
            lambda: self._transport.send("GET", f"/api/job/{id}/log", query=query).content
        )

    def follow(self, id: int, after: str | None = None) -> Iterator[FollowEvent]:
        """Everything that has happened to the job's log and everything that will, until its end.
        A break of the connection is bridged for as long as patience lasts; what was seen does
        not come again."""
        broken_since: float | None = None
        pause = PAUSES[0]
        while True:
            try:
                for event in self._events(id, after):
                    broken_since, pause, after = None, PAUSES[0], event.after
                    yield event
                    if event.kind == "end":
                        return
                reason: OrchestraError = Unreachable(f"the log of job {id} broke off")
            except (Unreachable, Refused) as error:
                if isinstance(error, Refused) and not error.is_temporary:
                    raise
                reason = error
            broken_since = broken_since or time.monotonic()
            if time.monotonic() - broken_since > self._transport.patience:
                raise reason
            time.sleep(pause)
            pause = min(pause * 2, PAUSES[1])

    def _events(self, id: int, after: str | None) -> Iterator[FollowEvent]:
        headers = {"accept": "text/event-stream"}
        if after is not None:
            headers["last-event-id"] = after
        with self._transport.send(
            "GET", f"/api/job/{id}/log", headers=headers, stream=True, wait=SILENCE
        ) as response:
            try:
                for event in events.parse(events.lines(response.iter_content(chunk_size=None))):
                    known = events.read(*event)
                    if known is not None:
                        yield known
            except requests.RequestException as error:
                raise Unreachable(f"the log of job {id} broke off: {error}") from error

    # Changing

    def cancel(self, id: int) -> Job:
        return self._post(f"/api/job/{id}/cancel")

    def retry(self, id: int) -> Job:
        """Runs a job again that has failed or was cancelled. Not repeated by itself."""
        return decode(Job, value(self._transport.send("POST", f"/api/job/{id}/retry")))

    def delete(self, id: int) -> None:
        """With its log and its files. A running one is cancelled first."""
        self._transport.send("DELETE", f"/api/job/{id}")

    def _post(self, path: str) -> Job:
        return decode(
            Job, self._transport.repeat(lambda: value(self._transport.send("POST", path)))
        )

    # Files

    def file(
        self, path: str | Path, target: str | None = None, *, executable: bool | None = None
    ) -> dict[str, Any]:
        """A local file as a job's ``files`` have it, at the same path or at ``target``. What is
        too large for a spec is uploaded now."""
        return files.entry(self._transport, Path(path), target, executable)

    def upload(self, path: str | Path) -> Upload:
        """Brings a file to the master; a job names it by its SHA-256."""
        return files.bring(self._transport, Path(path))

    def artifacts(self, id: int, attempt: int | None = None) -> Artifacts:
        """The files that it left."""
        query = {"attempt": attempt}
        return decode(Artifacts, self._transport.read(f"/api/job/{id}/artifacts", query))

    def artifact(self, id: int, path: str, attempt: int | None = None) -> bytes:
        """One of them, in memory."""
        address = f"/api/job/{id}/artifacts/{quote(path)}"
        return self._transport.repeat(
            lambda: self._transport.send("GET", address, query={"attempt": attempt}).content
        )

    def fetch_artifacts(
        self, id: int, to: str | Path, attempt: int | None = None
    ) -> list[Path]:
        """Writes all of them below a folder, in place of what is there, and checks them."""
        return files.fetch(self._transport, self.artifacts(id, attempt), id, Path(to))

    # Around jobs

    def queues(self) -> list[Queue]:
        return [decode(Queue, queue) for queue in self._transport.read("/api/queue")]

    def workers(self) -> list[Worker]:
        return [decode(Worker, worker) for worker in self._transport.read("/api/worker")]

    def schedules(self) -> list[Schedule]:
        return [decode(Schedule, it) for it in self._transport.read("/api/schedule")]

    def create_schedule(
        self,
        name: str,
        cron: str,
        command: str,
        *,
        time_zone: str | None = None,
        overlap: str | None = None,
        catch_up: str | None = None,
        **fields: Any,
    ) -> Schedule:
        """Has a job begin at times of a calendar; ``fields`` are those of the job."""
        about = {"timeZone": time_zone, "overlap": overlap, "catchUp": catch_up}
        body = {"name": name, "cron": cron, "spec": spec(command, **fields)}
        body |= {key: given for key, given in about.items() if given is not None}
        return decode(Schedule, value(self._transport.send("POST", "/api/schedule", body=body)))

    def delete_schedule(self, name: str) -> None:
        """Its jobs stay."""
        self._transport.send("DELETE", f"/api/schedule/{quote(name, safe='')}")


def spec(command: str, **fields: Any) -> dict[str, Any]:
    """A job as the API writes it."""
    given = {camel(name): item for name, item in fields.items() if item is not None}
    return {"command": command, **given}
