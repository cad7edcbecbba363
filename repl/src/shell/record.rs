//! What was done here: a script in the making.

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zinit_host::policy::index;
use zinit_host::policy::pieces::{Piece, pieces};
use zinit_host::refusal::{Kind, Refusal};

use crate::render;

/// The texts in the order in which they were run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    texts: Vec<String>,
    /// Where they were written to: it may be written again.
    saved: Option<PathBuf>,
}

impl Record {
    /// Adds what was done of a text, which came from this file or was said.
    pub(crate) fn add(&mut self, text: &str, file: Option<&Path>) {
        if text.trim().is_empty() {
            return;
        }
        let here = env::current_dir().unwrap_or_default();
        let dir = file.and_then(Path::parent).map_or(here.clone(), |it| here.join(it));
        self.texts.push(anchored(text.trim(), &dir));
    }

    /// A script that does the same.
    fn script(&self) -> String {
        let texts = self.texts.iter().enumerate();
        let texts = texts.map(|(at, it)| ended(without(it, &self.texts[at + 1..]).trim()));
        let texts = texts.filter(|it| !it.is_empty()).map(|it| it + "\n");
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

    /// Writes it aside, and puts it into place when it is whole.
    fn write(&self, path: &Path, again: bool) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let (fd, aside) = nix::unistd::mkstemp(&path.with_file_name(format!(".{name}.XXXXXX")))?;
        let fill = |mut file: File| {
            file.write_all(self.script().as_bytes())?;
            file.set_permissions(Permissions::from_mode(0o755))?;
            file.sync_all()
        };
        let placed = fill(fd.into()).and_then(|()| match again {
            true => fs::rename(&aside, path),
            // A link takes nobody's place.
            false => fs::hard_link(&aside, path),
        });
        // Where it was renamed it is gone.
        let _ = fs::remove_file(&aside);
        placed
    }
}

/// A text without the functions that later ones define again.
fn without(text: &str, later: &[String]) -> String {
    let key = |it: &index::Function| {
        (it.code().split('(').next().unwrap_or_default().to_owned(), it.params.len())
    };
    let again: BTreeSet<_> =
        later.iter().flat_map(|it| index::functions("", it)).map(|it| key(&it)).collect();
    let gone = index::functions("", text).into_iter().filter(|it| again.contains(&key(it)));
    gone.fold(text.to_owned(), |text, it| text.replacen(it.source.trim(), "", 1))
}

/// A text whose imports find what they found from this directory, wherever the text is.
fn anchored(text: &str, dir: &Path) -> String {
    let (mut out, mut end, mut is_import) = (String::new(), 0, false);
    for (piece, at) in pieces(text) {
        let quoted = text[at.clone()].trim_matches('"');
        let is_bundled = || zinit_stdlib::SCRIPT.iter().any(|it| it.name() == quoted);
        if is_import && piece == Piece::Text && !quoted.starts_with('/') && !is_bundled() {
            out += &text[end..at.start];
            out += &format!("{:?}", dir.join(quoted).display().to_string());
            end = at.end;
        }
        is_import = piece == Piece::Word && &text[at] == "import";
    }
    out + &text[end..]
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

    fn script(texts: &[&str]) -> String {
        let mut it = Record::default();
        texts.iter().for_each(|text| it.add(text, Some(Path::new("/here/it.rhai"))));
        it.script().replace("#!/usr/bin/env zinit\n", "")
    }

    #[test]
    fn texts_follow_one_another_in_a_script() {
        let texts = [
            "let m = #{ a: 1 }",
            "fn f() { 2 }",
            "m.a; // one",
            "// two",
            " ",
            "m.a + f() // three",
        ];
        let expected =
            "let m = #{ a: 1 };\nfn f() { 2 };\nm.a; // one\n// two\nm.a + f(); // three\n";
        assert_eq!(script(&texts), expected);
    }

    #[test]
    fn of_a_function_the_last_definition_counts() {
        let texts =
            ["fn f() { 1 } let x = f();", "/// It.\nfn f() { 2 }\nfn f(a) { a }", "fn f() { 3 }"];
        assert_eq!(script(&texts), "let x = f();\nfn f(a) { a };\nfn f() { 3 };\n");
    }

    #[test]
    fn an_import_finds_what_it_found() {
        let texts =
            ["import \"lib\" as l; import \"zinit/wait\" as w;", "import \"/a/b\" as b; \"lib\""];
        let expected = "import \"/here/lib\" as l; import \"zinit/wait\" as w;\n\
            import \"/a/b\" as b; \"lib\";\n";
        assert_eq!(script(&texts), expected);
    }
}
