//! The token that TCP clients show: 32 random bytes in a file that only its owner can read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::refusal::{Kind, Refusal};

/// The token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    const BYTES: usize = 32;

    /// The token in this file, which is made if it is not there.
    ///
    /// # Errors
    /// When the file cannot be read or made, or when others may read it.
    pub fn load(path: &Path) -> Result<Self, Refusal> {
        let failed = |error: io::Error| {
            let message = format!("cannot use the token {}: {error}", path.display());
            Refusal::new(Kind::Storage, message).with("path", path.display().to_string())
        };
        match File::open(path) {
            Ok(file) => Self::read(file, path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Self::create(path).map_err(failed)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Whether this is what the client showed. Takes as long whether it is or not.
    pub fn is(&self, shown: &str) -> bool {
        let (own, shown) = (self.0.as_bytes(), shown.as_bytes());
        let differing = own.iter().zip(shown).fold(0, |bits, (a, b)| bits | (a ^ b));
        own.len() == shown.len() && std::hint::black_box(differing) == 0
    }

    fn read(file: File, path: &Path) -> Result<Self, Refusal> {
        let unfit = |why: String| {
            let message = format!("cannot use the token {}: {why}", path.display());
            Refusal::new(Kind::Storage, message)
                .hint("remove the file, and a new one is made")
                .with("path", path.display().to_string())
        };
        let mode = file.metadata().map_err(|it| unfit(it.to_string()))?.mode();
        if mode & 0o077 != 0 {
            return Err(unfit(format!("its mode is {:o}, so others may read it", mode & 0o777)));
        }
        let mut text = String::new();
        file.take(4096).read_to_string(&mut text).map_err(|it| unfit(it.to_string()))?;
        match text.trim() {
            short if short.len() < Self::BYTES => Err(unfit("it is too short".into())),
            text => Ok(Self(text.to_owned())),
        }
    }

    fn create(path: &Path) -> io::Result<Self> {
        let mut bytes = [0; Self::BYTES];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        let token: String = bytes.iter().map(|it| format!("{it:02x}")).collect();
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        let new = path.with_extension("new");
        let _ = fs::remove_file(&new);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        writeln!(file, "{token}")?;
        file.sync_all()?;
        fs::rename(new, path)?;
        Ok(Self(token))
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_made_once_is_private_and_is_refused_when_it_is_not() {
        let dir = std::env::temp_dir().join(format!("zinit-token-{}", std::process::id()));
        let path = dir.join("deep/token");
        let token = Token::load(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(Token::load(&path).unwrap(), token);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.len(), 65);
        assert!(token.is(text.trim()));
        assert!(!token.is(&text[1..64]) && !token.is("") && !token.is(&"0".repeat(64)));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Token::load(&path).unwrap_err().message.contains("644"));
        fs::remove_dir_all(dir).unwrap();
    }
}
