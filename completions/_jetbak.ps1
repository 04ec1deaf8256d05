
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'jetbak' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'jetbak'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'jetbak' {
            [CompletionResult]::new('--state-dir', '--state-dir', [CompletionResultType]::ParameterName, 'Keep the state of sessions in this directory, on a local file system')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON: one document, or one object a line with the summary last')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('backup', 'backup', [CompletionResultType]::ParameterValue, 'Back up a storage: begin, read, truncate and end in one go')
            [CompletionResult]::new('begin', 'begin', [CompletionResultType]::ParameterValue, 'Begin a session: judge the storage and fix the list of what is read first')
            [CompletionResult]::new('files', 'files', [CompletionResultType]::ParameterValue, 'Show what a session reads, and what is done; change nothing')
            [CompletionResult]::new('read', 'read', [CompletionResultType]::ParameterValue, 'Read all that is left of a session, or the named files')
            [CompletionResult]::new('truncate', 'truncate', [CompletionResultType]::ParameterValue, 'Publish the backup, then delete the logs that it makes needless')
            [CompletionResult]::new('end', 'end', [CompletionResultType]::ParameterValue, 'End a session: publish what was read, or leave nothing behind')
            [CompletionResult]::new('stop', 'stop', [CompletionResultType]::ParameterValue, 'Stop a session from any process; its remaining reads fail')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Show the sessions in progress, and how far they are')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List the backups of a repository')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Show what a backup is, or which files it holds')
            [CompletionResult]::new('cat', 'cat', [CompletionResultType]::ParameterValue, 'Write one file of a backup to stdout, proven before the first byte')
            [CompletionResult]::new('verify', 'verify', [CompletionResultType]::ParameterValue, 'Prove backups: every hash, every size, nothing missing, nothing extra')
            [CompletionResult]::new('consolidate', 'consolidate', [CompletionResultType]::ParameterValue, 'Make a full backup out of one that builds on others, without the source')
            [CompletionResult]::new('prune', 'prune', [CompletionResultType]::ParameterValue, 'Remove the backups that nothing is to keep, and what dead sessions left; without --yes only say which')
            [CompletionResult]::new('tag', 'tag', [CompletionResultType]::ParameterValue, 'Give a backup tags, or take them away')
            [CompletionResult]::new('pin', 'pin', [CompletionResultType]::ParameterValue, 'Keep a backup whatever a prune is asked for')
            [CompletionResult]::new('unpin', 'unpin', [CompletionResultType]::ParameterValue, 'Take the pin of a backup away')
            [CompletionResult]::new('restore', 'restore', [CompletionResultType]::ParameterValue, 'Restore a backup into a directory that is empty or does not exist yet, or put one right')
            [CompletionResult]::new('check', 'check', [CompletionResultType]::ParameterValue, 'Prove databases of ESE and SQLite where they lie; no backup')
            [CompletionResult]::new('logs', 'logs', [CompletionResultType]::ParameterValue, 'Tell of each log of an ESE storage whether it is needed, and why')
            [CompletionResult]::new('inspect', 'inspect', [CompletionResultType]::ParameterValue, 'Show what the header of a file of ESE or SQLite says')
            [CompletionResult]::new('completions', 'completions', [CompletionResultType]::ParameterValue, 'Print the completions of a shell')
            [CompletionResult]::new('man', 'man', [CompletionResultType]::ParameterValue, 'Print the man page, or write all of them into a directory')
            break
        }
        'jetbak;backup' {
            [CompletionResult]::new('--kind', '--kind', [CompletionResultType]::ParameterName, 'What is asked for')
            [CompletionResult]::new('--engine', '--engine', [CompletionResultType]::ParameterName, 'What understands the storage; `auto` looks at its content')
            [CompletionResult]::new('--name', '--name', [CompletionResultType]::ParameterName, 'Tie the repository to this name instead of the storage''s path')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'Take files that match as logs: read last, and deleted by truncate')
            [CompletionResult]::new('--base', '--base', [CompletionResultType]::ParameterName, 'The three characters that the names of the logs begin with, where there are several streams (ESE)')
            [CompletionResult]::new('--log-dir', '--log-dir', [CompletionResultType]::ParameterName, 'The directory of the logs, where they do not lie below the storage or are one of several streams (ESE)')
            [CompletionResult]::new('--checkpoint', '--checkpoint', [CompletionResultType]::ParameterName, 'The checkpoint, where it lies neither below the storage nor beside the logs (ESE)')
            [CompletionResult]::new('--live-log-dir', '--live-log-dir', [CompletionResultType]::ParameterName, 'Let truncate delete in this log directory of the live instance of which the storage is a snapshot (ESE)')
            [CompletionResult]::new('--live-checkpoint', '--live-checkpoint', [CompletionResultType]::ParameterName, 'The checkpoint of the live instance, where it is not beside its logs (ESE)')
            [CompletionResult]::new('--busy-timeout', '--busy-timeout', [CompletionResultType]::ParameterName, 'Try so long to read a database that another process has locked, such as 30s (SQLite) [default: 30s]')
            [CompletionResult]::new('--max-lock', '--max-lock', [CompletionResultType]::ParameterName, 'Keep writers of a database with a rollback journal waiting no longer than this, such as 2s (SQLite)')
            [CompletionResult]::new('--exclude', '--exclude', [CompletionResultType]::ParameterName, 'Leave out what matches, and everything below a directory that matches')
            [CompletionResult]::new('--exclude-from', '--exclude-from', [CompletionResultType]::ParameterName, 'Leave out what the patterns in a file match: one a line, `#` begins a comment')
            [CompletionResult]::new('--tag', '--tag', [CompletionResultType]::ParameterName, 'Give the backup this tag, by which `prune --keep-tag` keeps it and `list --tag` finds it')
            [CompletionResult]::new('--retries', '--retries', [CompletionResultType]::ParameterName, 'Read a file that changes while it is read so many times again')
            [CompletionResult]::new('--replace-idle', '--replace-idle', [CompletionResultType]::ParameterName, 'End an earlier session of this storage in which nothing has happened for so long, such as 30m or 12h')
            [CompletionResult]::new('--to', '--to', [CompletionResultType]::ParameterName, 'The repository; made if it is missing')
            [CompletionResult]::new('--state-dir', '--state-dir', [CompletionResultType]::ParameterName, 'Keep the state of sessions in this directory, on a local file system')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb')
            [CompletionResult]::new('--ignore-metadata', '--ignore-metadata', [CompletionResultType]::ParameterName, 'Read every file, also those that seem to be unchanged since the parent')
            [CompletionResult]::new('--blocks', '--blocks', [CompletionResultType]::ParameterName, 'Take the changed blocks of databases, not their logs (ESE; other engines do so anyway)')
            [CompletionResult]::new('--snapshot', '--snapshot', [CompletionResultType]::ParameterName, 'Take the storage for a snapshot, to which nobody writes (ESE)')
            [CompletionResult]::new('--engine-files', '--engine-files', [CompletionResultType]::ParameterName, 'Leave out what is not the engine''s own (ESE)')
            [CompletionResult]::new('--accept-damage', '--accept-damage', [CompletionResultType]::ParameterName, 'Copy damaged pages as they are, and list each in the manifest (ESE)')
            [CompletionResult]::new('--accept-loss', '--accept-loss', [CompletionResultType]::ParameterName, 'Go on where logs are missing that hold what was committed last (ESE)')
            [CompletionResult]::new('--exclude-caches', '--exclude-caches', [CompletionResultType]::ParameterName, 'Leave out what lies in directories that a CACHEDIR.TAG marks as caches')
            [CompletionResult]::new('--one-file-system', '--one-file-system', [CompletionResultType]::ParameterName, 'Leave out what lies on other file systems than the storage')
            [CompletionResult]::new('--keep-going', '--keep-going', [CompletionResultType]::ParameterName, 'Leave out files that cannot be read, instead of failing')
            [CompletionResult]::new('--keep-partial', '--keep-partial', [CompletionResultType]::ParameterName, 'Keep what was read of a session that is stopped, aborted or fails, until the next backup is published')
            [CompletionResult]::new('--no-resume', '--no-resume', [CompletionResultType]::ParameterName, 'Read everything, also what an earlier session has read that came to nothing')
            [CompletionResult]::new('--truncate', '--truncate', [CompletionResultType]::ParameterName, 'Delete the logs that this backup makes needless, after it is published and proven')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Say what would be read and how much, and stop there')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON: one document, or one object a line with the summary last')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'jetbak;begin' {
            [CompletionResult]::new('--kind', '--kind', [CompletionResultType]::ParameterName, 'What is asked for')
            [CompletionResult]::new('--engine', '--engine', [CompletionResultType]::ParameterName, 'What understands the storage; `auto` looks at its content')
            [CompletionResult]::new('--name', '--name', [CompletionResultType]::ParameterName, 'Tie the repository to this name instead of the storage''s path')
            [CompletionResult]::new('--log', '--log', [CompletionResultType]::ParameterName, 'Take files that match as logs: read last, and deleted by truncate')
            [CompletionResult]::new('--base', '--base', [CompletionResultType]::ParameterName, 'The three characters that the names of the logs begin with, where there are several streams (ESE)')
            [CompletionResult]::new('--log-dir', '--log-dir', [CompletionResultType]::ParameterName, 'The directory of the logs, where they do not lie below the storage or are one of several streams (ESE)')
            [CompletionResult]::new('--checkpoint', '--checkpoint', [CompletionResultType]::ParameterName, 'The checkpoint, where it lies neither below the storage nor beside the logs (ESE)')
            [CompletionResult]::new('--live-log-dir', '--live-log-dir', [CompletionResultType]::ParameterName, 'Let truncate delete in this log directory of the live instance of which the storage is a snapshot (ESE)')
            [CompletionResult]::new('--live-checkpoint', '--live-checkpoint', [CompletionResultType]::ParameterName, 'The checkpoint of the live instance, where it is not beside its logs (ESE)')
            [CompletionResult]::new('--busy-timeout', '--busy-timeout', [CompletionResultType]::ParameterName, 'Try so long to read a database that another process has locked, such as 30s (SQLite) [default: 30s]')
            [CompletionResult]::new('--max-lock', '--max-lock', [CompletionResultType]::ParameterName, 'Keep writers of a database with a rollback journal waiting no longer than this, such as 2s (SQLite)')
            [CompletionResult]::new('--exclude', '--exclude', [CompletionResultType]::ParameterName, 'Leave out what matches, and everything below a directory that matches')
            [CompletionResult]::new('--exclude-from', '--exclude-from', [CompletionResultType]::ParameterName, 'Leave out what the patterns in a file match: one a line, `#` begins a comment')
            [CompletionResult]::new('--tag', '--tag', [CompletionResultType]::ParameterName, 'Give the backup this tag, by which `prune --keep-tag` keeps it and `list --tag` finds it')
            [CompletionResult]::new('--retries', '--retries', [CompletionResultType]::ParameterName, 'Read a file that changes while it is read so many times again')
            [CompletionResult]::new('--replace-idle', '--replace-idle', [CompletionResultType]::ParameterName, 'End an earlier session of this storage in which nothing has happened for so long, such as 30m or 12h')
            [CompletionResult]::new('--to', '--to', [CompletionResultType]::ParameterName, 'The repository; made if it is missing')
            [CompletionResult]::new('--state-dir', '--state-dir', [CompletionResultType]::ParameterName, 'Keep the state of sessions in this directory, on a local file system')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb')
            [CompletionResult]::new('--ignore-metadata', '--ignore-metadata', [CompletionResultType]::ParameterName, 'Read every file, also those that seem to be unchanged since the parent')
            [CompletionResult]::new('--blocks', '--blocks', [CompletionResultType]::ParameterName, 'Take the changed blocks of databases, not their logs (ESE; other engines do so anyway)')
            [CompletionResult]::new('--snapshot', '--snapshot', [CompletionResultType]::ParameterName, 'Take the storage for a snapshot, to which nobody writes (ESE)')
            [CompletionResult]::new('--engine-files', '--engine-files', [CompletionResultType]::ParameterName, 'Leave out what is not the engine''s own (ESE)')
            [CompletionResult]::new('--accept-damage', '--accept-damage', [CompletionResultType]::ParameterName, 'Copy damaged pages as they are, and list each in the manifest (ESE)')
            [CompletionResult]::new('--accept-loss', '--accept-loss', [CompletionResultType]::ParameterName, 'Go on where logs are missing that hold what was committed last (ESE)')
            [CompletionResult]::new('--exclude-caches', '--exclude-caches', [CompletionResultType]::ParameterName, 'Leave out what lies in directories that a CACHEDIR.TAG marks as caches')
            [CompletionResult]::new('--one-file-system', '--one-file-system', [CompletionResultType]::ParameterName, 'Leave out what lies on other file systems than the storage')
            [CompletionResult]::new('--keep-going', '--keep-going', [CompletionResultType]::ParameterName, 'Leave out files that cannot be read, instead of failing')
            [CompletionResult]::new('--keep-partial', '--keep-partial', [CompletionResultType]::ParameterName, 'Keep what was read of a session that is stopped, aborted or fails, until the next backup is published')
            [CompletionResult]::new('--no-resume', '--no-resume', [CompletionResultType]::ParameterName, 'Read everything, also what an earlier session has read that came to nothing')
            [CompletionResult]::new('--no-repository', '--no-repository', [CompletionResultType]::ParameterName, 'Read into no repository: files go where `read --out` sends them')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON: one document, or one object a line with the summary last')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'jetbak;files' {
            [CompletionResult]::new('--session', '--session', [CompletionResultType]::ParameterName, 'The session''s id, instead of its storage')
            [CompletionResult]::new('--state-dir', '--state-dir', [CompletionResultType]::ParameterName, 'Keep the state of sessions in this directory, on a local file system')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON: one document, or one object a line with the summary last')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'jetbak;read' {
            [CompletionResult]::new('--session', '--session', [CompletionResultType]::ParameterName, 'The session''s id, instead of its storage')
            [CompletionResult]::new('--out', '--out', [CompletionResultType]::ParameterName, 'Write the one named file to this path, or to stdout with `-`')
            [CompletionResult]::new('--state-dir', '--state-dir', [CompletionResultType]::ParameterName, 'Keep the state of sessions in this directory, on a local file system')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON: one document, or one object a line with the summary last')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'jetbak;truncate' {
            [CompletionResult]::new('--session', '--session', [CompletionResultType]::ParameterName, 'The session''s id, instead of its storage')
            [CompletionResult]::new('--state-dir', '--state-dir', [CompletionResultType]::ParameterName, 'Keep the state of sessions in this directory, on a local file system')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Say what would be deleted; change nothing')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON: one document, or one object a line with the summary last')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'jetbak;end' {
            [CompletionResult]::new('--session', '--session', [CompletionResultType]::ParameterName, 'The session''s id, instead of its storage')
            [CompletionResult]::new('--state-dir', '--state-dir', [CompletionResultType]::ParameterName, 'Keep the state of sessions in this directory, on a local file system')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb')
            [CompletionResult]::new('--abort', '--abort', [CompletionResultType]::ParameterName, 'End without a backup; stops readers that still work')
            [CompletionResult]::new('--require-success', '--require-success', [CompletionResultType]::ParameterName, 'Exit 4 where the session had been stopped')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON: one document, or one object a line with the summary last')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'jetbak;stop' {
            [CompletionResult]::new('--session', '--session', [CompletionResultType]::ParameterName, 'The session''s id, instead of its storage')
            [CompletionResult]::new('--reason', '--reason', [CompletionResultType]::ParameterName, 'Why; kept with the session and shown to those who are stopped')
            [CompletionResult]::new('--wait', '--wait', [CompletionResultType]::ParameterName, 'Wait so long until no process reads in it any more')
            [CompletionResult]::new('--state-dir', '--state-dir', [CompletionResultType]::ParameterName, 'Keep the state of sessions in this directory, on a local file system')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb')
            [CompletionResult]::new('--all', '--all', [CompletionResultType]::ParameterName, 'Stop every session of this state directory')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON: one document, or one object a line with the summary last')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'jetbak;status' {
            [CompletionResult]::new('--state-dir', '--state-dir', [CompletionResultType]::ParameterName, 'Keep the state of sessions in this directory, on a local file system')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON: one document, or one object a line with the summary last')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'jetbak;list' {
            [CompletionResult]::new('--tag', '--tag', [CompletionResultType]::ParameterName, 'Only those with this tag; can be given several times')
            [CompletionResult]::new('--state-dir', '--state-dir', [CompletionResultType]::ParameterName, 'Keep the state of sessions in this directory, on a local file system')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON: one document, or one object a line with the summary last')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'jetbak;show' {
            [CompletionResult]::new('--files', '--files', [CompletionResultType]::ParameterName, 'List its files instead, all of them or these and what lies below them')
            [CompletionResult]::new('--state-dir', '--state-dir', [CompletionResultType]::ParameterName, 'Keep the state of sessions in this directory, on a local file system')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb')
            [CompletionResult]::new('--tree', '--tree', [CompletionResultType]::ParameterName, 'Show which backups build on which instead, all of them')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON: one document, or one object a line with the summary last')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'jetbak;cat' {
            [CompletionResult]::new('--state-dir', '--state-dir', [CompletionResultType]::ParameterName, 'Keep the state of sessions in this directory, on a local file system')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON: one document, or one object a line with the summary last')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'jetbak;verify' {
            [CompletionResult]::new('--state-dir', '--state-dir', [CompletionResultType]::ParameterName, 'Keep the state of sessions in this directory, on a local file system')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb')
            [CompletionResult]::new('--deep', '--deep', [CompletionResultType]::ParameterName, 'Compare also every index of an SQLite database with its table (`integrity_check`, not `quick_check`)')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON: one document, or one object a line with the summary last')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'jetbak;consolidate' {
            [CompletionResult]::new('--state-dir', '--state-dir', [CompletionResultType]::ParameterName, 'Keep the state of sessions in this directory, on a local file system')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON: one document, or one object a line with the summary last')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'jetbak;prune' {
            [CompletionResult]::new('--keep-last', '--keep-last', [CompletionResultType]::ParameterName, 'Keep the newest N backups')
            [CompletionResult]::new('--keep-hourly', '--keep-hourly', [CompletionResultType]::ParameterName, 'Keep the newest backup of each of the newest N hours that have one')
            [CompletionResult]::new('--keep-daily', '--keep-daily', [CompletionResultType]::ParameterName, 'The same for days')
            [CompletionResult]::new('--keep-weekly', '--keep-weekly', [CompletionResultType]::ParameterName, 'The same for weeks')
            [CompletionResult]::new('--keep-monthly', '--keep-monthly', [CompletionResultType]::ParameterName, 'The same for months')
            [CompletionResult]::new('--keep-yearly', '--keep-yearly', [CompletionResultType]::ParameterName, 'The same for years')
            [CompletionResult]::new('--keep-within', '--keep-within', [CompletionResultType]::ParameterName, 'Keep all backups of so long a time before the newest one, such as 12h, 30d or 1w 3d')
            [CompletionResult]::new('--keep-tag', '--keep-tag', [CompletionResultType]::ParameterName, 'Keep all backups with this tag; can be given several times')
            [CompletionResult]::new('--state-dir', '--state-dir', [CompletionResultType]::ParameterName, 'Keep the state of sessions in this directory, on a local file system')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb')
            [CompletionResult]::new('--yes', '--yes', [CompletionResultType]::ParameterName, 'Do it')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Say what would be removed, and stop there; so it is without --yes')
            [CompletionResult]::new('--discard-partials', '--discard-partials', [CompletionResultType]::ParameterName, 'Also remove what an interrupted or stopped session left from which the next backup would go on')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON: one document, or one object a line with the summary last')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'jetbak;tag' {
            [CompletionResult]::new('--state-dir', '--state-dir', [CompletionResultType]::ParameterName, 'Keep the state of sessions in this directory, on a local file system')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb')
            [CompletionResult]::new('--remove', '--remove', [CompletionResultType]::ParameterName, 'Take these tags away instead; one that it has not is fine')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON: one document, or one object a line with the summary last')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'jetbak;pin' {
            [CompletionResult]::new('--reason', '--reason', [CompletionResultType]::ParameterName, 'Why; kept with the backup and shown')
            [CompletionResult]::new('--state-dir', '--state-dir', [CompletionResultType]::ParameterName, 'Keep the state of sessions in this directory, on a local file system')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON: one document, or one object a line with the summary last')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'jetbak;unpin' {
            [CompletionResult]::new('--state-dir', '--state-dir', [CompletionResultType]::ParameterName, 'Keep the state of sessions in this directory, on a local file system')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON: one document, or one object a line with the summary last')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'jetbak;restore' {
            [CompletionResult]::new('--into', '--into', [CompletionResultType]::ParameterName, 'The directory to restore into: empty, or not there yet; with --delta, one that is there')
            [CompletionResult]::new('--map', '--map', [CompletionResultType]::ParameterName, 'The directory to restore a root into whose files did not lie below the storage (`logs`, `checkpoint`)')
            [CompletionResult]::new('--only', '--only', [CompletionResultType]::ParameterName, 'Restore only these, with what lies below them and the directories above them')
            [CompletionResult]::new('--owner', '--owner', [CompletionResultType]::ParameterName, 'Whose the files are to be')
            [CompletionResult]::new('--state-dir', '--state-dir', [CompletionResultType]::ParameterName, 'Keep the state of sessions in this directory, on a local file system')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb')
            [CompletionResult]::new('--keep-going', '--keep-going', [CompletionResultType]::ParameterName, 'Leave out what is damaged, instead of restoring nothing')
            [CompletionResult]::new('--delta', '--delta', [CompletionResultType]::ParameterName, 'Put a directory right that is there: rewrite what differs, delete what the backup does not hold')
            [CompletionResult]::new('--any-directory', '--any-directory', [CompletionResultType]::ParameterName, 'With --delta: take a directory that the repository knows nothing of')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Say what would be restored, and stop there')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON: one document, or one object a line with the summary last')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'jetbak;check' {
            [CompletionResult]::new('--base', '--base', [CompletionResultType]::ParameterName, 'The three characters that the names of the logs begin with, where there are several streams (ESE)')
            [CompletionResult]::new('--log-dir', '--log-dir', [CompletionResultType]::ParameterName, 'The directory of the logs, where they do not lie below the storage or are one of several streams (ESE)')
            [CompletionResult]::new('--checkpoint', '--checkpoint', [CompletionResultType]::ParameterName, 'The checkpoint, where it lies neither below the storage nor beside the logs (ESE)')
            [CompletionResult]::new('--state-dir', '--state-dir', [CompletionResultType]::ParameterName, 'Keep the state of sessions in this directory, on a local file system')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb')
            [CompletionResult]::new('--deep', '--deep', [CompletionResultType]::ParameterName, 'Compare also every index of an SQLite database with its table (`integrity_check`, not `quick_check`)')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON: one document, or one object a line with the summary last')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'jetbak;logs' {
            [CompletionResult]::new('--repository', '--repository', [CompletionResultType]::ParameterName, 'Ask the backups in this repository which logs they make needless')
            [CompletionResult]::new('--base', '--base', [CompletionResultType]::ParameterName, 'The three characters that the names of the logs begin with, where there are several streams (ESE)')
            [CompletionResult]::new('--log-dir', '--log-dir', [CompletionResultType]::ParameterName, 'The directory of the logs, where they do not lie below the storage or are one of several streams (ESE)')
            [CompletionResult]::new('--checkpoint', '--checkpoint', [CompletionResultType]::ParameterName, 'The checkpoint, where it lies neither below the storage nor beside the logs (ESE)')
            [CompletionResult]::new('--state-dir', '--state-dir', [CompletionResultType]::ParameterName, 'Keep the state of sessions in this directory, on a local file system')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON: one document, or one object a line with the summary last')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'jetbak;inspect' {
            [CompletionResult]::new('--state-dir', '--state-dir', [CompletionResultType]::ParameterName, 'Keep the state of sessions in this directory, on a local file system')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON: one document, or one object a line with the summary last')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'jetbak;completions' {
            [CompletionResult]::new('--state-dir', '--state-dir', [CompletionResultType]::ParameterName, 'Keep the state of sessions in this directory, on a local file system')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON: one document, or one object a line with the summary last')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'jetbak;man' {
            [CompletionResult]::new('--state-dir', '--state-dir', [CompletionResultType]::ParameterName, 'Keep the state of sessions in this directory, on a local file system')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON: one document, or one object a line with the summary last')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print errors only')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Say what was decided, and why')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
