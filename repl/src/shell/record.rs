//! What was said here and went well: a script in the making.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use zinit_host::policy::pieces::{Piece, pieces};
use zinit_host::refusal::{Kind, Refusal};

use crate::render;

/// The texts in the order in which they were said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    texts: Vec<String>,
    /// Where they were written to: it may be written again.
    saved: Option<PathBuf>,
}

impl Record {
    /// Adds a text.
    pub(crate) fn add(&mut self, text: &str) {
        self.texts.push(text.trim().to_owned());
    }

    /// The texts.
    pub(crate) fn texts(&self) -> &[String] {
        &self.texts
    }

    /// A script that does the same.
    fn script(&self) -> String {
        let texts = self.texts.iter().map(|it| ended(it) + "\n");
        format!("#!/usr/bin/env zinit\n{}", texts.collect::<String>())
    }

    /// Writes that script. A file that is there already is left alone.
    pub(crate) fn save(&mut self, path: &Path) -> Result<(), Refusal> {
        let again = self.saved.as_deref() == Some(path);
        self.write(path, again).map_err(|error| {
            if error.kind() == io::ErrorKind::AlreadyExists {
                let message = format!("{} is there already", path.display());
                return Refusal::new(Kind::Storage, message).hint("give it another name");
            }
            Refusal::new(Kind::Storage, format!("cannot write {}: {error}", path.display()))
        })?;
        self.saved = Some(path.to_owned());
        render::print(&format!("Saved: {}\n", path.display()));
        Ok(())
    }

    fn write(&self, path: &Path, again: bool) -> io::Result<()> {
        if again {
            let aside = path.with_added_extension("tmp");
            self.fill(&aside, true)?;
            return fs::rename(&aside, path);
        }
        self.fill(path, false)
    }

    fn fill(&self, path: &Path, again: bool) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).mode(0o755);
        let options =
            if again { options.create(true).truncate(true) } else { options.create_new(true) };
        let mut file = options.open(path)?;
        file.write_all(self.script().as_bytes())?;
        file.sync_all()
    }
}

/// A text after which another one may follow.
fn ended(text: &str) -> String {
    let is_code = |it: &&(Piece, _)| !matches!(it.0, Piece::Comment | Piece::Doc);
    match pieces(text).iter().rfind(is_code) {
        Some((_, at)) if !text[at.clone()].ends_with(';') => {
            format!("{};{}", &text[..at.end], &text[at.end..])
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_follow_one_another_in_a_script() {
        let mut it = Record::default();
        for text in
            ["let m = #{ a: 1 }", "fn f() { 2 }", "m.a; // one", "// two", "m.a + f() // three"]
        {
            it.add(text);
        }
        let script = "#!/usr/bin/env zinit\nlet m = #{ a: 1 };\nfn f() { 2 };\nm.a; // one\n// two\n\
            m.a + f(); // three\n";
        assert_eq!(it.script(), script);
    }
}
