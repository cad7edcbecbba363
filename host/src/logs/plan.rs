//! What a log's settings mean: the defaults of each mode.

use std::path::{Path, PathBuf};

use crate::spec::{Full, Log, LogMode};

/// What is done with the lines of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Bytes after which a file is closed.
    pub(super) rotate_size: u64,
    /// Nanoseconds after which a file is closed; 0 for never.
    pub(super) rotate_age_ns: i64,
    /// How many closed files are kept.
    pub(super) keep: usize,
    /// Whether closed files are compressed.
    pub(super) compresses: bool,
    /// What becomes of lines for which there is no room.
    pub(super) full: Full,
    /// Whether the server prints them.
    pub(super) prints: bool,
    /// Where they are sent as well; empty for nowhere.
    pub(super) syslog: Box<str>,
}

impl Plan {
    /// What these settings mean.
    pub(super) fn of(log: &Log) -> Self {
        let is_file = log.mode == LogMode::File;
        let (size, keep) = if is_file { (16 << 20, 100) } else { (64 << 10, 1) };
        Self {
            rotate_size: log.rotate_size.unwrap_or(size),
            rotate_age_ns: log.rotate_age_ms.saturating_mul(1_000_000),
            keep: log.keep.unwrap_or(keep).try_into().unwrap_or(usize::MAX),
            compresses: log.compress.unwrap_or(is_file),
            full: log.full,
            prints: log.mode == LogMode::Stdout,
            syslog: log.syslog.as_str().into(),
        }
    }

    /// Lines are added to what is there, and nothing else is done about it.
    pub(super) fn untouched() -> Self {
        let plan = Self::of(&Log::default());
        Self { rotate_size: u64::MAX, keep: usize::MAX, ..plan }
    }
}

/// Where the files of a log are; `own` is the directory that its service has anyway.
pub(super) fn dir_of(log: &Log, own: &Path) -> PathBuf {
    if log.dir.is_empty() { own.to_owned() } else { PathBuf::from(&log.dir) }
}
