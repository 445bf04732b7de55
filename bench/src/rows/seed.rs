//! Creates millions of finished jobs. One goes through the API; its rows are then copied in the
//! master's database while no master has it open. That needs a tool that may be missing on the
//! machine.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use orchestra_contracts::JobId;
use serde_json::json;

use crate::{error::BenchError, link::Link, stack::Stack};

/// Has one job completed by a worker of this row's own, and returns its id.
pub(super) async fn complete_one(stack: &Stack) -> Result<JobId, BenchError> {
    let mut link = Link::open(stack.port).await?;
    link.post("/api/job", r#"{"command":"true"}"#).await?.expect(201)?;
    let claimed = link.post("/api/job/claim", r#""seed""#).await?.expect(200)?;
    let claimed: serde_json::Value = serde_json::from_slice(&claimed)
        .map_err(|error| BenchError::unexpected(error.to_string()))?;
    let id = claimed["id"].as_i64().ok_or_else(|| BenchError::unexpected("no id"))?;
    let update = json!({"id": id, "status": "Completed", "assignedWorker": "seed", "exitCode": 0});
    link.post("/api/job/update", &update.to_string()).await?.expect(200)?;
    Ok(JobId(id))
}

/// Copies that finished job until there are this many.
pub(super) async fn copy(stack: Stack, like: JobId, count: u64) -> Result<Stack, BenchError> {
    let (stack, ()) = stack.between_masters(|database| fill(database, like, count)).await?;
    Ok(stack)
}

fn fill(database: &Path, like: JobId, count: u64) -> Result<(), BenchError> {
    let job = columns(database, "job")?;
    let attempt = columns(database, "attempt")?;
    let copied = |columns: &[String], key: &str| {
        let all: Vec<_> = columns.iter().filter(|column| *column != key).cloned().collect();
        all.join(", ")
    };
    let (job, attempt) = (copied(&job, "id"), copied(&attempt, "job_id"));
    let theirs = attempt.split(", ").map(|column| format!("it.{column}"));
    let theirs = theirs.collect::<Vec<_>>().join(", ");
    let numbers = format!(
        "WITH RECURSIVE n(id) AS (SELECT (SELECT max(id) FROM job) + 1 \
         UNION ALL SELECT id + 1 FROM n WHERE id < {count})"
    );
    let first = format!("(SELECT max(job_id) FROM attempt WHERE number = 1 AND job_id <= {like})");
    run(
        database,
        &format!(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA cache_size=-400000; BEGIN; \
             {numbers} INSERT INTO job (id, {job}) SELECT n.id, {job} FROM n, \
             (SELECT {job} FROM job WHERE id = {like}); \
             INSERT INTO attempt (job_id, {attempt}) SELECT job.id, {theirs} FROM job, \
             (SELECT {attempt} FROM attempt WHERE job_id = {first}) AS it \
             WHERE job.id > (SELECT max(job_id) FROM attempt); COMMIT;"
        ),
    )
    .map(drop)
}

fn columns(database: &Path, table: &str) -> Result<Vec<String>, BenchError> {
    let names = run(database, &format!("SELECT name FROM pragma_table_info('{table}');"))?;
    Ok(names.lines().map(str::to_owned).collect())
}

fn run(database: &Path, statements: &str) -> Result<String, BenchError> {
    let output = Command::new("sqlite3")
        .arg("-bail")
        .arg(database)
        .arg(statements)
        .stdin(Stdio::null())
        .output()
        .map_err(|_| BenchError::Missing { what: "sqlite3", how: "apt-get install sqlite3" })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let error = String::from_utf8_lossy(&output.stderr);
    Err(BenchError::unexpected(format!("sqlite3: {}", error.trim())))
}
