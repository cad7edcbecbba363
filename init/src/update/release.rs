//! Makes and signs releases, so that anybody can publish their own.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use minisign::{KeyPair, PublicKey, SecretKey, SecretKeyBox};
use semver::Version;
use serde_json::json;

use super::clock::date;
use super::file;
use super::installed::{PROGRAMS, version_of};
use super::manifest::{Entry, Manifest, NAME, target};
use super::out::Out;
use super::refusal::{Kind, Refusal};

/// What `release` is told.
#[derive(Args, Debug)]
pub(crate) struct Making {
    /// The directory of the release, to be served as it is
    #[arg(required_unless_present_any = ["new_key", "sign"])]
    dir: Option<PathBuf>,
    /// Where the programs are
    #[arg(long, value_name = "DIR", requires = "dir", required_unless_present_any = ["new_key", "sign"])]
    from: Option<PathBuf>,
    /// What they are [default: what they say that they are]
    #[arg(long, value_name = "VERSION")]
    version: Option<Version>,
    /// The secret key that it is signed with; ZINIT_KEY_PASSWORD is its password
    #[arg(long, value_name = "FILE", required_unless_present = "new_key")]
    key: Option<PathBuf>,
    /// What they were built for [default: what this program was built for]
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
    /// Makes a key pair, writes the secret key into this file and prints the public one
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dir", "from", "version", "key", "target", "sign"])]
    new_key: Option<PathBuf>,
    /// Signs a script: writes FILE.minisig
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dir", "from", "version", "target"])]
    sign: Option<PathBuf>,
}

/// The password of the secret key.
const PASSWORD: &str = "ZINIT_KEY_PASSWORD";

/// Makes a release, a key or the signature of a script.
pub(crate) fn make(out: Out, making: &Making) -> Result<u8, Refusal> {
    if let Some(path) = &making.new_key {
        return new_key(out, path);
    }
    let key = secret(making.key.as_ref().expect("clap requires it"))?;
    if let Some(script) = &making.sign {
        return sign_script(out, &key, script);
    }
    release(out, making, &key)
}

fn release(out: Out, making: &Making, key: &SecretKey) -> Result<u8, Refusal> {
    let required = "clap requires it";
    let dir = making.dir.as_ref().expect(required);
    let from = making.from.as_ref().expect(required);
    let version = &version(making, from)?;
    let target = making.target.clone().unwrap_or_else(target);
    file::make_dir(dir, 0o755)?;
    let public = PublicKey::from_secret_key(key).map_err(|it| bad_key(&it))?;
    let mut manifest = begun(dir, &public, version)?;
    let entries = copy_all(from, dir, version, &target)?;
    for (name, entry) in &entries {
        out.say(&format!("  {name}: {} bytes, sha256 {}", entry.size, entry.sha256));
    }
    manifest.targets.insert(target.clone(), entries);
    let mut text = serde_json::to_string_pretty(&manifest).expect("a manifest is JSON");
    text.push('\n');
    // Whoever fetches between the two finds a signature that does not fit, and comes again.
    file::replace(&dir.join(NAME), text.as_bytes(), 0o644)?;
    let comment = format!("version:{version}\tcreated:{}\tfile:{NAME}", manifest.created);
    let signature = sign(key, text.as_bytes(), &comment)?;
    file::replace(&dir.join(format!("{NAME}.minisig")), signature.as_bytes(), 0o644)?;
    out.say(&format!("Release {version} for {target} is in {}", dir.display()));
    out.answer(&json!({ "dir": dir, "target": target, "manifest": manifest }));
    Ok(0)
}

/// The version that is said, else that of the first program.
fn version(making: &Making, from: &Path) -> Result<Version, Refusal> {
    if let Some(version) = &making.version {
        return Ok(version.clone());
    }
    let program = PROGRAMS.map(|it| from.join(it)).into_iter().find(|it| it.is_file());
    let program = program.ok_or_else(|| no_program(from))?;
    version_of(&program).map_err(|why| {
        let message = format!("cannot tell the version of `{}`: {why}", program.display());
        Refusal::new(Kind::BadArgument, message).hint("say it: `--version VERSION`")
    })
}

/// The manifest that is there, if it is of that version; another target is added to it.
fn begun(dir: &Path, key: &PublicKey, version: &Version) -> Result<Manifest, Refusal> {
    let created = date();
    let fresh = Manifest { version: version.clone(), created, targets: BTreeMap::new() };
    let path = dir.join(NAME);
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(fresh),
        read => read.map_err(|error| Refusal::storage("read", &path, &error))?,
    };
    let signature = fs::read(dir.join(format!("{NAME}.minisig"))).unwrap_or_default();
    let there = Manifest::trusted(key, &path.display().to_string(), &bytes, &signature);
    let there = there.map_err(|no| no.hint("remove it to begin anew"))?;
    Ok(if there.version == *version { there } else { fresh })
}

/// Copies the programs that are there, under names that tell one release from another.
fn copy_all(
    from: &Path,
    dir: &Path,
    version: &Version,
    target: &str,
) -> Result<BTreeMap<String, Entry>, Refusal> {
    let mut entries = BTreeMap::new();
    for name in PROGRAMS.iter().filter(|it| from.join(it).is_file()) {
        let program = from.join(name);
        if target == super::manifest::target() {
            is_version(&program, version)?;
        }
        let file = format!("{name}-{version}-{target}");
        let (path, aside) = (dir.join(&file), dir.join(format!(".{file}.tmp")));
        let copied = fs::copy(&program, &aside).and_then(|_| fs::rename(&aside, &path));
        copied.map_err(|error| Refusal::storage("write", &path, &error))?;
        let (sha256, size) =
            file::sha256_of(&path).map_err(|error| Refusal::storage("read", &path, &error))?;
        entries.insert((*name).to_owned(), Entry { file, sha256, size });
    }
    if entries.is_empty() {
        return Err(no_program(from));
    }
    Ok(entries)
}

fn no_program(from: &Path) -> Refusal {
    let shown = from.display();
    let message = format!("cannot make a release: no program of Zinit is in `{shown}`");
    Refusal::new(Kind::BadArgument, message).hint(format!("it has one of {}", PROGRAMS.join(", ")))
}

/// What says that it is another version would be refused by everybody who updates to it.
fn is_version(program: &Path, version: &Version) -> Result<(), Refusal> {
    let why = match version_of(program) {
        Ok(said) if said == *version => return Ok(()),
        Ok(said) => format!("it says that it is {said}"),
        Err(why) => why,
    };
    let message = format!("cannot release `{}` as {version}: {why}", program.display());
    Err(Refusal::new(Kind::BadArgument, message))
}

fn new_key(out: Out, path: &Path) -> Result<u8, Refusal> {
    let password = std::env::var(PASSWORD).ok().filter(|it| !it.is_empty());
    let pair = match password {
        Some(password) => KeyPair::generate_encrypted_keypair(Some(password)),
        None => KeyPair::generate_unencrypted_keypair(),
    };
    let pair = pair.map_err(|it| bad_key(&it))?;
    let secret = pair.sk.to_box(None).map_err(|it| bad_key(&it))?;
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut it| it.write_all(&secret.to_bytes()).and_then(|()| it.sync_all()));
    written.map_err(|error| Refusal::storage("make", path, &error))?;
    let public = pair.pk.to_base64();
    out.say(&format!("public_key = \"{public}\""));
    out.answer(&json!({ "public_key": public, "key": path }));
    Ok(0)
}

/// The secret key in a file. A password is asked for if there is one and the environment lacks it.
fn secret(path: &Path) -> Result<SecretKey, Refusal> {
    let text = fs::read_to_string(path).map_err(|error| Refusal::storage("read", path, &error))?;
    let boxed = || SecretKeyBox::from_string(&text);
    let plain = boxed().and_then(SecretKeyBox::into_unencrypted_secret_key);
    let password = std::env::var(PASSWORD).ok().filter(|it| !it.is_empty());
    let key = plain.or_else(|_| boxed()?.into_secret_key(password));
    key.map_err(|it| {
        let message = format!("cannot use the key `{}`: {it}", path.display());
        Refusal::new(Kind::BadArgument, message)
            .hint("`zinit-updater release --new-key FILE` makes one")
    })
}

fn sign(key: &SecretKey, bytes: &[u8], comment: &str) -> Result<String, Refusal> {
    let signed = minisign::sign(None, key, bytes, Some(comment), None);
    signed.map(minisign::SignatureBox::into_string).map_err(|it| bad_key(&it))
}

/// Signs a script as `minisign -S` does.
fn sign_script(out: Out, key: &SecretKey, script: &Path) -> Result<u8, Refusal> {
    let bytes = fs::read(script).map_err(|error| Refusal::storage("read", script, &error))?;
    let name = script.file_name().unwrap_or_default().to_string_lossy();
    let comment = format!("timestamp:{}\tfile:{name}", super::clock::unix_secs());
    let signature = sign(key, &bytes, &comment)?;
    let path = script.with_file_name(format!("{name}.minisig"));
    file::replace(&path, signature.as_bytes(), 0o644)?;
    out.say(&format!("Signed {}", script.display()));
    out.answer(&json!({ "signature": path }));
    Ok(0)
}

fn bad_key(error: &minisign::PError) -> Refusal {
    Refusal::new(Kind::BadArgument, format!("cannot sign: {error}"))
}
