//! The services on disk: one YAML file each, the file's name is the service's.
//!
//! A file that is not fine is a problem of its own and never keeps the others from loading. Files are
//! replaced whole (written aside, synced, renamed), so that no crash leaves half a service behind.

mod proxies;

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::name::ServiceName;
use crate::refusal::{Kind, Refusal};
use crate::spec::Spec;

/// The directory that services are kept in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// `cfg/zinit` of the home, if no flag says otherwise.
    pub dir: PathBuf,
}

/// What was found in the directory.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The services whose files are fine, sorted by name.
    pub specs: Vec<(ServiceName, Spec)>,
    /// What is wrong with the others, sorted by path.
    pub problems: Vec<Refusal>,
}

impl Store {
    /// The services of this directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Reads every `NAME.yaml` and `NAME.yml`. Makes the directory if there is none. Directories,
    /// hidden files and files with other endings are none of its business.
    pub fn load(&self) -> Loaded {
        match self.make_dir() {
            Ok(()) => self.look(),
            Err(error) => {
                let problem = storage("make", &self.dir, &error);
                Loaded { problems: vec![problem], ..Loaded::default() }
            }
        }
    }

    /// As [`load`](Self::load), but changes nothing: that there is no directory is a problem.
    pub fn look(&self) -> Loaded {
        let paths = match self.listed() {
            Ok(paths) => paths,
            Err(error) => {
                let problem = storage("read", &self.dir, &error);
                return Loaded { problems: vec![problem], ..Loaded::default() };
            }
        };
        let mut loaded = Loaded::default();
        for path in &paths {
            match load_one(path, &paths, "service", |_, text, path| Spec::from_yaml(text, path)) {
                Ok(service) => loaded.specs.push(service),
                Err(problem) => loaded.problems.push(problem),
            }
        }
        loaded.specs.sort_by(|(one, _), (other, _)| one.cmp(other));
        loaded
    }

    /// Reads one service again.
    ///
    /// # Errors
    /// `storage` if there is no such file or it cannot be read, `bad_config` if it is not fine.
    pub fn read(&self, name: &ServiceName) -> Result<Spec, Refusal> {
        let path = self.found(name);
        read(&path, Spec::from_yaml).map_err(|refusal| refusal.with("service", name.as_str()))
    }

    /// Writes a service; only its owner can read the file, as `env` may hold secrets.
    ///
    /// # Errors
    /// `storage`, and the file is as it was.
    pub fn save(&self, name: &ServiceName, spec: &Spec) -> Result<(), Refusal> {
        self.replace(name, &spec.to_yaml()).map_err(|it| it.with("service", name.as_str()))
    }

    /// Puts a file in the place of an earlier one, whole.
    fn replace(&self, name: &ServiceName, yaml: &str) -> Result<(), Refusal> {
        let path = self.found(name);
        let aside = self.dir.join(format!(".{name}.yaml.tmp"));
        let written = self.make_dir().and_then(|()| {
            write_new(&aside, yaml.as_bytes())?;
            fs::rename(&aside, &path)?;
            self.sync()
        });
        written.map_err(|error| {
            // Whatever is left of it is in nobody's way.
            let _ = fs::remove_file(&aside);
            storage("write", &path, &error)
        })
    }

    /// Removes a service's file, if there is one.
    ///
    /// # Errors
    /// `storage`, when there is one and it cannot be removed.
    pub fn remove(&self, name: &ServiceName) -> Result<(), Refusal> {
        self.erase(name).map(drop).map_err(|it| it.with("service", name.as_str()))
    }

    /// Whether there was a file to remove.
    fn erase(&self, name: &ServiceName) -> Result<bool, Refusal> {
        let mut found = false;
        for path in self.paths(name) {
            match fs::remove_file(&path).and_then(|()| self.sync()) {
                Ok(()) => found = true,
                Err(error) if error.kind() == ErrorKind::NotFound => (),
                Err(error) => return Err(storage("remove", &path, &error)),
            }
        }
        Ok(found)
    }

    /// Why nothing can be read here, if there is no directory.
    pub fn missing(&self) -> Option<Refusal> {
        let error = fs::metadata(&self.dir).err()?;
        Some(storage("read", &self.dir, &error))
    }

    /// The text of `policy.rhai` and `policy/*.rhai`, in the order of their names, and why others of
    /// them cannot be read.
    pub fn policy_files(&self) -> (Vec<(PathBuf, String)>, Vec<Refusal>) {
        let listed = fs::read_dir(self.dir.join("policy")).into_iter().flatten().flatten();
        let mut more: Vec<_> = listed.map(|it| it.path()).collect();
        more.retain(|it| it.extension().is_some_and(|it| it == "rhai"));
        more.sort();
        let (mut files, mut problems) = (Vec::new(), Vec::new());
        for path in std::iter::once(self.dir.join("policy.rhai")).chain(more) {
            match policy_file(&path) {
                Ok(Some(text)) => files.push((path, text)),
                Ok(None) => {}
                Err(problem) => problems.push(problem),
            }
        }
        (files, problems)
    }

    /// Where a service's file belongs.
    pub fn path(&self, name: &ServiceName) -> PathBuf {
        self.dir.join(format!("{name}.yaml"))
    }

    /// Where a service's file is: `NAME.yml` counts if there is no `NAME.yaml`.
    pub(crate) fn found(&self, name: &ServiceName) -> PathBuf {
        let [yaml, yml] = self.paths(name);
        if !yaml.exists() && yml.exists() { yml } else { yaml }
    }

    fn paths(&self, name: &ServiceName) -> [PathBuf; 2] {
        [self.path(name), self.dir.join(format!("{name}.yml"))]
    }

    /// The files that may be services, sorted.
    fn listed(&self) -> io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let path = entry.path();
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            let fits = path.extension().is_some_and(|it| it == "yaml" || it == "yml");
            let kind = entry.file_type()?;
            if fits && !hidden && (kind.is_file() || kind.is_symlink()) {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }

    fn make_dir(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)
    }

    /// Makes a rename or a removal survive a power cut.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}

/// What a file says, by its name; `noun` is what it describes.
fn load_one<T>(
    path: &Path,
    sorted: &[PathBuf],
    noun: &str,
    parse: impl FnOnce(&ServiceName, &str, &Path) -> Result<T, Refusal>,
) -> Result<(ServiceName, T), Refusal> {
    let bad = |message: String, hint: &str| {
        Refusal::new(Kind::BadConfig, format!("{}: {message}", path.display()))
            .hint(hint)
            .with("path", path.display().to_string())
    };
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let hint = format!("rename the file: its name is the {noun}'s name");
    let name = ServiceName::parse(&stem).map_err(|it| bad(it.to_string(), &hint))?;
    let other = path.with_extension("yaml");
    if other != path && sorted.binary_search(&other).is_ok() {
        return Err(bad(format!("there is also a `{name}.yaml`"), "remove one of the two")
            .with(noun, name.as_str()));
    }
    let parsed = read(path, |text, path| parse(&name, text, path));
    let parsed = parsed.map_err(|refusal| refusal.with(noun, name.as_str()))?;
    Ok((name, parsed))
}

fn read<T>(
    path: &Path,
    parse: impl FnOnce(&str, &Path) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let bytes = contents(path).map_err(|error| storage("read", path, &error))?;
    match String::from_utf8(bytes) {
        Ok(text) => parse(&text, path),
        Err(error) => Err(not_utf8(error.as_bytes(), error.utf8_error().valid_up_to(), path)),
    }
}

/// The bytes of a regular file, cut where it is too long anyway. Nothing else is waited for.
fn contents(path: &Path) -> io::Result<Vec<u8>> {
    let unblocking = nix::libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(unblocking).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let most = Spec::FILE_BYTES_MAX + 1;
    let mut bytes = Vec::with_capacity(most.min(usize::try_from(about.len()).unwrap_or(most) + 1));
    file.take(most as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of a file of the policy, without the mark that some editors begin it with; `None` when
/// there is no such file. A link that leads nowhere is not that.
fn policy_file(path: &Path) -> Result<Option<String>, Refusal> {
    let bytes = match contents(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound && !path.is_symlink() => return Ok(None),
        Err(error) => return Err(storage("read", path, &error)),
    };
    if bytes.len() > Spec::FILE_BYTES_MAX {
        let message = format!("{}: the file is longer than 1 MiB", path.display());
        return Err(Refusal::new(Kind::BadConfig, message).with("path", path.display().to_string()));
    }
    let text = String::from_utf8(bytes)
        .map_err(|it| not_utf8(it.as_bytes(), it.utf8_error().valid_up_to(), path))?;
    Ok(Some(text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned)))
}

fn not_utf8(bytes: &[u8], fine: usize, path: &Path) -> Refusal {
    let before = &bytes[..fine];
    let line = 1 + before.iter().filter(|it| **it == b'\n').count();
    let start = before.iter().rposition(|it| *it == b'\n').map_or(0, |it| it + 1);
    let source = String::from_utf8_lossy(&before[start..]).into_owned();
    let column = 1 + source.chars().count();
    let message = format!("{}:{line}:{column}: the file is not UTF-8 text", path.display());
    Refusal::new(Kind::BadConfig, message)
        .with("path", path.display().to_string())
        .with("line", line)
        .with("column", column)
        .with("source", source)
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // What a crash has left here may have another mode.
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn storage(verb: &str, path: &Path, error: &io::Error) -> Refusal {
    let shown = path.display();
    let why = error.to_string();
    let why = why.split(" (os error").next().unwrap_or_default().to_lowercase();
    let refusal = Refusal::new(Kind::Storage, format!("cannot {verb} `{shown}`: {why}"))
        .with("path", shown.to_string());
    match error.kind() {
        ErrorKind::NotFound if path.extension() == Some(OsStr::new("yaml")) => {
            refusal.hint("a service's file is named after it: `NAME.yaml`")
        }
        _ => refusal,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A directory of its own for each test, gone afterwards.
    pub(super) struct Scratch(pub(super) Store);

    impl Scratch {
        pub(super) fn new(test: &str) -> Self {
            let dir =
                std::env::temp_dir().join(format!("zinit-store-{}-{test}", std::process::id()));
            let _ = fs::remove_dir_all(&dir);
            Self(Store::new(dir.join("cfg/zinit")))
        }

        pub(super) fn write(&self, file: &str, text: impl AsRef<[u8]>) {
            let path = self.0.dir.join(file);
            let dir = path.parent().expect("it is in a directory");
            fs::create_dir_all(dir).expect("a temporary directory can be made");
            fs::write(path, text).expect("and written to");
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let root = self.0.dir.ancestors().nth(2).expect("it was made two levels deep");
            let _ = fs::remove_dir_all(root);
        }
    }

    pub(super) fn name(text: &str) -> ServiceName {
        ServiceName::parse(text).expect("a name")
    }

    #[test]
    fn a_directory_that_is_not_there_is_made_for_its_owner_only() {
        let scratch = Scratch::new("made");
        let loaded = scratch.0.load();
        assert!(loaded.specs.is_empty() && loaded.problems.is_empty(), "{loaded:?}");
        for dir in scratch.0.dir.ancestors().take(2) {
            let mode = fs::metadata(dir).expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{}", dir.display());
        }
    }

    #[test]
    fn a_bad_file_never_keeps_the_others_from_loading() {
        let scratch = Scratch::new("bad");
        scratch.write("web.yaml", "exec: sleep 1");
        scratch.write("my-Svc.v2.yml", "exec: sleep 2");
        scratch.write("web.yml", "exec: sleep 3");
        scratch.write("web.yb.yaml", "exec: sleep 5");
        scratch.write("web.yc.yaml", "exec: sleep 6");
        scratch.write("broken.yaml", "exec: 'x");
        scratch.write("bytes.yaml", b"exec: ls\ndir: \xff");
        scratch.write("a b.yaml", "exec: ls");
        scratch.write("large.yaml", "#".repeat(2 << 20));
        scratch.write(".hidden.yaml", "");
        scratch.write("notes.txt", "");
        scratch.write("real", "exec: sleep 4");
        let dir = &scratch.0.dir;
        fs::create_dir(dir.join("dir.yaml")).expect("a directory can be made");
        nix::unistd::mkfifo(&dir.join("fifo.yaml"), nix::sys::stat::Mode::S_IRWXU)
            .expect("a FIFO too");
        for (target, link) in [("real", "linked"), ("nowhere", "dangling"), ("fifo.yaml", "piped")]
        {
            symlink(target, dir.join(format!("{link}.yaml"))).expect("a link too");
        }

        let loaded = scratch.0.load();
        let names: Vec<&str> = loaded.specs.iter().map(|(it, _)| it.as_str()).collect();
        assert_eq!(names, ["linked", "my-Svc.v2", "web", "web.yb", "web.yc"]);
        let shown = format!("{}/", dir.display());
        let said: Vec<String> =
            loaded.problems.iter().map(|it| it.message.replace(&shown, "")).collect();
        let told = [
            "a b.yaml: `a b` is no service name: 1 to 64 letters, digits, `_`, `-`, `.` or `@`, \
             starting with a letter or a digit",
            "broken.yaml:1:7: malformed YAML: unclosed quote",
            "bytes.yaml:2:6: the file is not UTF-8 text",
            "cannot read `dangling.yaml`: no such file or directory",
            "large.yaml:1:1: the file is larger than 1 MiB",
            "cannot read `piped.yaml`: it is not a file",
            "web.yml: there is also a `web.yaml`",
        ];
        assert_eq!(said, told);
        assert_eq!(loaded.problems[1].data["service"], "broken");
    }

    #[test]
    fn what_is_saved_is_read_back_and_only_by_its_owner() {
        let scratch = Scratch::new("saved");
        let (store, web) = (&scratch.0, name("web"));
        let spec = Spec { oneshot: true, ..Spec::of_exec("echo 'a: \"b\"'") };
        scratch.write(".web.yaml.tmp", "what a crash has left");
        store.save(&web, &Spec::of_exec("true")).expect("it can be saved");
        store.save(&web, &spec).expect("and again");
        assert_eq!(store.read(&web), Ok(spec.clone()));
        assert_eq!(store.load().specs, [(web.clone(), spec)]);
        let mode = fs::metadata(store.path(&web)).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&store.dir).expect("it is there").count(), 1);

        store.remove(&web).expect("it can be removed");
        store.remove(&web).expect("and once more");
        assert_eq!(store.read(&web).expect_err("it is gone").kind, Kind::Storage);
    }

    #[test]
    fn the_other_ending_is_kept() {
        let scratch = Scratch::new("ending");
        scratch.write("web.yml", "exec: sleep 1");
        let (store, web) = (&scratch.0, name("web"));
        store.save(&web, &Spec::of_exec("sleep 2")).expect("it can be saved");
        assert_eq!(store.read(&web), Ok(Spec::of_exec("sleep 2")));
        assert!(!store.path(&web).exists());
        store.remove(&web).expect("it can be removed");
        assert!(store.load().specs.is_empty());
    }

    #[test]
    fn a_directory_that_cannot_be_is_a_problem() {
        let scratch = Scratch::new("file");
        scratch.write("not-a-dir", "");
        let store = Store::new(scratch.0.dir.join("not-a-dir/sub"));
        assert_eq!(store.load().problems.len(), 1);
        let no = store.save(&name("web"), &Spec::of_exec("ls")).expect_err("there is no room");
        assert_eq!(no.kind, Kind::Storage);
        assert!(no.message.ends_with("not a directory"), "{no}");
    }
}
