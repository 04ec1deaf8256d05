
use builtin;
use str;

set edit:completion:arg-completer[jetbak] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'jetbak'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'jetbak'= {
            cand --state-dir 'Keep the state of sessions in this directory, on a local file system'
            cand --color 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb'
            cand --json 'Print JSON: one document, or one object a line with the summary last'
            cand -q 'Print errors only'
            cand --quiet 'Print errors only'
            cand -v 'Say what was decided, and why'
            cand --verbose 'Say what was decided, and why'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand backup 'Back up a storage: begin, read, truncate and end in one go'
            cand begin 'Begin a session: judge the storage and fix the list of what is read first'
            cand files 'Show what a session reads, and what is done; change nothing'
            cand read 'Read all that is left of a session, or the named files'
            cand truncate 'Publish the backup, then delete the logs that it makes needless'
            cand end 'End a session: publish what was read, or leave nothing behind'
            cand stop 'Stop a session from any process; its remaining reads fail'
            cand status 'Show the sessions in progress, and how far they are'
            cand list 'List the backups of a repository'
            cand verify 'Prove backups: every hash, every size, nothing missing, nothing extra'
            cand check 'Prove the files of the Extensible Storage Engine where they lie; no backup'
            cand inspect 'Show what the header of a file of the Extensible Storage Engine says'
            cand completions 'Print the completions of a shell'
            cand man 'Print the man page, or write all of them into a directory'
        }
        &'jetbak;backup'= {
            cand --kind 'What is asked for'
            cand --engine 'What understands the storage; `auto` looks at its content'
            cand --name 'Tie the repository to this name instead of the storage''s path'
            cand --log 'Take files that match as logs: read last, and deleted by truncate'
            cand --retries 'Read a file that changes while it is read so many times again'
            cand --replace-idle 'End an earlier session of this storage in which nothing has happened for so long, such as 30m or 12h'
            cand --to 'The repository; made if it is missing'
            cand --state-dir 'Keep the state of sessions in this directory, on a local file system'
            cand --color 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb'
            cand --keep-going 'Leave out files that cannot be read, instead of failing'
            cand --keep-partial 'Keep what was read of a session that is stopped, aborted or fails, until the next backup is published'
            cand --truncate 'Delete the logs that this backup makes needless, after it is published and proven'
            cand --dry-run 'Say what would be read and how much, and stop there'
            cand --json 'Print JSON: one document, or one object a line with the summary last'
            cand -q 'Print errors only'
            cand --quiet 'Print errors only'
            cand -v 'Say what was decided, and why'
            cand --verbose 'Say what was decided, and why'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'jetbak;begin'= {
            cand --kind 'What is asked for'
            cand --engine 'What understands the storage; `auto` looks at its content'
            cand --name 'Tie the repository to this name instead of the storage''s path'
            cand --log 'Take files that match as logs: read last, and deleted by truncate'
            cand --retries 'Read a file that changes while it is read so many times again'
            cand --replace-idle 'End an earlier session of this storage in which nothing has happened for so long, such as 30m or 12h'
            cand --to 'The repository; made if it is missing'
            cand --state-dir 'Keep the state of sessions in this directory, on a local file system'
            cand --color 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb'
            cand --keep-going 'Leave out files that cannot be read, instead of failing'
            cand --keep-partial 'Keep what was read of a session that is stopped, aborted or fails, until the next backup is published'
            cand --no-repository 'Read into no repository: files go where `read --out` sends them'
            cand --json 'Print JSON: one document, or one object a line with the summary last'
            cand -q 'Print errors only'
            cand --quiet 'Print errors only'
            cand -v 'Say what was decided, and why'
            cand --verbose 'Say what was decided, and why'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'jetbak;files'= {
            cand --session 'The session''s id, instead of its storage'
            cand --state-dir 'Keep the state of sessions in this directory, on a local file system'
            cand --color 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb'
            cand --json 'Print JSON: one document, or one object a line with the summary last'
            cand -q 'Print errors only'
            cand --quiet 'Print errors only'
            cand -v 'Say what was decided, and why'
            cand --verbose 'Say what was decided, and why'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'jetbak;read'= {
            cand --session 'The session''s id, instead of its storage'
            cand --out 'Write the one named file to this path, or to stdout with `-`'
            cand --state-dir 'Keep the state of sessions in this directory, on a local file system'
            cand --color 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb'
            cand --json 'Print JSON: one document, or one object a line with the summary last'
            cand -q 'Print errors only'
            cand --quiet 'Print errors only'
            cand -v 'Say what was decided, and why'
            cand --verbose 'Say what was decided, and why'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'jetbak;truncate'= {
            cand --session 'The session''s id, instead of its storage'
            cand --state-dir 'Keep the state of sessions in this directory, on a local file system'
            cand --color 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb'
            cand --dry-run 'Say what would be deleted; change nothing'
            cand --json 'Print JSON: one document, or one object a line with the summary last'
            cand -q 'Print errors only'
            cand --quiet 'Print errors only'
            cand -v 'Say what was decided, and why'
            cand --verbose 'Say what was decided, and why'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'jetbak;end'= {
            cand --session 'The session''s id, instead of its storage'
            cand --state-dir 'Keep the state of sessions in this directory, on a local file system'
            cand --color 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb'
            cand --abort 'End without a backup; stops readers that still work'
            cand --require-success 'Exit 4 where the session had been stopped'
            cand --json 'Print JSON: one document, or one object a line with the summary last'
            cand -q 'Print errors only'
            cand --quiet 'Print errors only'
            cand -v 'Say what was decided, and why'
            cand --verbose 'Say what was decided, and why'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'jetbak;stop'= {
            cand --session 'The session''s id, instead of its storage'
            cand --reason 'Why; kept with the session and shown to those who are stopped'
            cand --wait 'Wait so long until no process reads in it any more'
            cand --state-dir 'Keep the state of sessions in this directory, on a local file system'
            cand --color 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb'
            cand --all 'Stop every session of this state directory'
            cand --json 'Print JSON: one document, or one object a line with the summary last'
            cand -q 'Print errors only'
            cand --quiet 'Print errors only'
            cand -v 'Say what was decided, and why'
            cand --verbose 'Say what was decided, and why'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'jetbak;status'= {
            cand --state-dir 'Keep the state of sessions in this directory, on a local file system'
            cand --color 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb'
            cand --json 'Print JSON: one document, or one object a line with the summary last'
            cand -q 'Print errors only'
            cand --quiet 'Print errors only'
            cand -v 'Say what was decided, and why'
            cand --verbose 'Say what was decided, and why'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'jetbak;list'= {
            cand --state-dir 'Keep the state of sessions in this directory, on a local file system'
            cand --color 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb'
            cand --json 'Print JSON: one document, or one object a line with the summary last'
            cand -q 'Print errors only'
            cand --quiet 'Print errors only'
            cand -v 'Say what was decided, and why'
            cand --verbose 'Say what was decided, and why'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'jetbak;verify'= {
            cand --state-dir 'Keep the state of sessions in this directory, on a local file system'
            cand --color 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb'
            cand --json 'Print JSON: one document, or one object a line with the summary last'
            cand -q 'Print errors only'
            cand --quiet 'Print errors only'
            cand -v 'Say what was decided, and why'
            cand --verbose 'Say what was decided, and why'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'jetbak;check'= {
            cand --base 'The three characters that the names of the logs begin with, where there are several streams'
            cand --log-dir 'The directory of the logs, where that is not below the storage, or one of several'
            cand --checkpoint 'The checkpoint, where that is neither beside the logs nor below the storage'
            cand --state-dir 'Keep the state of sessions in this directory, on a local file system'
            cand --color 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb'
            cand --json 'Print JSON: one document, or one object a line with the summary last'
            cand -q 'Print errors only'
            cand --quiet 'Print errors only'
            cand -v 'Say what was decided, and why'
            cand --verbose 'Say what was decided, and why'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'jetbak;inspect'= {
            cand --state-dir 'Keep the state of sessions in this directory, on a local file system'
            cand --color 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb'
            cand --json 'Print JSON: one document, or one object a line with the summary last'
            cand -q 'Print errors only'
            cand --quiet 'Print errors only'
            cand -v 'Say what was decided, and why'
            cand --verbose 'Say what was decided, and why'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'jetbak;completions'= {
            cand --state-dir 'Keep the state of sessions in this directory, on a local file system'
            cand --color 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb'
            cand --json 'Print JSON: one document, or one object a line with the summary last'
            cand -q 'Print errors only'
            cand --quiet 'Print errors only'
            cand -v 'Say what was decided, and why'
            cand --verbose 'Say what was decided, and why'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'jetbak;man'= {
            cand --state-dir 'Keep the state of sessions in this directory, on a local file system'
            cand --color 'Use colour; `auto` honours `NO_COLOR` and TERM=dumb'
            cand --json 'Print JSON: one document, or one object a line with the summary last'
            cand -q 'Print errors only'
            cand --quiet 'Print errors only'
            cand -v 'Say what was decided, and why'
            cand --verbose 'Say what was decided, and why'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
    ]
    $completions[$command]
}
