//! Files and directories, as far as their names have been said.

use std::fs;
use std::path::{Path, PathBuf};

/// What may be meant by a path that is being said: each with `/` after it if it is a directory.
pub(crate) fn beginning(said: &str, wanted: impl Fn(&Path) -> bool) -> Vec<String> {
    let (dir, name) = said.rfind('/').map_or(("", said), |at| said.split_at(at + 1));
    let place = match (dir.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ if dir.is_empty() => PathBuf::from("."),
        _ => PathBuf::from(dir),
    };
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    let mut found: Vec<String> = entries
        .filter_map(|it| {
            let own = it.file_name().into_string().ok()?;
            let is_meant =
                own.starts_with(name) && (name.starts_with('.') || !own.starts_with('.'));
            // What it is takes another look at the disk, which only those are worth that are meant.
            let is_dir = is_meant && it.path().is_dir();
            let fits = is_meant && (is_dir || wanted(&it.path()));
            fits.then(|| format!("{dir}{own}{}", if is_dir { "/" } else { "" }))
        })
        .collect();
    found.sort();
    found
}
