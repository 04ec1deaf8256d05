//! Man pages and completions are made from the command line's definition and committed; here they must not be stale.
//!
//! To renew them: `SNAPSHOTS=overwrite cargo test --test documents`

mod common;

use std::fs;
use std::path::Path;

use clap::CommandFactory;
use common::Host;
use jetbak::cli::args::Cli;
use snapbox::prelude::*;
use snapbox::{Data, assert_data_eq};

#[track_caller]
fn is_fresh(committed: &str, made: String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(committed);
    assert_data_eq!(made.into_data().raw(), Data::read_from(&path, None).raw());
}

#[test]
fn the_man_pages_are_those_of_the_command_line() {
    let host = Host::new();
    host.ok(&["man", "pages"]);
    let mut pages: Vec<_> =
        fs::read_dir(host.path("pages")).expect("listed").map(|page| page.expect("a page")).collect();
    pages.sort_by_key(fs::DirEntry::file_name);
    let commands = Cli::command().get_subcommands().count();
    assert_eq!(pages.len(), commands + 3, "one for jetbak, one for each command, and two by hand");
    for page in pages {
        let name = page.file_name().into_string().expect("a plain name");
        is_fresh(&format!("man/{name}"), fs::read_to_string(page.path()).expect("read"));
    }
    let committed = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("man")).expect("listed");
    let committed =
        committed.filter(|page| page.as_ref().is_ok_and(|page| page.file_name().to_string_lossy().ends_with(".1")));
    assert_eq!(committed.count(), commands + 1, "no page of a command that is gone");
}

#[test]
fn the_completions_are_those_of_the_command_line() {
    let host = Host::new();
    for (shell, file) in [
        ("bash", "jetbak.bash"),
        ("elvish", "jetbak.elv"),
        ("fish", "jetbak.fish"),
        ("powershell", "_jetbak.ps1"),
        ("zsh", "_jetbak"),
    ] {
        is_fresh(&format!("completions/{file}"), host.ok(&["completions", shell]).stdout);
    }
}

#[test]
fn every_command_and_option_explains_itself() {
    let host = Host::new();
    for command in [
        "backup", "begin", "files", "read", "truncate", "end", "stop", "status", "list", "show", "cat", "verify",
        "check", "inspect", "restore", "prune", "tag", "pin", "unpin",
    ] {
        let help = host.ok(&[command, "--help"]).stdout;
        assert!(help.contains("Usage: jetbak"), "{help}");
        let page = host.ok(&[command, "-h"]).stdout;
        let bare = page.lines().filter(|line| line.trim_start().starts_with("--") && line.split("  ").count() < 2);
        assert_eq!(bare.count(), 0, "an option without a word in:\n{page}");
    }
    host.ok(&["--help"]).prints("130, 143, 129  ended by Ctrl-C, SIGTERM, SIGHUP");
}
