//! A file that is wrong for as long as one wants, without that a time stamp tells of a write: its memory is mapped.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use super::{Host, skip};

/// A byte that is wrong until it is mended.
pub struct Flickering {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Flickering {
    /// Spoils a byte of a file; none, said aloud, where nobody can map it.
    pub fn spoil(host: &Host, file: &str, offset: u64) -> Option<Self> {
        let script = "import mmap, sys\n\
            with open(sys.argv[1], 'r+b') as file, mmap.mmap(file.fileno(), 0) as memory:\n\
            \x20   for _ in range(2):\n\
            \x20       memory[int(sys.argv[2])] ^= 0x81\n\
            \x20       print('done', flush=True)\n\
            \x20       sys.stdin.readline()\n";
        let mut command = Command::new("python3");
        command.args(["-c", script]).arg(host.path(file)).arg(offset.to_string());
        let Ok(mut child) = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else {
            skip("this needs python3");
            return None;
        };
        let answers = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut flickering = Self { child, answers };
        flickering.is_done();
        Some(flickering)
    }

    /// Makes it right again.
    pub fn mend(&mut self) {
        self.child.stdin.as_mut().expect("a pipe").write_all(b"\n").expect("written");
        self.is_done();
    }

    fn is_done(&mut self) {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("read");
        assert_eq!(line, "done\n");
    }
}

impl Drop for Flickering {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait(); // it ends by itself
    }
}
