"""Jobs from submission to end."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from orchestra import Client, Refused, Unreachable


def test_run_shows_the_output_and_answers_the_end(
    client: Client, capfd: pytest.CaptureFixture[str]
) -> None:
    job = client.run("echo out; echo err >&2; exit 3")
    assert (job.status, job.exit_code, job.succeeded) == ("Failed", 3, False)
    assert capfd.readouterr() == ("out\n", "err\n")
    assert (job.output, job.error) == ("out\n", "err\n")


def test_a_job_has_what_it_was_given(client: Client) -> None:
    job = client.submit("echo $WORD; cat", env={"WORD": "given"}, stdin="in", max_retries=2)
    job = client.wait(job.id, timeout=60)
    assert job.output == "given\nin"
    assert (job.max_retries, job.env) == (2, {"WORD": "given"})
    assert job.usage is not None and job.usage.cpu_ms is not None
    [attempt] = client.attempts(job.id)
    assert attempt.outcome is not None and attempt.outcome.kind == "exited"
    assert attempt.ran is not None and "image" in attempt.ran
    assert "docker run" in client.repro(job.id).command


def test_the_log_is_followed_byte_by_byte_and_gone_on_with(client: Client) -> None:
    job = client.submit(r"printf 'a\r\nb\377\0c'; sleep 0.3; printf 'end'")
    seen = list(client.follow(job.id))
    assert seen[-1].kind == "end" and seen[-1].job is not None and seen[-1].job.succeeded
    logs = [event for event in seen if event.kind == "log" and event.stream == "stdout"]
    written = b"a\r\nb\xff\0cend"
    assert b"".join(event.data for event in logs) == written == client.log(job.id)
    rest = [event for event in client.follow(job.id, after=logs[0].after) if event.kind == "log"]
    again = b"".join(event.data for event in rest if event.stream == "stdout")
    assert again == written[len(logs[0].data) :]


def test_the_same_key_is_the_same_job(client: Client) -> None:
    key = uuid.uuid4().hex
    first, second = (client.submit("true", key=key) for _ in range(2))
    assert first.id == second.id
    with pytest.raises(Refused) as refused:
        client.submit("false", key=key)
    assert refused.value.kind == "idempotency-mismatch"


def test_many_are_submitted_at_once_and_listed_by_pages(client: Client) -> None:
    batch = uuid.uuid4().hex
    specs = [{"command": "true", "labels": {"batch": batch}} for _ in range(7)]
    ids = [job.id for job in client.submit_all(specs)]
    listed = [job.id for job in client.jobs(label=f"batch={batch}", limit=3)]
    assert listed == ids
    assert all(client.wait(id, timeout=60).succeeded for id in ids)


def test_a_job_is_cancelled_and_deleted(client: Client) -> None:
    job = client.submit("sleep 1000")
    assert client.wait(job.id, timeout=0.1).has_ended is False
    assert client.explain(job.id).reasons[0].text
    client.cancel(job.id)
    assert client.wait(job.id, timeout=60).status == "Cancelled"
    client.delete(job.id)
    with pytest.raises(Refused) as refused:
        client.job(job.id)
    assert (refused.value.status, refused.value.kind) == (404, "not-found")


def test_a_refusal_says_which_field(client: Client) -> None:
    with pytest.raises(Refused) as refused:
        client.submit("true", max_retries=1000)
    [error] = refused.value.errors
    assert (refused.value.status, error.pointer) == (422, "/maxRetries")
    assert "/maxRetries" in str(refused.value)


def test_files_go_in_and_come_out(client: Client, tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(range(251)) * 10_000)
    script = tmp_path / "run.sh"
    script.write_text("#!/bin/sh\ntail -c 3 large.bin > out/tail; echo done > out/new\n")
    script.chmod(0o755)
    files = [client.file(large), client.file(script, "bin/run.sh")]
    assert "upload" in files[0] and files[1]["executable"] is True
    job = client.submit(
        "mkdir out; bin/run.sh", files=files, artifacts=["out/*"], workspace="private"
    )
    assert client.wait(job.id, timeout=60).succeeded
    assert client.changes(job.id).created == ["out", "out/new", "out/tail"]
    written = client.fetch_artifacts(job.id, tmp_path / "results")
    assert [path.name for path in written] == ["new", "tail"]
    assert written[1].read_bytes() == large.read_bytes()[-3:]
    assert client.artifact(job.id, "out/new") == b"done\n"
    # It is there already.
    assert client.upload(large).complete


def test_queues_workers_and_schedules_are_read(client: Client) -> None:
    assert any(worker.online for worker in client.workers())
    schedule = client.create_schedule("python-nightly", "0 3 * * *", "true", time_zone="Europe/Rome")
    try:
        assert schedule.next_times and schedule.spec["command"] == "true"
        assert "python-nightly" in [it.name for it in client.schedules()]
    finally:
        client.delete_schedule("python-nightly")
    assert isinstance(client.queues(), list)


def test_a_master_that_is_not_there_is_given_up_in_time() -> None:
    with pytest.raises(Unreachable) as unreachable:
        Client("http://127.0.0.1:9", patience=0.5).job(1)
    assert "127.0.0.1:9 does not answer" in str(unreachable.value)
