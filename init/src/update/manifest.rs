//! What a release consists of: `manifest.json`, and the signature that makes it worth reading.

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use minisign::PublicKey;
use semver::Version;
use serde::{Deserialize, Serialize};

use super::fetch::Source;
use super::file::sha256;
use super::key;
use super::refusal::{Kind, Refusal};

/// The name of the manifest in the directory of a release; its signature has `.minisig` after that.
pub(crate) const NAME: &str = "manifest.json";

/// No manifest and no signature is longer.
const BYTES_MAX: usize = 1 << 20;

/// What a release consists of. Fields that are not known are left for later versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) version: Version,
    /// When it was made, as RFC 3339 has it.
    pub(crate) created: String,
    /// By target, such as `x86_64-unknown-linux-gnu`, and name, such as `zinit`.
    pub(crate) targets: BTreeMap<String, BTreeMap<String, Entry>>,
}

/// A program of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Its file in the directory of the release.
    pub(crate) file: String,
    pub(crate) sha256: String,
    pub(crate) size: u64,
}

/// A release whose signature is right.
#[derive(Clone, Debug)]
pub(crate) struct Release {
    /// Its directory.
    pub(crate) url: String,
    pub(crate) manifest: Manifest,
    /// The SHA-256 of the manifest, which tells one release from another.
    pub(crate) digest: String,
}

impl Release {
    /// Fetches the manifest of the release at a URL, and trusts it if the key says so.
    pub(crate) fn fetch(source: &Source, url: &str, key: &PublicKey) -> Result<Self, Refusal> {
        let url = url.trim_end_matches('/').to_owned();
        let place = format!("{url}/{NAME}");
        let bytes = source.bytes(&place, BYTES_MAX)?;
        let signature = source.bytes(&format!("{place}.minisig"), BYTES_MAX)?;
        let manifest = Manifest::trusted(key, &place, &bytes, &signature)?;
        Ok(Self { url, manifest, digest: sha256(&bytes) })
    }

    /// Where a file of it is.
    pub(crate) fn url_of(&self, entry: &Entry) -> String {
        format!("{}/{}", self.url, entry.file)
    }

    /// The programs for this machine.
    pub(crate) fn programs(&self) -> Result<&BTreeMap<String, Entry>, Refusal> {
        let target = target();
        self.manifest.targets.get(&target).ok_or_else(|| {
            let version = &self.manifest.version;
            let message = format!("cannot use release {version}: it has nothing for `{target}`");
            let listed: Vec<_> = self.manifest.targets.keys().map(String::as_str).collect();
            Refusal::new(Kind::BadRelease, message)
                .hint(format!("it was made for {}", listed.join(", ")))
        })
    }
}

impl Manifest {
    /// The manifest that these bytes are, if they are signed, and signed as of that version: an old
    /// signature says of what it is.
    pub(crate) fn trusted(
        key: &PublicKey,
        place: &str,
        bytes: &[u8],
        signature: &[u8],
    ) -> Result<Self, Refusal> {
        let comment = key::verify(key, place, bytes, signature)?;
        let manifest = Self::parse(place, bytes)?;
        let (said, version) = (comment.field("version"), manifest.version.to_string());
        if said == Some(&version) {
            return Ok(manifest);
        }
        let said = said.unwrap_or("none");
        let message = format!("cannot trust `{place}`: it is version {version}, signed as {said}");
        Err(Refusal::new(Kind::BadSignature, message)
            .hint(format!("its trusted comment must have `version:{version}`")))
    }

    fn parse(place: &str, bytes: &[u8]) -> Result<Self, Refusal> {
        let bad =
            |why: String| Refusal::new(Kind::BadRelease, format!("cannot read `{place}`: {why}"));
        let manifest: Self = serde_json::from_slice(bytes).map_err(|it| bad(it.to_string()))?;
        for entry in manifest.targets.values().flat_map(BTreeMap::values) {
            entry.check().map_err(bad)?;
        }
        Ok(manifest)
    }
}

impl Entry {
    /// A file is beside its manifest, and nowhere else.
    fn check(&self) -> Result<(), String> {
        let fits = |it: char| it.is_ascii_alphanumeric() || "_-.+".contains(it);
        if self.file.is_empty() || self.file.starts_with('.') || !self.file.chars().all(fits) {
            return Err(format!("`{}` is no name of a file", self.file));
        }
        if self.sha256.len() != 64 || !self.sha256.chars().all(|it| it.is_ascii_hexdigit()) {
            return Err(format!("`{}` is no sha256", self.sha256));
        }
        Ok(())
    }
}

/// What this program was built for.
pub(crate) fn target() -> String {
    let libc = if cfg!(target_env = "musl") { "musl" } else { "gnu" };
    format!("{ARCH}-unknown-linux-{libc}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(file: &str, sha256: &str) -> Entry {
        Entry { file: file.to_owned(), sha256: sha256.to_owned(), size: 1 }
    }

    #[test]
    fn a_file_is_beside_its_manifest_and_its_hash_is_one() {
        let hash = "0".repeat(64);
        assert_eq!(entry("zinit-0.4.1+x_64", &hash).check(), Ok(()));
        for file in ["", ".hidden", "..", "a/b", "/etc/passwd", "a?b", "a b"] {
            let no = format!("`{file}` is no name of a file");
            assert_eq!(entry(file, &hash).check(), Err(no));
        }
        assert!(entry("zinit", &hash[1..]).check().is_err());
        assert!(entry("zinit", &"g".repeat(64)).check().is_err());
    }

    #[test]
    fn what_later_versions_add_is_left_alone() {
        let text = r#"{ "version": "1.0.0", "created": "", "targets": {}, "more": [1] }"#;
        let manifest = Manifest::parse("it", text.as_bytes()).expect("it is fine");
        assert_eq!(manifest.version, Version::new(1, 0, 0));
        assert!(Manifest::parse("it", b"{}").is_err());
    }
}
