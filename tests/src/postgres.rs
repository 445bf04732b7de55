//! A PostgreSQL server of the tests' own, started from this machine's binaries on a free port and
//! in a temporary folder. It ends with the process that started it.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::{free_port, is_root, settings, skip};

/// The user that runs the server, which refuses to run as root.
const USER: &str = "postgres";

/// Starts the server, and stops it when standard input closes. That happens when our process
/// ends, however it ends.
const KEEPER: &str = r#"
    "$1/pg_ctl" -D "$2/data" -l "$2/log" -o "$3" -w start >/dev/null || exit 1
    echo ready
    cat >/dev/null
    "$1/pg_ctl" -D "$2/data" -m immediate -w stop >/dev/null
    rm -rf "$2"
"#;

/// The data need not survive a crash of the machine.
const OPTIONS: &str = "-c fsync=off -c max_connections=400 -c shared_buffers=64MB";
/// The defaults, with memory settings for a small machine that does nothing else.
const DURABLE: &str = "-c shared_buffers=256MB -c max_wal_size=4GB";

/// Queues whose counters, as kept by masters, differ from a count of the open jobs. One statement,
/// so both come from one snapshot.
const MISCOUNTED: &str = "
    SELECT string_agg(format('%s: %s and %s kept, %s and %s there', queue, k.pending, k.held, c.pending,
                             c.held), '; ')
    FROM (SELECT queue, sum(pending) AS pending, sum(held) AS held FROM job_count GROUP BY queue) AS k
    FULL JOIN (
        SELECT queue, count(*) FILTER (WHERE status = 'Pending') AS pending,
               count(*) FILTER (WHERE status <> 'Pending') AS held
        FROM job WHERE status IN ('Pending', 'Assigned', 'Running') GROUP BY queue
    ) AS c USING (queue)
    WHERE (coalesce(k.pending, 0), coalesce(k.held, 0)) <> (coalesce(c.pending, 0), coalesce(c.held, 0))";

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    binaries: PathBuf,
    folder: PathBuf,
    port: u16,
    databases: AtomicU32,
    keeper: Child,
}

impl Postgres {
    /// The server shared by this process, started on first use. Returns `None` where there are no
    /// binaries; this prints a skip line, and fails in CI.
    pub fn shared() -> Option<&'static Self> {
        static SERVER: OnceLock<Option<Postgres>> = OnceLock::new();
        SERVER.get_or_init(Self::start).as_ref()
    }

    /// A new database on the shared server when `ORCHESTRA_TEST_DATABASE` asks for PostgreSQL. For
    /// tests that can run on either database.
    pub fn asked_for() -> Option<String> {
        settings::wants_postgres().then(|| Some(Self::shared()?.database()))?
    }

    /// A server that nothing else uses, for tests that restart it.
    pub fn start() -> Option<Self> {
        Self::start_with(OPTIONS)
    }

    /// A server that syncs its commits, for measurements.
    pub fn durable() -> Option<Self> {
        Self::start_with(DURABLE)
    }

    fn start_with(options: &str) -> Option<Self> {
        let Some(binaries) = binaries() else {
            skip("PostgreSQL", "there is no initdb on this machine; install postgresql");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("orchestra-postgres-").tempdir();
        let folder = folder.expect("a temporary folder").keep();
        if let Some((user, group)) = user() {
            chown(&folder, Some(user), Some(group)).expect("root may give a folder away");
        }
        let data = folder.join("data");
        let mut initdb = command(&binaries.join("initdb"));
        initdb.args(["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C", "-U", USER]);
        expect_success(&initdb.arg("-D").arg(&data).output().expect("initdb can be started"));
        let port = free_port();
        let options = format!("-p {port} -k {} -h 127.0.0.1 {options}", folder.display());
        let mut keeper = command(Path::new("/bin/sh"));
        keeper.args(["-c", KEEPER, "keeper"]).arg(&binaries).arg(&folder).arg(options);
        keeper.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keeper = keeper.spawn().expect("a shell can be started");
        let mut line = String::new();
        let output = keeper.stdout.take().expect("it was asked for");
        BufReader::new(output).read_line(&mut line).expect("the keeper can be read");
        let log = || fs::read_to_string(folder.join("log")).unwrap_or_default();
        assert_eq!(line, "ready\n", "PostgreSQL did not start: {}", log());
        Some(Self { binaries, folder, port, databases: AtomicU32::new(0), keeper })
    }

    /// Creates an empty database and returns its URL.
    pub fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.run("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// Drops a database even while it is in use.
    pub fn drop_database(&self, url: &str) {
        let name = url.rsplit('/').next().unwrap_or_default();
        self.run("postgres", &format!("DROP DATABASE {name} WITH (FORCE)"));
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    /// Runs a statement and returns psql's unaligned output.
    pub fn run(&self, database: &str, statement: &str) -> String {
        let mut psql = command(&self.binaries.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &self.url(database)]);
        expect_success(&psql.args(["-c", statement]).output().expect("psql can be started"))
    }

    /// The queues whose job counters differ from an actual count, as text. Empty when all agree, which
    /// must hold at any moment.
    pub fn miscounted(&self, database: &str) -> String {
        self.run(database, MISCOUNTED)
    }

    /// Restarts as after a crash: connections are cut, and uncommitted changes are lost.
    pub fn crash_and_restart(&self) {
        let mut pg_ctl = command(&self.binaries.join("pg_ctl"));
        pg_ctl.arg("-D").arg(self.folder.join("data")).args(["-m", "immediate", "-w", "restart"]);
        pg_ctl.arg("-l").arg(self.folder.join("log"));
        // The server would inherit the pipes and hold them open.
        let status = pg_ctl.stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(status.expect("pg_ctl can be started").success(), "PostgreSQL does not restart");
    }
}

impl Drop for Postgres {
    /// Stops this server. The shared one is never dropped: its keeper stops it when the process ends.
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// The binaries of the newest installed version.
fn binaries() -> Option<PathBuf> {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<PathBuf> = debian.map(|version| version.path().join("bin")).collect();
    versions.sort_by_key(|path| {
        let version = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        version.and_then(|name| name.parse::<u32>().ok())
    });
    let told = Command::new("pg_config").arg("--bindir").output().ok();
    let told = told.map(|told| PathBuf::from(String::from_utf8_lossy(&told.stdout).trim()));
    versions.extend(told);
    versions.into_iter().rev().find(|path| path.join("initdb").exists())
}

/// A command that runs as a user who may run the server.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/bin:/bin").current_dir("/");
    if let Some((user, group)) = user() {
        command.uid(user).gid(group);
    }
    command
}

/// UID and GID of the server's user, when we are root.
fn user() -> Option<(u32, u32)> {
    if !is_root() {
        return None;
    }
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let of = |name: &str| {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2);
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    };
    of(USER).or_else(|| of("nobody"))
}

fn expect_success(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
