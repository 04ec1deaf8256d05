# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_jetbak_global_optspecs
    string join \n state-dir= json q/quiet v/verbose color= h/help V/version
end

function __fish_jetbak_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_jetbak_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_jetbak_using_subcommand
    set -l cmd (__fish_jetbak_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c jetbak -n "__fish_jetbak_needs_command" -l state-dir -d 'Keep the state of sessions in this directory, on a local file system' -r -F
complete -c jetbak -n "__fish_jetbak_needs_command" -l color -d 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c jetbak -n "__fish_jetbak_needs_command" -l json -d 'Print JSON: one document, or one object a line with the summary last'
complete -c jetbak -n "__fish_jetbak_needs_command" -s q -l quiet -d 'Print errors only'
complete -c jetbak -n "__fish_jetbak_needs_command" -s v -l verbose -d 'Say what was decided, and why'
complete -c jetbak -n "__fish_jetbak_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jetbak -n "__fish_jetbak_needs_command" -s V -l version -d 'Print version'
complete -c jetbak -n "__fish_jetbak_needs_command" -f -a "backup" -d 'Back up a storage: begin, read, truncate and end in one go'
complete -c jetbak -n "__fish_jetbak_needs_command" -f -a "begin" -d 'Begin a session: judge the storage and fix the list of what is read first'
complete -c jetbak -n "__fish_jetbak_needs_command" -f -a "files" -d 'Show what a session reads, and what is done; change nothing'
complete -c jetbak -n "__fish_jetbak_needs_command" -f -a "read" -d 'Read all that is left of a session, or the named files'
complete -c jetbak -n "__fish_jetbak_needs_command" -f -a "truncate" -d 'Publish the backup, then delete the logs that it makes needless'
complete -c jetbak -n "__fish_jetbak_needs_command" -f -a "end" -d 'End a session: publish what was read, or leave nothing behind'
complete -c jetbak -n "__fish_jetbak_needs_command" -f -a "stop" -d 'Stop a session from any process; its remaining reads fail'
complete -c jetbak -n "__fish_jetbak_needs_command" -f -a "status" -d 'Show the sessions in progress, and how far they are'
complete -c jetbak -n "__fish_jetbak_needs_command" -f -a "list" -d 'List the backups of a repository'
complete -c jetbak -n "__fish_jetbak_needs_command" -f -a "show" -d 'Show what a backup is, or which files it holds'
complete -c jetbak -n "__fish_jetbak_needs_command" -f -a "cat" -d 'Write one file of a backup to stdout, proven before the first byte'
complete -c jetbak -n "__fish_jetbak_needs_command" -f -a "verify" -d 'Prove backups: every hash, every size, nothing missing, nothing extra'
complete -c jetbak -n "__fish_jetbak_needs_command" -f -a "consolidate" -d 'Make a full backup out of one that builds on others, without the source'
complete -c jetbak -n "__fish_jetbak_needs_command" -f -a "prune" -d 'Remove the backups that nothing is to keep, and what dead sessions left; without --yes only say which'
complete -c jetbak -n "__fish_jetbak_needs_command" -f -a "tag" -d 'Give a backup tags, or take them away'
complete -c jetbak -n "__fish_jetbak_needs_command" -f -a "pin" -d 'Keep a backup whatever a prune is asked for'
complete -c jetbak -n "__fish_jetbak_needs_command" -f -a "unpin" -d 'Take the pin of a backup away'
complete -c jetbak -n "__fish_jetbak_needs_command" -f -a "restore" -d 'Restore a backup into a directory that is empty or does not exist yet, or put one right'
complete -c jetbak -n "__fish_jetbak_needs_command" -f -a "check" -d 'Prove databases of ESE and SQLite where they lie; no backup'
complete -c jetbak -n "__fish_jetbak_needs_command" -f -a "logs" -d 'Tell of each log of an ESE storage whether it is needed, and why'
complete -c jetbak -n "__fish_jetbak_needs_command" -f -a "inspect" -d 'Show what the header of a file of ESE or SQLite says'
complete -c jetbak -n "__fish_jetbak_needs_command" -f -a "completions" -d 'Print the completions of a shell'
complete -c jetbak -n "__fish_jetbak_needs_command" -f -a "man" -d 'Print the man page, or write all of them into a directory'
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l kind -d 'What is asked for' -r -f -a "full\t'Complete; a parent for later kinds; may truncate'
copy\t'Complete; never a parent, never truncates'
incremental\t'What changed since the last full or incremental; a parent; may truncate'
differential\t'What changed since the last full; never a parent, never truncates'"
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l engine -d 'What understands the storage; `auto` looks at its content' -r -f -a "auto\t'By content: ESE where a database or log of it is found, else SQLite where a database of it is, else any directory'
ese\t'Databases and logs of the Extensible Storage Engine, every page and segment proven'
sqlite\t'Databases of SQLite, while applications write to them, and whatever lies beside them'
files\t'Any directory, as it is'"
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l name -d 'Tie the repository to this name instead of the storage\'s path' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l log -d 'Take files that match as logs: read last, and deleted by truncate' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l base -d 'The three characters that the names of the logs begin with, where there are several streams (ESE)' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l log-dir -d 'The directory of the logs, where they do not lie below the storage or are one of several streams (ESE)' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l checkpoint -d 'The checkpoint, where it lies neither below the storage nor beside the logs (ESE)' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l live-log-dir -d 'Let truncate delete in this log directory of the live instance of which the storage is a snapshot (ESE)' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l live-checkpoint -d 'The checkpoint of the live instance, where it is not beside its logs (ESE)' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l busy-timeout -d 'Try so long to read a database that another process has locked, such as 30s (SQLite) [default: 30s]' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l max-lock -d 'Keep writers of a database with a rollback journal waiting no longer than this, such as 2s (SQLite)' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l exclude -d 'Leave out what matches, and everything below a directory that matches' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l exclude-from -d 'Leave out what the patterns in a file match: one a line, `#` begins a comment' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l tag -d 'Give the backup this tag, by which `prune --keep-tag` keeps it and `list --tag` finds it' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l retries -d 'Read a file that changes while it is read so many times again' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l replace-idle -d 'End an earlier session of this storage in which nothing has happened for so long, such as 30m or 12h' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l to -d 'The repository; made if it is missing' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l state-dir -d 'Keep the state of sessions in this directory, on a local file system' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l color -d 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l ignore-metadata -d 'Read every file, also those that seem to be unchanged since the parent'
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l blocks -d 'Take the changed blocks of databases, not their logs (ESE; other engines do so anyway)'
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l snapshot -d 'Take the storage for a snapshot, to which nobody writes (ESE)'
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l engine-files -d 'Leave out what is not the engine\'s own (ESE)'
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l accept-damage -d 'Copy damaged pages as they are, and list each in the manifest (ESE)'
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l accept-loss -d 'Go on where logs are missing that hold what was committed last (ESE)'
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l exclude-caches -d 'Leave out what lies in directories that a CACHEDIR.TAG marks as caches'
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l one-file-system -d 'Leave out what lies on other file systems than the storage'
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l keep-going -d 'Leave out files that cannot be read, instead of failing'
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l keep-partial -d 'Keep what was read of a session that is stopped, aborted or fails, until the next backup is published'
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l no-resume -d 'Read everything, also what an earlier session has read that came to nothing'
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l truncate -d 'Delete the logs that this backup makes needless, after it is published and proven'
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l dry-run -d 'Say what would be read and how much, and stop there'
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -l json -d 'Print JSON: one document, or one object a line with the summary last'
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -s q -l quiet -d 'Print errors only'
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -s v -l verbose -d 'Say what was decided, and why'
complete -c jetbak -n "__fish_jetbak_using_subcommand backup" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -l kind -d 'What is asked for' -r -f -a "full\t'Complete; a parent for later kinds; may truncate'
copy\t'Complete; never a parent, never truncates'
incremental\t'What changed since the last full or incremental; a parent; may truncate'
differential\t'What changed since the last full; never a parent, never truncates'"
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -l engine -d 'What understands the storage; `auto` looks at its content' -r -f -a "auto\t'By content: ESE where a database or log of it is found, else SQLite where a database of it is, else any directory'
ese\t'Databases and logs of the Extensible Storage Engine, every page and segment proven'
sqlite\t'Databases of SQLite, while applications write to them, and whatever lies beside them'
files\t'Any directory, as it is'"
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -l name -d 'Tie the repository to this name instead of the storage\'s path' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -l log -d 'Take files that match as logs: read last, and deleted by truncate' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -l base -d 'The three characters that the names of the logs begin with, where there are several streams (ESE)' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -l log-dir -d 'The directory of the logs, where they do not lie below the storage or are one of several streams (ESE)' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -l checkpoint -d 'The checkpoint, where it lies neither below the storage nor beside the logs (ESE)' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -l live-log-dir -d 'Let truncate delete in this log directory of the live instance of which the storage is a snapshot (ESE)' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -l live-checkpoint -d 'The checkpoint of the live instance, where it is not beside its logs (ESE)' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -l busy-timeout -d 'Try so long to read a database that another process has locked, such as 30s (SQLite) [default: 30s]' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -l max-lock -d 'Keep writers of a database with a rollback journal waiting no longer than this, such as 2s (SQLite)' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -l exclude -d 'Leave out what matches, and everything below a directory that matches' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -l exclude-from -d 'Leave out what the patterns in a file match: one a line, `#` begins a comment' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -l tag -d 'Give the backup this tag, by which `prune --keep-tag` keeps it and `list --tag` finds it' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -l retries -d 'Read a file that changes while it is read so many times again' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -l replace-idle -d 'End an earlier session of this storage in which nothing has happened for so long, such as 30m or 12h' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -l to -d 'The repository; made if it is missing' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -l state-dir -d 'Keep the state of sessions in this directory, on a local file system' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -l color -d 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -l ignore-metadata -d 'Read every file, also those that seem to be unchanged since the parent'
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -l blocks -d 'Take the changed blocks of databases, not their logs (ESE; other engines do so anyway)'
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -l snapshot -d 'Take the storage for a snapshot, to which nobody writes (ESE)'
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -l engine-files -d 'Leave out what is not the engine\'s own (ESE)'
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -l accept-damage -d 'Copy damaged pages as they are, and list each in the manifest (ESE)'
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -l accept-loss -d 'Go on where logs are missing that hold what was committed last (ESE)'
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -l exclude-caches -d 'Leave out what lies in directories that a CACHEDIR.TAG marks as caches'
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -l one-file-system -d 'Leave out what lies on other file systems than the storage'
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -l keep-going -d 'Leave out files that cannot be read, instead of failing'
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -l keep-partial -d 'Keep what was read of a session that is stopped, aborted or fails, until the next backup is published'
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -l no-resume -d 'Read everything, also what an earlier session has read that came to nothing'
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -l no-repository -d 'Read into no repository: files go where `read --out` sends them'
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -l json -d 'Print JSON: one document, or one object a line with the summary last'
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -s q -l quiet -d 'Print errors only'
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -s v -l verbose -d 'Say what was decided, and why'
complete -c jetbak -n "__fish_jetbak_using_subcommand begin" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jetbak -n "__fish_jetbak_using_subcommand files" -l session -d 'The session\'s id, instead of its storage' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand files" -l state-dir -d 'Keep the state of sessions in this directory, on a local file system' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand files" -l color -d 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c jetbak -n "__fish_jetbak_using_subcommand files" -l json -d 'Print JSON: one document, or one object a line with the summary last'
complete -c jetbak -n "__fish_jetbak_using_subcommand files" -s q -l quiet -d 'Print errors only'
complete -c jetbak -n "__fish_jetbak_using_subcommand files" -s v -l verbose -d 'Say what was decided, and why'
complete -c jetbak -n "__fish_jetbak_using_subcommand files" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jetbak -n "__fish_jetbak_using_subcommand read" -l session -d 'The session\'s id, instead of its storage' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand read" -l out -d 'Write the one named file to this path, or to stdout with `-`' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand read" -l state-dir -d 'Keep the state of sessions in this directory, on a local file system' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand read" -l color -d 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c jetbak -n "__fish_jetbak_using_subcommand read" -l json -d 'Print JSON: one document, or one object a line with the summary last'
complete -c jetbak -n "__fish_jetbak_using_subcommand read" -s q -l quiet -d 'Print errors only'
complete -c jetbak -n "__fish_jetbak_using_subcommand read" -s v -l verbose -d 'Say what was decided, and why'
complete -c jetbak -n "__fish_jetbak_using_subcommand read" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jetbak -n "__fish_jetbak_using_subcommand truncate" -l session -d 'The session\'s id, instead of its storage' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand truncate" -l state-dir -d 'Keep the state of sessions in this directory, on a local file system' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand truncate" -l color -d 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c jetbak -n "__fish_jetbak_using_subcommand truncate" -l dry-run -d 'Say what would be deleted; change nothing'
complete -c jetbak -n "__fish_jetbak_using_subcommand truncate" -l json -d 'Print JSON: one document, or one object a line with the summary last'
complete -c jetbak -n "__fish_jetbak_using_subcommand truncate" -s q -l quiet -d 'Print errors only'
complete -c jetbak -n "__fish_jetbak_using_subcommand truncate" -s v -l verbose -d 'Say what was decided, and why'
complete -c jetbak -n "__fish_jetbak_using_subcommand truncate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jetbak -n "__fish_jetbak_using_subcommand end" -l session -d 'The session\'s id, instead of its storage' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand end" -l state-dir -d 'Keep the state of sessions in this directory, on a local file system' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand end" -l color -d 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c jetbak -n "__fish_jetbak_using_subcommand end" -l abort -d 'End without a backup; stops readers that still work'
complete -c jetbak -n "__fish_jetbak_using_subcommand end" -l require-success -d 'Exit 4 where the session had been stopped'
complete -c jetbak -n "__fish_jetbak_using_subcommand end" -l json -d 'Print JSON: one document, or one object a line with the summary last'
complete -c jetbak -n "__fish_jetbak_using_subcommand end" -s q -l quiet -d 'Print errors only'
complete -c jetbak -n "__fish_jetbak_using_subcommand end" -s v -l verbose -d 'Say what was decided, and why'
complete -c jetbak -n "__fish_jetbak_using_subcommand end" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jetbak -n "__fish_jetbak_using_subcommand stop" -l session -d 'The session\'s id, instead of its storage' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand stop" -l reason -d 'Why; kept with the session and shown to those who are stopped' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand stop" -l wait -d 'Wait so long until no process reads in it any more' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand stop" -l state-dir -d 'Keep the state of sessions in this directory, on a local file system' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand stop" -l color -d 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c jetbak -n "__fish_jetbak_using_subcommand stop" -l all -d 'Stop every session of this state directory'
complete -c jetbak -n "__fish_jetbak_using_subcommand stop" -l json -d 'Print JSON: one document, or one object a line with the summary last'
complete -c jetbak -n "__fish_jetbak_using_subcommand stop" -s q -l quiet -d 'Print errors only'
complete -c jetbak -n "__fish_jetbak_using_subcommand stop" -s v -l verbose -d 'Say what was decided, and why'
complete -c jetbak -n "__fish_jetbak_using_subcommand stop" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jetbak -n "__fish_jetbak_using_subcommand status" -l state-dir -d 'Keep the state of sessions in this directory, on a local file system' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand status" -l color -d 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c jetbak -n "__fish_jetbak_using_subcommand status" -l json -d 'Print JSON: one document, or one object a line with the summary last'
complete -c jetbak -n "__fish_jetbak_using_subcommand status" -s q -l quiet -d 'Print errors only'
complete -c jetbak -n "__fish_jetbak_using_subcommand status" -s v -l verbose -d 'Say what was decided, and why'
complete -c jetbak -n "__fish_jetbak_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jetbak -n "__fish_jetbak_using_subcommand list" -l tag -d 'Only those with this tag; can be given several times' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand list" -l state-dir -d 'Keep the state of sessions in this directory, on a local file system' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand list" -l color -d 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c jetbak -n "__fish_jetbak_using_subcommand list" -l json -d 'Print JSON: one document, or one object a line with the summary last'
complete -c jetbak -n "__fish_jetbak_using_subcommand list" -s q -l quiet -d 'Print errors only'
complete -c jetbak -n "__fish_jetbak_using_subcommand list" -s v -l verbose -d 'Say what was decided, and why'
complete -c jetbak -n "__fish_jetbak_using_subcommand list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jetbak -n "__fish_jetbak_using_subcommand show" -l files -d 'List its files instead, all of them or these and what lies below them' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand show" -l state-dir -d 'Keep the state of sessions in this directory, on a local file system' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand show" -l color -d 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c jetbak -n "__fish_jetbak_using_subcommand show" -l tree -d 'Show which backups build on which instead, all of them'
complete -c jetbak -n "__fish_jetbak_using_subcommand show" -l json -d 'Print JSON: one document, or one object a line with the summary last'
complete -c jetbak -n "__fish_jetbak_using_subcommand show" -s q -l quiet -d 'Print errors only'
complete -c jetbak -n "__fish_jetbak_using_subcommand show" -s v -l verbose -d 'Say what was decided, and why'
complete -c jetbak -n "__fish_jetbak_using_subcommand show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jetbak -n "__fish_jetbak_using_subcommand cat" -l state-dir -d 'Keep the state of sessions in this directory, on a local file system' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand cat" -l color -d 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c jetbak -n "__fish_jetbak_using_subcommand cat" -l json -d 'Print JSON: one document, or one object a line with the summary last'
complete -c jetbak -n "__fish_jetbak_using_subcommand cat" -s q -l quiet -d 'Print errors only'
complete -c jetbak -n "__fish_jetbak_using_subcommand cat" -s v -l verbose -d 'Say what was decided, and why'
complete -c jetbak -n "__fish_jetbak_using_subcommand cat" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jetbak -n "__fish_jetbak_using_subcommand verify" -l state-dir -d 'Keep the state of sessions in this directory, on a local file system' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand verify" -l color -d 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c jetbak -n "__fish_jetbak_using_subcommand verify" -l deep -d 'Compare also every index of an SQLite database with its table (`integrity_check`, not `quick_check`)'
complete -c jetbak -n "__fish_jetbak_using_subcommand verify" -l json -d 'Print JSON: one document, or one object a line with the summary last'
complete -c jetbak -n "__fish_jetbak_using_subcommand verify" -s q -l quiet -d 'Print errors only'
complete -c jetbak -n "__fish_jetbak_using_subcommand verify" -s v -l verbose -d 'Say what was decided, and why'
complete -c jetbak -n "__fish_jetbak_using_subcommand verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jetbak -n "__fish_jetbak_using_subcommand consolidate" -l state-dir -d 'Keep the state of sessions in this directory, on a local file system' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand consolidate" -l color -d 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c jetbak -n "__fish_jetbak_using_subcommand consolidate" -l json -d 'Print JSON: one document, or one object a line with the summary last'
complete -c jetbak -n "__fish_jetbak_using_subcommand consolidate" -s q -l quiet -d 'Print errors only'
complete -c jetbak -n "__fish_jetbak_using_subcommand consolidate" -s v -l verbose -d 'Say what was decided, and why'
complete -c jetbak -n "__fish_jetbak_using_subcommand consolidate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jetbak -n "__fish_jetbak_using_subcommand prune" -l keep-last -d 'Keep the newest N backups' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand prune" -l keep-hourly -d 'Keep the newest backup of each of the newest N hours that have one' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand prune" -l keep-daily -d 'The same for days' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand prune" -l keep-weekly -d 'The same for weeks' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand prune" -l keep-monthly -d 'The same for months' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand prune" -l keep-yearly -d 'The same for years' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand prune" -l keep-within -d 'Keep all backups of so long a time before the newest one, such as 12h, 30d or 1w 3d' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand prune" -l keep-tag -d 'Keep all backups with this tag; can be given several times' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand prune" -l state-dir -d 'Keep the state of sessions in this directory, on a local file system' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand prune" -l color -d 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c jetbak -n "__fish_jetbak_using_subcommand prune" -l yes -d 'Do it'
complete -c jetbak -n "__fish_jetbak_using_subcommand prune" -l dry-run -d 'Say what would be removed, and stop there; so it is without --yes'
complete -c jetbak -n "__fish_jetbak_using_subcommand prune" -l discard-partials -d 'Also remove what an interrupted or stopped session left from which the next backup would go on'
complete -c jetbak -n "__fish_jetbak_using_subcommand prune" -l json -d 'Print JSON: one document, or one object a line with the summary last'
complete -c jetbak -n "__fish_jetbak_using_subcommand prune" -s q -l quiet -d 'Print errors only'
complete -c jetbak -n "__fish_jetbak_using_subcommand prune" -s v -l verbose -d 'Say what was decided, and why'
complete -c jetbak -n "__fish_jetbak_using_subcommand prune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jetbak -n "__fish_jetbak_using_subcommand tag" -l state-dir -d 'Keep the state of sessions in this directory, on a local file system' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand tag" -l color -d 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c jetbak -n "__fish_jetbak_using_subcommand tag" -l remove -d 'Take these tags away instead; one that it has not is fine'
complete -c jetbak -n "__fish_jetbak_using_subcommand tag" -l json -d 'Print JSON: one document, or one object a line with the summary last'
complete -c jetbak -n "__fish_jetbak_using_subcommand tag" -s q -l quiet -d 'Print errors only'
complete -c jetbak -n "__fish_jetbak_using_subcommand tag" -s v -l verbose -d 'Say what was decided, and why'
complete -c jetbak -n "__fish_jetbak_using_subcommand tag" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jetbak -n "__fish_jetbak_using_subcommand pin" -l reason -d 'Why; kept with the backup and shown' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand pin" -l state-dir -d 'Keep the state of sessions in this directory, on a local file system' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand pin" -l color -d 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c jetbak -n "__fish_jetbak_using_subcommand pin" -l json -d 'Print JSON: one document, or one object a line with the summary last'
complete -c jetbak -n "__fish_jetbak_using_subcommand pin" -s q -l quiet -d 'Print errors only'
complete -c jetbak -n "__fish_jetbak_using_subcommand pin" -s v -l verbose -d 'Say what was decided, and why'
complete -c jetbak -n "__fish_jetbak_using_subcommand pin" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jetbak -n "__fish_jetbak_using_subcommand unpin" -l state-dir -d 'Keep the state of sessions in this directory, on a local file system' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand unpin" -l color -d 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c jetbak -n "__fish_jetbak_using_subcommand unpin" -l json -d 'Print JSON: one document, or one object a line with the summary last'
complete -c jetbak -n "__fish_jetbak_using_subcommand unpin" -s q -l quiet -d 'Print errors only'
complete -c jetbak -n "__fish_jetbak_using_subcommand unpin" -s v -l verbose -d 'Say what was decided, and why'
complete -c jetbak -n "__fish_jetbak_using_subcommand unpin" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jetbak -n "__fish_jetbak_using_subcommand restore" -l into -d 'The directory to restore into: empty, or not there yet; with --delta, one that is there' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand restore" -l map -d 'The directory to restore a root into whose files did not lie below the storage (`logs`, `checkpoint`)' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand restore" -l only -d 'Restore only these, with what lies below them and the directories above them' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand restore" -l owner -d 'Whose the files are to be' -r -f -a "keep\t'Those they had, by name where this machine knows the name, else by number'
numeric\t'Those they had, by number'
current\t'Whoever restores them'"
complete -c jetbak -n "__fish_jetbak_using_subcommand restore" -l state-dir -d 'Keep the state of sessions in this directory, on a local file system' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand restore" -l color -d 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c jetbak -n "__fish_jetbak_using_subcommand restore" -l keep-going -d 'Leave out what is damaged, instead of restoring nothing'
complete -c jetbak -n "__fish_jetbak_using_subcommand restore" -l delta -d 'Put a directory right that is there: rewrite what differs, delete what the backup does not hold'
complete -c jetbak -n "__fish_jetbak_using_subcommand restore" -l any-directory -d 'With --delta: take a directory that the repository knows nothing of'
complete -c jetbak -n "__fish_jetbak_using_subcommand restore" -l dry-run -d 'Say what would be restored, and stop there'
complete -c jetbak -n "__fish_jetbak_using_subcommand restore" -l json -d 'Print JSON: one document, or one object a line with the summary last'
complete -c jetbak -n "__fish_jetbak_using_subcommand restore" -s q -l quiet -d 'Print errors only'
complete -c jetbak -n "__fish_jetbak_using_subcommand restore" -s v -l verbose -d 'Say what was decided, and why'
complete -c jetbak -n "__fish_jetbak_using_subcommand restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jetbak -n "__fish_jetbak_using_subcommand check" -l base -d 'The three characters that the names of the logs begin with, where there are several streams (ESE)' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand check" -l log-dir -d 'The directory of the logs, where they do not lie below the storage or are one of several streams (ESE)' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand check" -l checkpoint -d 'The checkpoint, where it lies neither below the storage nor beside the logs (ESE)' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand check" -l state-dir -d 'Keep the state of sessions in this directory, on a local file system' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand check" -l color -d 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c jetbak -n "__fish_jetbak_using_subcommand check" -l deep -d 'Compare also every index of an SQLite database with its table (`integrity_check`, not `quick_check`)'
complete -c jetbak -n "__fish_jetbak_using_subcommand check" -l json -d 'Print JSON: one document, or one object a line with the summary last'
complete -c jetbak -n "__fish_jetbak_using_subcommand check" -s q -l quiet -d 'Print errors only'
complete -c jetbak -n "__fish_jetbak_using_subcommand check" -s v -l verbose -d 'Say what was decided, and why'
complete -c jetbak -n "__fish_jetbak_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jetbak -n "__fish_jetbak_using_subcommand logs" -l repository -d 'Ask the backups in this repository which logs they make needless' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand logs" -l base -d 'The three characters that the names of the logs begin with, where there are several streams (ESE)' -r
complete -c jetbak -n "__fish_jetbak_using_subcommand logs" -l log-dir -d 'The directory of the logs, where they do not lie below the storage or are one of several streams (ESE)' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand logs" -l checkpoint -d 'The checkpoint, where it lies neither below the storage nor beside the logs (ESE)' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand logs" -l state-dir -d 'Keep the state of sessions in this directory, on a local file system' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand logs" -l color -d 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c jetbak -n "__fish_jetbak_using_subcommand logs" -l json -d 'Print JSON: one document, or one object a line with the summary last'
complete -c jetbak -n "__fish_jetbak_using_subcommand logs" -s q -l quiet -d 'Print errors only'
complete -c jetbak -n "__fish_jetbak_using_subcommand logs" -s v -l verbose -d 'Say what was decided, and why'
complete -c jetbak -n "__fish_jetbak_using_subcommand logs" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jetbak -n "__fish_jetbak_using_subcommand inspect" -l state-dir -d 'Keep the state of sessions in this directory, on a local file system' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand inspect" -l color -d 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c jetbak -n "__fish_jetbak_using_subcommand inspect" -l json -d 'Print JSON: one document, or one object a line with the summary last'
complete -c jetbak -n "__fish_jetbak_using_subcommand inspect" -s q -l quiet -d 'Print errors only'
complete -c jetbak -n "__fish_jetbak_using_subcommand inspect" -s v -l verbose -d 'Say what was decided, and why'
complete -c jetbak -n "__fish_jetbak_using_subcommand inspect" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jetbak -n "__fish_jetbak_using_subcommand completions" -l state-dir -d 'Keep the state of sessions in this directory, on a local file system' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand completions" -l color -d 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c jetbak -n "__fish_jetbak_using_subcommand completions" -l json -d 'Print JSON: one document, or one object a line with the summary last'
complete -c jetbak -n "__fish_jetbak_using_subcommand completions" -s q -l quiet -d 'Print errors only'
complete -c jetbak -n "__fish_jetbak_using_subcommand completions" -s v -l verbose -d 'Say what was decided, and why'
complete -c jetbak -n "__fish_jetbak_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jetbak -n "__fish_jetbak_using_subcommand man" -l state-dir -d 'Keep the state of sessions in this directory, on a local file system' -r -F
complete -c jetbak -n "__fish_jetbak_using_subcommand man" -l color -d 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c jetbak -n "__fish_jetbak_using_subcommand man" -l json -d 'Print JSON: one document, or one object a line with the summary last'
complete -c jetbak -n "__fish_jetbak_using_subcommand man" -s q -l quiet -d 'Print errors only'
complete -c jetbak -n "__fish_jetbak_using_subcommand man" -s v -l verbose -d 'Say what was decided, and why'
complete -c jetbak -n "__fish_jetbak_using_subcommand man" -s h -l help -d 'Print help (see more with \'--help\')'
