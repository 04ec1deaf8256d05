//! Old backups go as they were planned to, and nothing that somebody needs: tags, pins, readers, sessions, damage.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::forge::reseal;
use common::{HeldJournal, Host, as_ordinary_user, finish, names};
use serde_json::Value;
use snapbox::{assert_data_eq, str};

/// A machine with a small storage and no backup.
fn host() -> Host {
    let host = Host::quick();
    host.write("app/main.db", "the database");
    host
}

/// Makes a backup and says when it ended.
fn backup(host: &Host, kind: &str, ended: &str, more: &[&str]) -> String {
    host.ok(&[&["backup", "app", "--to", "repo", "--kind", kind, "--quiet"], more].concat());
    reseal(&host.backup_folder(), |manifest| manifest["ended"] = ended.into());
    host.backups("repo").pop().expect("a backup")
}

/// Four full backups on four days.
fn with_days() -> Host {
    let host = host();
    for day in 1..=4 {
        backup(&host, "full", &format!("2026-11-0{day}T02:30:00Z"), &[]);
    }
    host
}

/// A full, two incrementals on it, and another full.
fn with_chain() -> Host {
    let host = host();
    for (day, kind) in ["full", "incremental", "incremental", "full"].into_iter().enumerate() {
        host.write("app/main.db", format!("the database of day {day}"));
        backup(&host, kind, &format!("2026-11-0{}T02:30:00Z", day + 1), &[]);
    }
    host
}

/// The numbers of the backups that stand.
fn numbers(host: &Host) -> Vec<u64> {
    let number = |id: &String| id.split('-').next().expect("a number").parse().expect("a number");
    host.backups("repo").iter().map(number).collect()
}

/// The reasons that JSON tells of a backup.
fn reasons(plan: &Value, number: u64) -> Vec<String> {
    let backups = plan["backups"].as_array().expect("a list");
    let backup = backups.iter().find(|backup| backup["sequence"] == number).expect("a backup");
    let reasons = backup["reasons"].as_array().expect("a list").iter();
    reasons.map(|reason| reason["reason"].as_str().expect("a word").to_owned()).collect()
}

#[test]
fn a_plan_is_printed_and_nothing_is_done_without_a_yes() {
    let host = with_days();
    for more in [&[][..], &["--dry-run"], &["--quiet"]] {
        let ran = host.ok(&[&["prune", "repo", "--keep-daily", "2"], more].concat());
        assert_data_eq!(
            ran.stdout,
            str![[r#"
number  kind  when              stored  plan    why
     1  full  2026-11-01 02:30    12 B  remove  nothing keeps it
     2  full  2026-11-02 02:30    12 B  remove  nothing keeps it
     3  full  2026-11-03 02:30    12 B  keep    daily
     4  full  2026-11-04 02:30    12 B  keep    newest, highest number, daily

"#]]
        );
        let told = "2 of 4 backups would go, 24 B stored in them\nnothing was removed; repeat with --yes\n";
        assert_eq!(ran.stderr, if more == ["--quiet"] { "" } else { told });
        assert_eq!(numbers(&host), [1, 2, 3, 4]);
    }
    host.run(&["prune", "repo"]).exits(2).says("--keep-last <N>");
    host.run(&["prune", "repo", "--yes"]).exits(2);
    host.run(&["prune", "repo", "--keep-last", "0"]).exits(2);
    host.run(&["prune", "repo", "--keep-within", "1mo"]).exits(2).says("30d");
    host.run(&["prune", "repo", "--keep-last", "1", "--dry-run", "--yes"]).exits(2);
    host.run(&["prune", "app", "--keep-last", "1"]).exits(1).says("is not a jetbak repository");
    assert_eq!(numbers(&host), [1, 2, 3, 4]);
}

#[test]
fn what_nothing_keeps_goes_with_its_records_and_the_rest_is_whole() {
    let host = with_days();
    host.ok(&["verify", "repo"]);
    for number in ["1", "3"] {
        host.ok(&["tag", "repo", number, "monthly"]);
    }
    let ran = host.ok(&["prune", "repo", "--keep-last", "1", "--keep-within", "1d", "--yes"]);
    ran.prints("nothing keeps it").says("removed 2 of 4 backups, 24 B stored in them\n");
    assert_eq!(numbers(&host), [3, 4]);
    assert_eq!(host.partials("repo"), [""; 0]);
    let stem = |id: &String| format!("{id}.json");
    let left: Vec<String> = host.backups("repo").iter().map(stem).collect();
    assert_eq!(names(&host.path("repo/verified")), left);
    assert_eq!(names(&host.path("repo/tags")), left[..1]);
    assert_eq!(host.ok(&["list", "repo", "--json"]).summary()["backups"].as_array().map(Vec::len), Some(2));
    host.verifies("repo");
    host.ok(&["prune", "repo", "--keep-last", "2", "--yes"]).says("nothing to remove: 2 backups stay\n");
    let silent = host.ok(&["prune", "repo", "--keep-last", "1", "--yes", "--quiet"]);
    assert_eq!((silent.stdout, silent.stderr), (String::new(), String::new()), "cron mails nothing");
    assert_eq!(numbers(&host), [4]);
    assert!(backup(&host, "full", "2026-11-05T02:30:00Z", &[]).starts_with("000005-"));
}

#[test]
fn json_has_the_whole_plan_in_one_document() {
    let host = with_chain();
    let ran = host.ok(&["prune", "repo", "--keep-last", "2", "--json"]);
    let plan = ran.summary();
    assert_eq!((ran.json().len(), ran.stderr.as_str()), (1, ""));
    assert_eq!((&plan["type"], &plan["done"], &plan["exit_code"]), (&"prune".into(), &false.into(), &0.into()));
    assert_eq!((&plan["remove"], &plan["bytes"]), (&0.into(), &0.into()));
    assert_eq!(reasons(&plan, 1), ["needed_by"]);
    assert_eq!(plan["backups"][0]["reasons"][0]["of"][0], host.backups("repo")[1]);
    assert_eq!(reasons(&plan, 3), ["last"]);
    assert_eq!(reasons(&plan, 4), ["newest", "highest_number", "last"]);
    let done = host.ok(&["prune", "repo", "--keep-last", "1", "--yes", "--json"]).summary();
    assert_eq!((&done["done"], &done["remove"]), (&true.into(), &3.into()));
    assert_eq!((&done["backups"][2]["keep"], &done["backups"][2]["removed"]), (&false.into(), &true.into()));
    assert_eq!(reasons(&done, 3), ["no_rule"]);
    assert_eq!(numbers(&host), [4]);
}

#[test]
fn the_newest_verified_stays_and_what_is_incomplete_is_counted_nowhere() {
    let host = with_chain();
    host.ok(&["verify", "repo", "2"]);
    for day in 5..=6 {
        backup(&host, "full", &format!("2026-11-0{day}T02:30:00Z"), &[]);
    }
    reseal(&host.backup_folder(), |manifest| manifest["outcome"] = "incomplete".into());
    let ran = host.ok(&["prune", "repo", "--keep-last", "1", "--yes"]);
    let ran = ran.prints("newest verified").prints("incomplete, but");
    assert!(ran.stdout.lines().all(|line| line.chars().count() <= 80), "{}", ran.stdout);
    assert_eq!(numbers(&host), [1, 2, 5, 6]);
    backup(&host, "full", "2026-11-07T02:30:00Z", &[]);
    host.ok(&["prune", "repo", "--keep-last", "2", "--yes"]).prints("incomplete, 7 is newer");
    assert_eq!(numbers(&host), [1, 2, 5, 7]);
    host.verifies("repo");
}

#[test]
fn tags_are_given_at_the_backup_or_later_and_keep_what_has_them() {
    let host = host();
    let first = backup(&host, "full", "2026-11-01T02:30:00Z", &["--tag", "weekly", "--tag", "v1.2", "--tag", "weekly"]);
    host.ok(&["begin", "app", "--to", "repo", "--tag", "by-hand"]);
    host.ok(&["read", "app"]);
    host.ok(&["end", "app"]);
    backup(&host, "full", "2026-11-03T02:30:00Z", &[]);
    host.run(&["backup", "app", "--to", "repo", "--tag", "two words"]).exits(2).says("1 to 64 letters");
    host.ok(&["list", "repo"]).prints("  tags          id").prints("  v1.2, weekly  ").prints("  by-hand       ");
    assert!(!host.path("repo/tags").exists(), "the manifest has them");
    host.ok(&["tag", "repo", "2", "release", "x"]).says("-full: by-hand, release, x\n");
    host.ok(&["tag", "repo", "2", "x", "by-hand", "--remove"]).says("-full: release\n");
    host.ok(&["tag", "repo", "1", "weekly", "--remove"]);
    host.ok(&["show", "repo", "1"]).prints("\n  tags      v1.2\n");
    let shown = host.ok(&["show", "repo", "2", "--json"]).summary();
    assert_eq!((&shown["tags"][0], &shown["pinned"]), (&"release".into(), &false.into()));
    assert_eq!(host.ok(&["list", "repo", "--tag", "v1.2", "--json"]).summary()["backups"][0]["id"], first);
    host.ok(&["list", "repo", "--tag", "weekly"]).says("no backup has the tag weekly\n");
    host.run(&["tag", "repo", "9", "x"]).exits(2).says("holds no backup 9");
    let tagged = host.ok(&["prune", "repo", "--keep-tag", "release", "--keep-last", "1", "--yes"]);
    tagged.prints("tag release");
    assert_eq!(numbers(&host), [2, 3]);
    host.verifies("repo");
}

#[test]
fn what_is_pinned_stays_with_its_chain_until_it_is_unpinned() {
    let host = with_chain();
    host.ok(&["pin", "repo", "2", "--reason", "before the move"]).says("pinned (before the move)");
    host.ok(&["pin", "repo", "2"]).says("pinned (before the move)");
    host.ok(&["list", "repo"]).prints("  pinned  0000");
    host.ok(&["show", "repo", "2"]).prints("\n  pinned    no prune removes it: before the move\n");
    let listed = host.ok(&["list", "repo", "--json"]).summary();
    assert_eq!(listed["backups"][1]["pin_reason"], "before the move");
    assert_eq!(host.ok(&["unpin", "repo", "4", "--json"]).summary()["pinned"], false);
    host.ok(&["prune", "repo", "--keep-last", "1", "--yes"]).prints("pinned (before the move)");
    assert_eq!(numbers(&host), [1, 2, 4]);
    host.verifies("repo");
    host.ok(&["unpin", "repo", "2"]).says("not pinned");
    host.ok(&["prune", "repo", "--keep-last", "1", "--yes"]);
    assert_eq!(numbers(&host), [4]);
}

#[test]
fn a_record_of_tags_that_is_damaged_means_pinned_and_is_said() {
    let host = with_days();
    host.ok(&["tag", "repo", "1", "x"]);
    let record = host.path("repo/tags").join(&names(&host.path("repo/tags"))[0]);
    let text = fs::read_to_string(&record).expect("read");
    for damaged in ["{", "", &text.replace("\"format\": 1", "\"format\": 99"), &text.replace("\"x\"", "7")] {
        fs::write(&record, damaged).expect("written");
        host.ok(&["list", "repo"]).prints("pinned").says("its record in tags/ is damaged, so that it counts as pinned");
        host.ok(&["prune", "repo", "--keep-last", "3", "--yes"]).prints("damaged)");
        assert_eq!(numbers(&host), [1, 2, 3, 4]);
    }
    host.ok(&["unpin", "repo", "1"]);
    host.ok(&["prune", "repo", "--keep-last", "3", "--yes"]);
    assert_eq!(numbers(&host), [2, 3, 4]);
}

#[test]
fn what_somebody_reads_stays_with_what_it_builds_on_and_the_rest_goes() {
    let host = with_chain();
    backup(&host, "full", "2026-11-05T02:30:00Z", &[]);
    let folder = host.path("repo/backups").join(&host.backups("repo")[1]);
    let reader = fs::File::open(folder).expect("opened");
    reader.lock_shared().expect("held as a restore does");
    let plan = host.ok(&["prune", "repo", "--keep-last", "1", "--json"]).summary();
    assert_eq!(reasons(&plan, 2), ["in_use"]);
    assert_eq!(numbers(&host), [1, 2, 3, 4, 5]);
    let holder = plan["backups"][1]["reasons"][0]["of"].as_str().expect("a holder").to_owned();
    // Where a container hides all locks, nobody can be named.
    let seen = fs::read_to_string("/proc/locks").unwrap_or_default().contains(&format!(" {} ", std::process::id()));
    assert!(!seen || holder.contains(&format!("(pid {}, ", std::process::id())), "{holder}");
    let ran = host.run(&["prune", "repo", "--keep-last", "1", "--yes"]).exits(5);
    ran.says(&format!("is being read by {holder}")).says("removed 2 of 5 backups").says("Repeat `jetbak prune` later.");
    assert_eq!(numbers(&host), [1, 2, 5]);
    host.verifies("repo");
    drop(reader);
    host.ok(&["prune", "repo", "--keep-last", "1", "--yes"]);
    assert_eq!(numbers(&host), [5]);
}

#[test]
fn who_reads_what_stays_anyway_is_in_nobodys_way() {
    let host = with_chain();
    let reader = fs::File::open(host.backup_folder()).expect("opened");
    reader.lock_shared().expect("held");
    host.ok(&["prune", "repo", "--keep-last", "1", "--yes"]);
    assert_eq!(numbers(&host), [4]);
}

#[test]
fn prunes_and_whoever_publishes_wait_for_each_other() {
    let host = with_days();
    let publishing = fs::File::create(host.path("repo/lock")).expect("opened");
    publishing.lock().expect("locked as whoever publishes does");
    let prune = ["prune", "repo", "--keep-last", "1", "--yes"];
    let (mut first, mut second) = (host.start(&prune), host.start(&prune));
    first.stays();
    second.stays();
    assert_eq!(numbers(&host), [1, 2, 3, 4]);
    drop(publishing);
    let told = [first.wait().exits(0).stderr, second.wait().exits(0).stderr];
    assert!(told.contains(&"removed 3 of 4 backups, 36 B stored in them\n".to_owned()), "{told:?}");
    assert_eq!(numbers(&host), [4]);
    assert_eq!(host.partials("repo"), [""; 0]);
}

#[test]
fn a_repository_that_cannot_be_written_has_a_plan_and_no_more() {
    let host = with_days();
    fs::set_permissions(host.path(""), fs::Permissions::from_mode(0o755)).expect("opened");
    let everybody = Command::new("chmod").args(["-R", "a+rX,a-w"]).arg(host.path("repo")).status();
    assert!(everybody.expect("chmod runs").success());
    let run = |arguments: &[&str]| finish(as_ordinary_user(&host, host.command(arguments)));
    run(&["prune", "repo", "--keep-last", "1"]).exits(0).says("3 of 4 backups would go");
    for refused in
        [&["prune", "repo", "--keep-last", "1", "--yes"][..], &["pin", "repo", "1"], &["tag", "repo", "1", "x"]]
    {
        run(refused).exits(1).says("cannot be written by this user, or at all");
    }
    assert_eq!(numbers(&host), [1, 2, 3, 4]);
    let back = Command::new("chmod").args(["-R", "u+w"]).arg(host.path("repo")).status();
    assert!(back.expect("chmod runs").success());
}

#[test]
fn what_cannot_be_read_and_what_is_no_backup_is_left_alone() {
    let host = with_chain();
    let broken = host.path("repo/backups").join(&host.backups("repo")[2]).join("manifest.json");
    fs::write(&broken, "{").expect("written");
    backup(&host, "full", "2026-11-05T02:30:00Z", &[]);
    host.write("repo/backups/notes.txt", "mine");
    fs::create_dir(host.path("repo/backups/lost+found")).expect("created");
    let ran = host.run(&["prune", "repo", "--keep-last", "1", "--yes", "-v"]).exits(3);
    let ran = ran.says("its manifest is damaged").says("notes.txt alone: it is no backup").says("lost+found alone");
    ran.says("`jetbak verify").prints("cannot be read").prints("3 may build on it");
    let left = names(&host.path("repo/backups"));
    let left: Vec<&str> = left.iter().map(|name| &name[..6]).collect();
    assert_eq!(left, ["000001", "000002", "000003", "000005", "lost+f", "notes."]);
}

/// Lets a session die in which everything was read: its folder is gone. Returns the name of its partial.
fn dead_session(host: &Host) -> String {
    host.ok(&["begin", "app", "--to", "repo"]);
    host.ok(&["read", "app"]);
    fs::remove_dir_all(host.path("state")).expect("removed");
    host.partials("repo").pop().expect("a partial")
}

fn copy(from: &Path, to: PathBuf) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.expect("cp runs").success());
}

#[test]
fn what_dead_sessions_and_interrupted_prunes_left_is_swept_and_told() {
    let host = with_days();
    let older = dead_session(&host);
    copy(&host.path("repo/partial").join(&older), host.path("aside"));
    // The next begin sweeps as well; so that two are left, one comes back, with a name of long ago.
    let newest = dead_session(&host);
    let older = "20200101T000000Z-abcdef";
    copy(&host.path("aside"), host.path("repo/partial").join(older));
    let gone = "000009-20261101T000000Z-full";
    host.write(&format!("repo/partial/trash-{gone}-0000abcd/data/file"), "12345");
    host.write(&format!("repo/tags/{gone}.json"), "{}");
    let before = host.partials("repo");

    let plan = host.ok(&["prune", "repo", "--keep-last", "9"]);
    plan.says(&format!("would remove what is left of the session {older} of ")).says("nothing was removed");
    assert_eq!(host.partials("repo"), before);
    let app = host.path("app").canonicalize().expect("there");
    let ran = host.ok(&["prune", "repo", "--keep-last", "9", "--yes"]);
    let ran = ran.says(&format!("removed what was left of the session {older} of {} (1 file, 12 B)\n", app.display()));
    let ran =
        ran.says(&format!("left what is there of the session {newest} of ")).says("the next backup goes on from it");
    ran.says(&format!("deleted what is left of the backup {gone}: 1 file, 5 B\n"));
    assert_eq!(host.partials("repo"), std::slice::from_ref(&newest));
    assert_eq!(names(&host.path("repo/tags")), [""; 0], "what was known of it went as well");
    let done = host.ok(&["prune", "repo", "--keep-last", "9", "--discard-partials", "--yes", "--json"]).summary();
    assert_eq!((&done["partials"][0]["session"], &done["partials"][0]["removed"]), (&newest.into(), &true.into()));
    assert_eq!(host.partials("repo"), [""; 0]);
    assert_eq!(numbers(&host), [1, 2, 3, 4]);
}

#[test]
fn a_session_in_progress_keeps_what_it_builds_on() {
    let host = with_chain();
    fs::rename(host.path("repo/backups").join(&host.backups("repo")[3]), host.path("aside")).expect("moved away");
    host.write("app/main.db", "the database of the session");
    host.ok(&["begin", "app", "--to", "repo", "--kind", "incremental"]);
    let session = host.partials("repo").pop().expect("a partial");
    host.ok(&["backup", "app", "--to", "repo", "--quiet", "--state-dir", "other"]);
    let plan = host.ok(&["prune", "repo", "--keep-last", "1", "--yes", "--json"]).summary();
    assert_eq!(reasons(&plan, 3), ["needed_by_partial"]);
    assert_eq!(plan["backups"][2]["reasons"][0]["of"], session);
    assert_eq!(numbers(&host), [1, 2, 3, 4]);
    host.ok(&["read", "app"]);
    host.ok(&["end", "app"]);
    assert_eq!(numbers(&host), [1, 2, 3, 4, 5]);
    host.verifies("repo");
}

#[test]
fn two_backups_with_one_number_are_two_backups() {
    let host = host();
    backup(&host, "full", "2026-11-01T02:30:00Z", &[]);
    copy(&host.path("repo"), host.path("copy"));
    backup(&host, "full", "2026-11-02T02:30:00Z", &[]);
    host.ok(&["backup", "app", "--to", "copy", "--kind", "copy", "--quiet"]);
    let other = host.backups("copy").pop().expect("a backup");
    copy(&host.path("copy/backups").join(&other), host.path("repo/backups"));
    host.ok(&["prune", "repo", "--keep-last", "1", "--yes"]);
    assert_eq!(numbers(&host), [2, 2], "a number that was the highest is not given again");
    backup(&host, "full", "2026-11-03T02:30:00Z", &[]);
    host.ok(&["prune", "repo", "--keep-last", "2", "--yes"]);
    assert_eq!(numbers(&host), [2, 3]);
    host.verifies("repo");
}

#[test]
fn a_kept_partial_of_a_dead_backup_that_a_prune_took_away_is_not_missed() {
    // The next backup ends the dead session, which was to keep what it had read.
    let host = (0..200).find_map(|_| {
        let host = Host::quick_with_app();
        let mut running = host.start(&["backup", "app", "--to", "repo", "--keep-partial"]);
        let held = HeldJournal::of_a_new_session(&host, "state", &mut running)?;
        let is_killed = running.kill().code.is_none();
        // Without its first event it is no session, and there is nothing to end.
        let is_begun = held.events().contains(&"begun".to_owned());
        drop(held);
        (is_killed && is_begun && host.backups("repo").is_empty()).then_some(host)
    });
    let host = host.expect("the backup is not 200 times too quick to be killed");
    host.ok(&["prune", "repo", "--keep-last", "1", "--discard-partials", "--yes"]).says("removed what was left");
    host.ok(&["backup", "app", "--to", "repo"]).says("what was read so far is gone from ");
    host.is_tidy("repo");
    host.verifies("repo");
}
