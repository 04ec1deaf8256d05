//! The error numbers of the Extensible Storage Engine that this tool raises, reports or explains.
//!
//! One table: number, symbol, the exit code that follows from it, meaning (`spec/backup-protocol.md` §7; classes
//! map to exit codes as decision 23 says).

use super::ExitCode;

macro_rules! jet_errors {
    ($($variant:ident = $number:literal, $symbol:literal, $exit:ident, $meaning:literal;)*) => {
        /// A `JET_err` of the engine's backup interface: name, number, exit code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Jet {
            $(#[doc = $meaning] $variant,)*
        }

        impl Jet {
            /// Every number of the table, in descending order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The engine's number, zero or negative.
            pub const fn number(self) -> i32 {
                match self { $(Self::$variant => $number,)* }
            }

            /// The engine's symbol, such as `JET_errNoBackup`.
            pub const fn symbol(self) -> &'static str {
                match self { $(Self::$variant => $symbol,)* }
            }

            /// The exit code of a command that fails with this error.
            pub const fn exit_code(self) -> ExitCode {
                match self { $(Self::$variant => ExitCode::$exit,)* }
            }

            /// What the number means, in a few words.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }
        }
    };
}

jet_errors! {
    Success = 0, "JET_errSuccess", Done, "done";
    OutOfThreads = -103, "JET_errOutOfThreads", Failed, "thread could not start";
    DatabaseBufferDependenciesCorrupted = -255, "JET_errDatabaseBufferDependenciesCorrupted", Verification, "replay found a page move whose source no longer holds the moved data";
    BadPageLink = -327, "JET_errBadPageLink", Verification, "sibling or parent links of pages do not fit";
    PageTagCorrupted = -357, "JET_errPageTagCorrupted", Verification, "the tag array of a page is impossible";
    NodeCorrupted = -358, "JET_errNodeCorrupted", Verification, "a node's sizes are impossible";
    InvalidLoggedOperation = -500, "JET_errInvalidLoggedOperation", Verification, "a log record cannot be replayed";
    LogFileCorrupt = -501, "JET_errLogFileCorrupt", Verification, "log damaged (header or records), found by recovery or restore";
    BackupDirectoryNotEmpty = -504, "JET_errBackupDirectoryNotEmpty", OutOfOrder, "target directory holds something it must not";
    BackupInProgress = -505, "JET_errBackupInProgress", OutOfOrder, "a local backup (or snapshot) runs: new begin, attach, detach, plain term";
    RestoreInProgress = -506, "JET_errRestoreInProgress", OutOfOrder, "a restore runs on this instance";
    MissingPreviousLogFile = -509, "JET_errMissingPreviousLogFile", Verification, "the log that the checkpoint points to is gone";
    LogWriteFail = -510, "JET_errLogWriteFail", Failed, "the instance can no longer write its log";
    LogGenerationMismatch = -513, "JET_errLogGenerationMismatch", Verification, "name and content of a log disagree on the generation (or 5-digit names where 8 are required)";
    BadLogVersion = -514, "JET_errBadLogVersion", Verification, "log format unknown";
    InvalidLogSequence = -515, "JET_errInvalidLogSequence", Verification, "a log does not continue its predecessor";
    LoggingDisabled = -516, "JET_errLoggingDisabled", OutOfOrder, "no log, hence no streaming backup";
    LogSequenceEnd = -519, "JET_errLogSequenceEnd", OutOfOrder, "generation numbers are used up";
    NoBackup = -520, "JET_errNoBackup", OutOfOrder, "no backup in progress";
    InvalidBackupSequence = -521, "JET_errInvalidBackupSequence", OutOfOrder, "call does not fit the phase, or a file is open";
    BackupNotAllowedYet = -523, "JET_errBackupNotAllowedYet", OutOfOrder, "initialising, recovering or terminating";
    DeleteBackupFileFail = -524, "JET_errDeleteBackupFileFail", Failed, "an old file in the backup directory cannot be deleted";
    MakeBackupDirectoryFail = -525, "JET_errMakeBackupDirectoryFail", Failed, "the temporary backup directory cannot be made";
    InvalidBackup = -526, "JET_errInvalidBackup", OutOfOrder, "incremental/surrogate with circular logging";
    RecoveredWithErrors = -527, "JET_errRecoveredWithErrors", Verification, "restored in repair mode, with errors";
    MissingLogFile = -528, "JET_errMissingLogFile", Verification, "current log missing";
    LogDiskFull = -529, "JET_errLogDiskFull", Failed, "log disk full";
    BadLogSignature = -530, "JET_errBadLogSignature", Verification, "log belongs to another log stream";
    BadDbSignature = -531, "JET_errBadDbSignature", Verification, "database is another database";
    BadCheckpointSignature = -532, "JET_errBadCheckpointSignature", Verification, "checkpoint belongs to another log stream";
    CheckpointCorrupt = -533, "JET_errCheckpointCorrupt", Verification, "checkpoint file damaged (both copies)";
    BadPatchPage = -535, "JET_errBadPatchPage", Verification, "trailer missing or damaged: the copy was not finished";
    RedoAbruptEnded = -536, "JET_errRedoAbruptEnded", Verification, "replay ended because a log could not be read on";
    PatchFileMissing = -538, "JET_errPatchFileMissing", Verification, "internal restore found no .pat file";
    DatabaseLogSetMismatch = -539, "JET_errDatabaseLogSetMismatch", Verification, "database and logs do not belong together";
    LogFileSizeMismatch = -541, "JET_errLogFileSizeMismatch", Verification, "log size differs from the configured size";
    CheckpointFileNotFound = -542, "JET_errCheckpointFileNotFound", Verification, "no checkpoint file";
    RequiredLogFilesMissing = -543, "JET_errRequiredLogFilesMissing", Verification, "logs that the database needs are missing";
    SoftRecoveryOnBackupDatabase = -544, "JET_errSoftRecoveryOnBackupDatabase", OutOfOrder, "a backup copy must be restored, not just recovered or attached";
    DatabaseDirtyShutdown = -550, "JET_errDatabaseDirtyShutdown", Unfit, "database not shut down cleanly";
    ConsistentTimeMismatch = -551, "JET_errConsistentTimeMismatch", Verification, "last-consistent position does not fit the log";
    DatabasePatchFileMismatch = -552, "JET_errDatabasePatchFileMismatch", Verification, "trailer, header and logs are not of the same backup";
    EndingRestoreLogTooLow = -553, "JET_errEndingRestoreLogTooLow", Verification, "logs end before the database's genHigh";
    StartingRestoreLogTooHigh = -554, "JET_errStartingRestoreLogTooHigh", Verification, "logs begin after the database's genLow";
    GivenLogFileHasBadSignature = -555, "JET_errGivenLogFileHasBadSignature", Verification, "a restored log is of another stream";
    GivenLogFileIsNotContiguous = -556, "JET_errGivenLogFileIsNotContiguous", Verification, "restored logs have a break";
    MissingRestoreLogFiles = -557, "JET_errMissingRestoreLogFiles", Verification, "a restored log is missing (in practice -1811)";
    MissingFullBackup = -560, "JET_errMissingFullBackup", OutOfOrder, "incremental without a full of the same family";
    MissingCurrentLogFiles = -565, "JET_errMissingCurrentLogFiles", Verification, "gap in the logs after the restored ones";
    DbTimeTooOld = -566, "JET_errDbTimeTooOld", Verification, "page is older than a log record expects: lost write, or wrong set";
    DbTimeTooNew = -567, "JET_errDbTimeTooNew", Verification, "page is newer than a log record expects: wrong set";
    MissingFileToBackup = -569, "JET_errMissingFileToBackup", Verification, "a log of the range is missing (at list for incremental; at open)";
    LogTornWriteDuringHardRestore = -570, "JET_errLogTornWriteDuringHardRestore", Verification, "torn log write inside the backup set";
    LogTornWriteDuringHardRecovery = -571, "JET_errLogTornWriteDuringHardRecovery", Verification, "torn log write outside the backup set";
    LogCorruptDuringHardRestore = -573, "JET_errLogCorruptDuringHardRestore", Verification, "damaged log inside the backup set";
    LogCorruptDuringHardRecovery = -574, "JET_errLogCorruptDuringHardRecovery", Verification, "damaged log outside the backup set";
    BadRestoreTargetInstance = -577, "JET_errBadRestoreTargetInstance", Usage, "named target instance not running or has another base name";
    CommittedLogFilesMissing = -582, "JET_errCommittedLogFilesMissing", Verification, "logs missing that consistency does not need, but that hold commits";
    CommittedLogFileCorrupt = -586, "JET_errCommittedLogFileCorrupt", Verification, "logs damaged that consistency does not need, but that hold commits";
    LogSequenceChecksumMismatch = -590, "JET_errLogSequenceChecksumMismatch", Verification, "the running segment checksum does not carry over to the next log";
    ExistingLogFileHasBadSignature = -610, "JET_errExistingLogFileHasBadSignature", Verification, "a log already in the log directory is of another stream";
    ExistingLogFileIsNotContiguous = -611, "JET_errExistingLogFileIsNotContiguous", Verification, "logs already there do not join the restored ones";
    LogReadVerifyFailure = -612, "JET_errLogReadVerifyFailure", Verification, "log checksum failed during a backup read";
    CheckpointDepthTooDeep = -614, "JET_errCheckpointDepthTooDeep", OutOfOrder, "too many generations behind the checkpoint";
    RestoreOfNonBackupDatabase = -615, "JET_errRestoreOfNonBackupDatabase", Usage, "hard restore of a file that is no backup copy";
    LogFileNotCopied = -616, "JET_errLogFileNotCopied", OutOfOrder, "truncate before all required logs were copied";
    SurrogateBackupInProgress = -617, "JET_errSurrogateBackupInProgress", OutOfOrder, "a surrogate backup runs";
    LogServiceStopped = -624, "JET_errLogServiceStopped", OutOfOrder, "logging was ended by StopService(emit log)";
    DbTimeBeyondMaxRequired = -625, "JET_errDbTimeBeyondMaxRequired", Verification, "page is newer than the database's required range says";
    BackupAbortByCaller = -800, "JET_errBackupAbortByCaller", Stopped, "client ended abnormally";
    BackupAbortByServer = -801, "JET_errBackupAbortByServer", Stopped, "stopped by stop, or by term with stop-backup/abrupt";
    InvalidGrbit = -900, "JET_errInvalidGrbit", Usage, "flag not allowed";
    TermInProgress = -1000, "JET_errTermInProgress", OutOfOrder, "terminating";
    InvalidParameter = -1003, "JET_errInvalidParameter", Usage, "bad argument, handle or instance";
    OutOfMemory = -1011, "JET_errOutOfMemory", OutOfOrder, "memory, or a second reader of one file";
    ReadVerifyFailure = -1018, "JET_errReadVerifyFailure", Verification, "page checksum";
    PageNotInitialized = -1019, "JET_errPageNotInitialized", Verification, "empty page (no error in a backup read)";
    OutOfFileHandles = -1020, "JET_errOutOfFileHandles", Failed, "out of file handles";
    DiskReadVerificationFailure = -1021, "JET_errDiskReadVerificationFailure", Verification, "the device reported a CRC error";
    DiskIO = -1022, "JET_errDiskIO", Failed, "read/write error";
    InvalidPath = -1023, "JET_errInvalidPath", Failed, "path invalid, too long or not there";
    InvalidDatabase = -1028, "JET_errInvalidDatabase", Verification, "no database";
    NotInitialized = -1029, "JET_errNotInitialized", OutOfOrder, "not initialised";
    AlreadyInitialized = -1030, "JET_errAlreadyInitialized", OutOfOrder, "initialised already";
    InitInProgress = -1031, "JET_errInitInProgress", OutOfOrder, "initialisation running";
    FileAccessDenied = -1032, "JET_errFileAccessDenied", Failed, "locked or not permitted";
    BufferTooSmall = -1038, "JET_errBufferTooSmall", Usage, "conversion of names did not fit (ANSI forms)";
    TooManyActiveUsers = -1059, "JET_errTooManyActiveUsers", OutOfOrder, "open transactions at a complete term";
    RunningInOneInstanceMode = -1080, "JET_errRunningInOneInstanceMode", Usage, "multi-instance call in one-instance mode";
    RunningInMultiInstanceMode = -1081, "JET_errRunningInMultiInstanceMode", OutOfOrder, "no instance named although several are possible";
    InstanceUnavailable = -1090, "JET_errInstanceUnavailable", OutOfOrder, "fatal error earlier";
    InstanceUnavailableDueToFatalLogDiskFull = -1092, "JET_errInstanceUnavailableDueToFatalLogDiskFull", OutOfOrder, "log disk ran full earlier";
    InvalidInstance = -1115, "JET_errInvalidInstance", Usage, "bad instance handle (validating builds)";
    ReadPgnoVerifyFailure = -1118, "JET_errReadPgnoVerifyFailure", Verification, "page carries another page's number";
    ReadLostFlushVerifyFailure = -1119, "JET_errReadLostFlushVerifyFailure", Verification, "an earlier write of the page is missing";
    FileSystemCorruption = -1121, "JET_errFileSystemCorruption", Failed, "the file system says it is damaged";
    RecoveryVerifyFailure = -1123, "JET_errRecoveryVerifyFailure", Verification, "pages found in recovery are not in the expected state";
    DatabaseNotFound = -1203, "JET_errDatabaseNotFound", Usage, "open in phase Databases: not an attached database";
    DatabaseCorrupted = -1206, "JET_errDatabaseCorrupted", Verification, "header unreadable, not a database, or too short";
    InvalidDatabaseVersion = -1209, "JET_errInvalidDatabaseVersion", Verification, "format unknown";
    PageSizeMismatch = -1213, "JET_errPageSizeMismatch", Verification, "page size differs";
    DatabaseSharingViolation = -1215, "JET_errDatabaseSharingViolation", OutOfOrder, "another instance uses it";
    AttachedDatabaseMismatch = -1216, "JET_errAttachedDatabaseMismatch", Verification, "recovery: attached database missing or another one";
    DatabaseInvalidPath = -1217, "JET_errDatabaseInvalidPath", Usage, "invalid database path";
    PartiallyAttachedDB = -1221, "JET_errPartiallyAttachedDB", Unfit, "database attached only in part";
    DatabaseIncompleteIncrementalReseed = -1226, "JET_errDatabaseIncompleteIncrementalReseed", Unfit, "incremental reseed did not finish";
    ClientRequestToStopJetService = -1329, "JET_errClientRequestToStopJetService", OutOfOrder, "the service was stopped";
    DiskFull = -1808, "JET_errDiskFull", Failed, "no space left";
    PermissionDenied = -1809, "JET_errPermissionDenied", Failed, "not permitted";
    FileNotFound = -1811, "JET_errFileNotFound", Failed, "no such file; restore/truncate: no logs at all";
    FileInvalidType = -1812, "JET_errFileInvalidType", Verification, "file is of another type (header's file-type field)";
    FileAlreadyExists = -1814, "JET_errFileAlreadyExists", Failed, "file exists already";
    AfterInitialization = -1850, "JET_errAfterInitialization", OutOfOrder, "restore must come before init";
    LogCorrupted = -1852, "JET_errLogCorrupted", Verification, "logs not interpretable";
    AccessDenied = -1907, "JET_errAccessDenied", Failed, "access denied";
    SessionSharingViolation = -1910, "JET_errSessionSharingViolation", OutOfOrder, "session used by two threads";
    DatabaseIncompleteRevert = -1935, "JET_errDatabaseIncompleteRevert", Unfit, "database in the middle of a revert";
    OSSnapshotInvalidSequence = -2401, "JET_errOSSnapshotInvalidSequence", OutOfOrder, "snapshot call out of order";
    OSSnapshotTimeOut = -2402, "JET_errOSSnapshotTimeOut", Stopped, "freeze lasted too long";
    OSSnapshotNotAllowed = -2403, "JET_errOSSnapshotNotAllowed", OutOfOrder, "backup or recovery running";
    OSSnapshotInvalidSnapId = -2404, "JET_errOSSnapshotInvalidSnapId", Usage, "unknown snapshot";
    FileIOSparse = -4000, "JET_errFileIOSparse", Failed, "read of a sparse hole";
    FileIOBeyondEOF = -4001, "JET_errFileIOBeyondEOF", Verification, "read past the end of the file";
    FileCompressed = -4005, "JET_errFileCompressed", Failed, "file is compressed by the file system";
}

impl Jet {
    /// The entry of an engine number, if the table has it.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.iter().copied().find(|jet| jet.number() == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_descend_so_none_stands_twice() {
        assert!(Jet::ALL.is_sorted_by(|a, b| a.number() > b.number()));
    }

    #[test]
    fn symbols_are_unique_and_named_as_the_engine_names_them() {
        let mut symbols: Vec<_> = Jet::ALL.iter().map(|jet| jet.symbol()).collect();
        assert!(symbols.iter().all(|symbol| symbol.starts_with("JET_err")));
        symbols.sort_unstable();
        symbols.dedup();
        assert_eq!(symbols.len(), Jet::ALL.len());
    }

    #[test]
    fn numbers_map_to_the_exit_codes_that_were_decided() {
        // decision 23, one of each class and every exception
        for (number, exit_code) in [
            (0, 0),
            (-520, 5),
            (-521, 5),
            (-505, 5),
            (-616, 5),
            (-801, 4),
            (-800, 4),
            (-1018, 3),
            (-612, 3),
            (-1022, 1),
            (-1808, 1),
            (-550, 6),
            (-1226, 6),
            (-900, 2),
            (-569, 3),
            (-1081, 5),
            (-1011, 5),
            (-4001, 3),
            (-1203, 2),
            (-1003, 2),
            (-1023, 1),
        ] {
            let jet = Jet::from_number(number).expect("in the table");
            assert_eq!(jet.exit_code().number(), exit_code, "{number}");
        }
    }
}
