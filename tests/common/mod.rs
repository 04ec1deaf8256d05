//! A backup host in a temporary directory: storages, repositories, a state directory, and the real binary.
#![allow(dead_code, reason = "each story uses its part")]

pub mod acceptance;
pub mod chain;
pub mod edits;
pub mod ese;
pub mod faulty;
pub mod flickering;
pub mod forge;
pub mod interrupted;
pub mod mounts;
pub mod sqlite;
pub mod strace;
pub mod tree;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// A machine with a storage `app`, a repository `repo` and a state directory `state`.
pub struct Host {
    folder: TempDir,
}

/// A command that has ended.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Host {
    /// An empty machine; `app` exists and holds nothing.
    pub fn new() -> Self {
        let host = Self { folder: tempfile::tempdir().expect("a temporary directory") };
        fs::create_dir(host.path("app")).expect("created");
        host
    }

    /// A machine whose storage holds a database, a file in a directory, and four logs `wal.1` to `wal.4`.
    pub fn with_app() -> Self {
        Self::new().fill_app()
    }

    /// An empty machine in memory where there is a file system for that: a hundred backups a second. Nothing of what a
    /// kill can break depends on the disk.
    pub fn quick() -> Self {
        let Ok(folder) = tempfile::tempdir_in("/dev/shm") else { return Self::new() };
        let host = Self { folder };
        fs::create_dir(host.path("app")).expect("created");
        host
    }

    /// A machine in memory, filled as [`Host::with_app`] does.
    pub fn quick_with_app() -> Self {
        Self::quick().fill_app()
    }

    fn fill_app(self) -> Self {
        self.write("app/main.db", "the database");
        self.write("app/conf/settings.ini", "colour = blue\n");
        self.write_logs();
        self
    }

    /// Writes the four logs, anew where they were deleted.
    pub fn write_logs(&self) {
        for number in 1..=4 {
            self.write(&format!("app/wal.{number}"), format!("log {number}\n"));
        }
    }

    /// Many small files below `app/many`, each with another content, in directories of a thousand.
    pub fn write_many(&self, files: usize) {
        for number in 0..files {
            let folder = self.path("app/many").join((number / 1000).to_string());
            if number % 1000 == 0 {
                fs::create_dir_all(&folder).expect("created");
            }
            fs::write(folder.join(number.to_string()), format!("content {number}")).expect("written");
        }
    }

    /// Waits until everything in a directory is old enough to be believed unchanged: three seconds, and a bit. Nothing
    /// but time makes a file old; nobody can set when it changed.
    pub fn settles(&self, directory: &str) {
        fn newest(path: &Path) -> i64 {
            let metadata = fs::symlink_metadata(path).expect("looked at");
            let below = if metadata.is_dir() { fs::read_dir(path).ok() } else { None };
            let below = below.into_iter().flatten().map(|entry| newest(&entry.expect("listed").path()));
            below.fold(metadata.ctime_nsec() + metadata.ctime() * 1_000_000_000, i64::max)
        }
        let old_at = newest(&self.path(directory)) + 3_050_000_000;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let left = old_at.saturating_sub(i64::try_from(now.as_nanos()).expect("before 2262"));
        std::thread::sleep(Duration::from_nanos(u64::try_from(left).unwrap_or(0)));
    }

    /// The logs that are left in the storage, in order.
    pub fn logs(&self) -> Vec<String> {
        names(&self.path("app")).into_iter().filter(|name| name.starts_with("wal.")).collect()
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file below the machine's folder, with the directories above it.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("created");
        fs::write(path, content).expect("written");
    }

    /// A file that takes its time: real data as far as that is cheap, else a hole, which must be hashed as well.
    pub fn write_huge(&self, name: &str, bytes: u64) {
        const REAL_BYTES_MAX: u64 = 128 << 20;
        if bytes <= REAL_BYTES_MAX {
            return self.write(name, vec![7; usize::try_from(bytes).expect("it fits into memory")]);
        }
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("created");
        fs::File::create(path).expect("created").set_len(bytes).expect("sized");
    }

    /// jetbak with its state directory on this machine, started in the machine's folder.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jetbak"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("JETBAK_STATE_DIR", self.path("state"))
            .env("TZ", "UTC")
            .env_remove("JETBAK_REPOSITORY")
            .stdin(Stdio::null());
        command
    }

    /// A shell on this machine that runs a script in which `"$@"` is jetbak with its arguments.
    pub fn shell<S: AsRef<OsStr>>(&self, script: &str, arguments: &[S]) -> Command {
        let jetbak = self.command(arguments);
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]).arg(jetbak.get_program()).args(jetbak.get_args());
        shell.current_dir(self.folder.path()).stdin(Stdio::null());
        for (name, value) in jetbak.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell
    }

    /// Runs jetbak to its end.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Ran {
        finish(self.command(arguments))
    }

    /// Runs jetbak and demands exit code 0.
    pub fn ok<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Ran {
        self.run(arguments).exits(0)
    }

    /// Starts jetbak in the background; its output is kept. It is killed when the returned value goes.
    pub fn start<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Running {
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped());
        Running::spawn(command)
    }

    /// Starts jetbak in the background and waits until it has begun to read this file.
    pub fn start_reading<S: AsRef<OsStr>>(&self, arguments: &[S], file: &str) -> Running {
        let running = self.start(arguments);
        self.is_reading(file);
        running
    }

    /// Waits until some reader says that it reads this file.
    pub fn is_reading(&self, file: &str) {
        eventually(&format!("reading {file}"), || {
            let readers = self.status().into_iter().flat_map(|mut session| match session["reading"].take() {
                Value::Array(readers) => readers,
                _ => Vec::new(),
            });
            readers.into_iter().any(|reader| reader["file"] == file)
        });
    }

    /// The sessions that `status` shows.
    pub fn status(&self) -> Vec<Value> {
        match self.ok(&["status", "--json"]).summary()["sessions"].take() {
            Value::Array(sessions) => sessions,
            other => panic!("no list of sessions: {other}"),
        }
    }

    /// The SHA-256 of a file, from coreutils.
    pub fn sha256(&self, name: &str) -> String {
        let output = Command::new("sha256sum").arg("--").arg(self.path(name)).output().expect("sha256sum runs");
        String::from_utf8_lossy(&output.stdout).split_whitespace().next().expect("a hash").to_owned()
    }

    /// Runs jetbak, and demands that it comes to an end by itself within ten seconds.
    pub fn run_soon<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Ran {
        let running = self.start(arguments);
        let pid = running.pid();
        let (over, waits) = mpsc::channel::<()>();
        let guard = std::thread::spawn(move || {
            let hangs = waits.recv_timeout(Duration::from_secs(10)) == Err(mpsc::RecvTimeoutError::Timeout);
            if hangs {
                let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status(); // the assertion tells
            }
            hangs
        });
        let ran = running.wait();
        drop(over);
        assert!(!guard.join().expect("no panic"), "the command hangs; stderr:\n{}", ran.stderr);
        ran
    }

    /// The folders of the sessions that the state directory holds.
    pub fn session_folders(&self) -> Vec<PathBuf> {
        self.session_folders_in("state")
    }

    /// The folders of the sessions that a state directory holds.
    pub fn session_folders_in(&self, state: &str) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.path(state)) else { return Vec::new() };
        entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    }

    /// The lines of the only session's journal, as JSON.
    pub fn journal(&self) -> Vec<Value> {
        let folders = self.session_folders();
        assert_eq!(folders.len(), 1, "one session");
        let text = fs::read_to_string(folders[0].join("journal.jsonl")).expect("read");
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// The ids of the backups that stand in a repository, in order.
    pub fn backups(&self, repository: &str) -> Vec<String> {
        names(&self.path(repository).join("backups"))
    }

    /// What lies under `partial/` of a repository.
    pub fn partials(&self, repository: &str) -> Vec<String> {
        names(&self.path(repository).join("partial"))
    }

    /// A file of the only or newest backup in `repo`.
    pub fn stored(&self, name: &str) -> PathBuf {
        let newest = self.backups("repo").pop().expect("a backup");
        self.path("repo").join("backups").join(newest).join("data").join(name)
    }

    /// The folder of the newest backup in `repo`.
    pub fn backup_folder(&self) -> PathBuf {
        let newest = self.backups("repo").pop().expect("a backup");
        self.path("repo/backups").join(newest)
    }

    /// Demands that nothing is left of any session: no state, no partial, no trash.
    pub fn is_tidy(&self, repository: &str) {
        assert_eq!(self.session_folders(), Vec::<PathBuf>::new(), "no session is left");
        assert_eq!(self.partials(repository), Vec::<String>::new(), "no partial is left");
    }

    /// Demands that every backup of a repository verifies, with jetbak and with coreutils.
    pub fn verifies(&self, repository: &str) {
        self.ok(&["verify", repository]);
        for id in self.backups(repository) {
            let folder = self.path(repository).join("backups").join(id);
            let sums = Command::new("sha256sum")
                .args(["-c", "--quiet", "--strict", "SHA256SUMS"])
                .current_dir(folder)
                .output();
            let sums = sums.expect("sha256sum runs");
            assert!(sums.status.success(), "{}", String::from_utf8_lossy(&sums.stderr));
        }
    }
}

/// Runs a command to its end.
pub fn finish(mut command: Command) -> Ran {
    let began = Instant::now();
    let output = command.output().expect("started");
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        took: began.elapsed(),
    }
}

impl Ran {
    /// Demands an exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Demands that the messages for people hold a text.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "{text:?} is not in:\n{}", self.stderr);
        self
    }

    /// Demands that the data on stdout hold a text.
    #[track_caller]
    pub fn prints(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "{text:?} is not in:\n{}", self.stdout);
        self
    }

    /// The lines of stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line:?}")))
            .collect()
    }

    /// The last object on stdout.
    #[track_caller]
    pub fn summary(&self) -> Value {
        self.json().pop().unwrap_or_else(|| panic!("no JSON on stdout; stderr:\n{}", self.stderr))
    }
}

/// A jetbak in the background.
pub struct Running(Option<Child>);

impl Running {
    /// Starts a command; what it writes to stderr is kept, and to stdout where that is a pipe.
    pub fn spawn(mut command: Command) -> Self {
        Self(Some(command.stderr(Stdio::piped()).spawn().expect("started")))
    }

    /// Demands that it leaves by itself, while nobody reads what it writes to stdout; two seconds are for slow machines.
    #[track_caller]
    pub fn leaves(mut self) -> Ran {
        let began = Instant::now();
        while !self.is_over() {
            assert!(began.elapsed() < Duration::from_secs(2), "it does not leave");
            std::thread::sleep(Duration::from_millis(1));
        }
        let took = began.elapsed();
        Ran { took, ..self.wait() }
    }

    /// Demands that it is still there after a while in which it could have noticed anything.
    #[track_caller]
    pub fn stays(&mut self) {
        std::thread::sleep(Duration::from_millis(200));
        assert!(!self.is_over(), "it has left");
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.0.as_ref().expect("running").id()).expect("a pid")
    }

    pub fn child(&mut self) -> &mut Child {
        self.0.as_mut().expect("running")
    }

    /// Sends a signal by name, such as `INT`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.pid().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Kills it as a power cut would, and waits until it is gone; its output up to here is kept.
    pub fn kill(mut self) -> Ran {
        self.child().kill().expect("killed, or over already");
        self.wait()
    }

    pub fn is_over(&mut self) -> bool {
        self.child().try_wait().expect("waited").is_some()
    }

    /// Waits for the end.
    pub fn wait(mut self) -> Ran {
        let began = Instant::now();
        let output = self.0.take().expect("running").wait_with_output().expect("waited");
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            took: began.elapsed(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill(); // it may have ended
            let _ = child.wait();
        }
    }
}

/// Waits until something holds, for ten seconds at most.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(10), "{what} does not come true");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The journal of the only session of a state directory, held: every process that wants to record something waits.
pub struct HeldJournal {
    folder: PathBuf,
    lock: fs::File,
}

impl HeldJournal {
    /// Takes the journal of the only session in `state`; none where there is no session.
    pub fn of(host: &Host, state: &str) -> Option<Self> {
        let folder = host.session_folders_in(state).pop()?;
        let lock = fs::File::open(folder.join("journal.lock")).ok()?;
        lock.lock().expect("locked");
        Some(Self { folder, lock })
    }

    /// Waits for the session that a process is about to begin; none where it was quicker, or came to nothing.
    pub fn of_a_new_session(host: &Host, state: &str, running: &mut Running) -> Option<Self> {
        loop {
            if let Some(held) = Self::of(host, state) {
                return Some(held);
            }
            if running.is_over() {
                return None;
            }
        }
    }

    /// What is recorded, by the names of the events.
    pub fn events(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.join("journal.jsonl")).unwrap_or_default();
        let event = |line: &str| {
            let line: Value = serde_json::from_str(line).expect("a line of JSON");
            line["event"].as_str().expect("an event").to_owned()
        };
        text.lines().map(event).collect()
    }

    /// Lets the others record something and takes the journal again; false where the process has ended instead.
    pub fn step(&self, running: &mut Running) -> bool {
        let grown = self.release_until_it_grows(running);
        self.lock.lock().expect("locked");
        grown
    }

    /// Lets the others go on, and returns as soon as one has recorded something; false where the process has ended.
    pub fn release_until_it_grows(&self, running: &mut Running) -> bool {
        let before = self.length();
        self.lock.unlock().expect("unlocked");
        while self.length() == before {
            if running.is_over() {
                return false;
            }
        }
        true
    }

    /// Steps until so many events are recorded; false where the process was quicker than we, or has ended.
    pub fn step_to(&self, events: usize, running: &mut Running) -> bool {
        while self.events().len() < events {
            if !self.step(running) {
                return false;
            }
        }
        self.events().len() == events
    }

    fn length(&self) -> Option<u64> {
        fs::metadata(self.folder.join("journal.jsonl")).ok().map(|metadata| metadata.len())
    }
}

/// Numbers that look random: every run of the tests draws others, and says with which seed.
pub struct Dice(u64);

impl Dice {
    pub fn new() -> Self {
        use std::hash::{BuildHasher, Hasher, RandomState};
        let given = std::env::var("JETBAK_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().build_hasher().finish()) | 1;
        println!("JETBAK_TEST_SEED={seed}"); // shown when the test fails
        Self(seed)
    }

    /// The same numbers every time.
    pub fn from_seed(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A duration below `limit`.
    pub fn below(&mut self, limit: Duration) -> Duration {
        Duration::from_micros(u64::from(self.draw()) % u64::try_from(limit.as_micros()).expect("short").max(1))
    }

    /// A number below `limit`, which is not 0.
    pub fn number(&mut self, limit: u32) -> u32 {
        self.draw() % limit
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.number(u32::try_from(from.len()).expect("a few")) as usize]
    }

    /// Whether something with this chance in a hundred happens.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.number(100) < percent
    }

    fn draw(&mut self) -> u32 {
        // xorshift64*, the upper half
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        u32::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32).expect("32 bits are left")
    }
}

/// Makes a command run as an ordinary user, also where the tests run as root: then from a copy of the binary that
/// everybody can reach. Call it on a command of [`Host::command`], after `open_to_all`.
pub fn as_ordinary_user(host: &Host, mut command: Command) -> Command {
    if !rustix::process::getuid().is_root() {
        return command;
    }
    let copy = host.path("jetbak-for-all");
    if !copy.exists() {
        // By another process: a handle that another test's child inherits here would keep the copy from being run.
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_jetbak")).arg(&copy).status();
        assert!(copied.expect("cp runs").success());
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("opened");
    }
    let arguments: Vec<OsString> = command.get_args().map(OsStr::to_owned).collect();
    let mut other = Command::new(copy);
    other.args(arguments).stdin(Stdio::null()).uid(65534).gid(65534);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => other.env(name, value),
            None => other.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        other.current_dir(folder);
    }
    command = other;
    command
}

/// Lets everybody read and write below a path, and pass through the machine's folder.
pub fn open_to_all(host: &Host, name: &str) {
    fs::set_permissions(host.path(""), fs::Permissions::from_mode(0o777)).expect("opened");
    let path = host.path(name);
    let done = Command::new("chmod").args(["-R", "a+rwX"]).arg(path).status();
    assert!(done.expect("chmod runs").success());
}

/// Writes a shell's `printf` of bytes: a name that is not UTF-8.
pub fn odd_name() -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    PathBuf::from(OsString::from_vec(b"odd\xff\n'\"\\name".to_vec()))
}

/// Says why a story is skipped, where it is.
pub fn skip(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}"); // only for people
}

/// The names in a directory, in order; none where there is none.
pub fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
