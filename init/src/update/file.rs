//! Files that are replaced whole or not at all, and directories that are held.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use ring::digest::{Context, SHA256};

use super::refusal::{Kind, Refusal};

/// A directory that is held: nobody else who asks for it gets it until this is dropped or its process
/// is dead. It leaves no file behind.
#[derive(Debug)]
pub(crate) struct Held {
    _lock: Flock<File>,
}

impl Held {
    /// Takes the directory, or says that somebody else has it.
    pub(crate) fn now(dir: &Path) -> Result<Self, Refusal> {
        Self::take(dir, FlockArg::LockExclusiveNonblock)
    }

    /// Takes the directory as soon as whoever has it is done.
    pub(crate) fn soon(dir: &Path) -> Result<Self, Refusal> {
        Self::take(dir, FlockArg::LockExclusive)
    }

    fn take(dir: &Path, how: FlockArg) -> Result<Self, Refusal> {
        let file = File::open(dir).map_err(|error| Refusal::storage("open", dir, &error))?;
        match Flock::lock(file, how) {
            Ok(lock) => Ok(Self { _lock: lock }),
            Err((_, Errno::EWOULDBLOCK)) => {
                let message =
                    format!("cannot update `{}`: another update is under way", dir.display());
                Err(Refusal::new(Kind::Busy, message))
            }
            Err((_, errno)) => Err(Refusal::storage("lock", dir, &errno.into())),
        }
    }
}

/// Replaces a file: written aside, synced, renamed.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Refusal> {
    let aside = aside(path);
    let written = write_new(&aside, bytes, mode).and_then(|()| fs::rename(&aside, path));
    written.and_then(|()| sync_dir(parent(path))).map_err(|error| {
        // Whatever is left of it is in nobody's way.
        let _ = fs::remove_file(&aside);
        Refusal::storage("write", path, &error)
    })
}

/// Writes a file that is not to exist after a crash, in place of what one may have left.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = create_new(path, mode)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// An empty file, in place of what a crash may have left.
pub(crate) fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    remove(path)?;
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}

/// Removes a file, if it is there.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes a directory, and those above it.
pub(crate) fn make_dir(path: &Path, mode: u32) -> Result<(), Refusal> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    made.map_err(|error| Refusal::storage("make", path, &error))
}

/// Makes renames in a directory survive a power cut.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The hidden name beside a file under which its successor is written.
fn aside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.tmp"))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The SHA-256 of a file, in hexadecimal digits, and how many bytes it has.
pub(crate) fn sha256_of(path: &Path) -> io::Result<(String, u64)> {
    let mut file = File::open(path)?;
    let (mut context, mut size) = (Context::new(&SHA256), 0);
    let mut chunk = vec![0; 1 << 16];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok((hex(context.finish().as_ref()), size)),
            read => {
                context.update(&chunk[..read]);
                size += read as u64;
            }
        }
    }
}

/// The SHA-256 of these bytes, in hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&SHA256, bytes).as_ref())
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_standard() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc"), abc);
    }
}
