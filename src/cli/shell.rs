//! Words as a shell takes them back.

use std::ffi::OsStr;
use std::fmt::Write;

use crate::error::is_safe;

/// A word to be pasted into a shell: as it is where that is safe, else in quotes; `$'…'` where it holds what a terminal
/// must not see or what is not UTF-8.
pub fn quoted(word: impl AsRef<OsStr>) -> String {
    let bytes = word.as_ref().as_encoded_bytes();
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+,:@%=".contains(byte);
    if !bytes.is_empty() && bytes.iter().all(is_plain) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(is_safe) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => {
            let mut quoted = "$'".to_owned();
            for byte in bytes {
                match byte {
                    b'\'' | b'\\' => quoted.extend(['\\', char::from(*byte)]),
                    b' '..=b'~' => quoted.push(char::from(*byte)),
                    // Three octal digits: a hexadecimal number would swallow digits that follow.
                    byte => write!(quoted, "\\{byte:03o}").expect("a string takes every write"),
                }
            }
            quoted + "'"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::process::Command;

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        assert_eq!(quoted("/backup/app-1_2.3"), "/backup/app-1_2.3");
        assert_eq!(quoted("it's here"), r"'it'\''s here'");
        assert_eq!(quoted(""), "''");
        let all: Vec<u8> = (1..=255).collect();
        for name in [b"~/$HOME `x` \"*\"!".as_slice(), "Straße \u{202e}".as_bytes(), b"\xff1\n'\\", &all] {
            let word = quoted(OsStr::from_bytes(name));
            assert!(word.chars().all(is_safe), "{word}");
            let script = format!("printf %s {word}");
            let Ok(read) = Command::new("bash").args(["-c", &script]).output() else { return };
            assert_eq!(std::ffi::OsString::from_vec(read.stdout), OsStr::from_bytes(name), "{word}");
        }
    }
}
