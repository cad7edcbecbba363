//! The one question about files that rhai-fs leaves open.

use rhai::plugin::*;

/// Its words in `host::`.
#[export_module]
pub mod words {
    /// What is at this path, symbolic links followed: `file`, `dir`, `other`, or an empty string for
    /// nothing.
    ///
    /// ```rhai
    /// host::file_kind("/") == "dir"
    /// host::file_kind("/dev/null") == "other"
    /// host::file_kind("/no/such/file") == ""
    /// ```
    #[rhai_fn(volatile)]
    pub fn file_kind(path: &str) -> String {
        let kind = match std::fs::metadata(path) {
            Err(_) => "",
            Ok(it) if it.is_file() => "file",
            Ok(it) if it.is_dir() => "dir",
            Ok(_) => "other",
        };
        kind.to_owned()
    }
}
