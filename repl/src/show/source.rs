//! The texts of functions.

use zinit_host::policy::index::{self, Function};
use zinit_host::script::Text;
use zinit_host::words::Word;

use super::cell::{Ink, painted};
use super::text::clean;
use crate::highlight::highlighted;
use crate::shell::look::Look;

/// The text of a function: `wait_up`, `.env` or `Service.env`, `zinit/wait::wait_up`. It is looked for in what
/// was said here, the newest first, then in the bundled modules; of the `found` ones that are in Rust, that is
/// said. Nothing if there is none.
pub(crate) fn source(name: &str, found: &[&Word], own: &[Text], look: Look) -> Option<String> {
    let wanted = Wanted::new(name);
    let here = own.iter().rev().find_map(|it| {
        let all = index::functions(&it.name, &it.text);
        let all: Vec<Function> = all.into_iter().filter(|it| wanted.is(it, "here")).collect();
        (!all.is_empty()).then_some(all)
    });
    let bundled = || {
        let all = zinit_stdlib::SCRIPT.into_iter().flat_map(|source| {
            let all = index::functions(source.path, source.source).into_iter();
            all.filter(move |it| wanted.is(it, source.name()))
        });
        all.collect()
    };
    let texts: Vec<Function> = here.unwrap_or_else(bundled);
    if !texts.is_empty() {
        return Some(texts.iter().map(|it| drawn(it, look)).collect::<Vec<_>>().join("\n"));
    }
    let native = found.iter().find(|it| wanted.could_be(it))?;
    Some(format!("`{}` has no text in Rhai: {}\n", native.signature(), native_place(native)))
}

/// Which function is meant.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    module: Option<&'a str>,
    /// Whether it is a method, and of which type if that is said.
    of: Option<&'a str>,
    name: &'a str,
}

impl<'a> Wanted<'a> {
    fn new(text: &'a str) -> Self {
        let text = text.trim().trim_end_matches("()");
        let (module, rest) = match text.rsplit_once("::") {
            Some((module, rest)) => (Some(module), rest),
            None => (None, text),
        };
        let (of, name) = match rest.rsplit_once('.') {
            Some((of, name)) => (Some(of), name),
            None => (None, rest),
        };
        Self { module, of, name }
    }

    fn is(&self, it: &Function, module: &str) -> bool {
        let of = type_of(it);
        let fits = match self.of {
            None => true,
            Some("") => of.is_some(),
            wanted => wanted == of.as_deref(),
        };
        fits && it.name == self.name && self.module.is_none_or(|it| is_of(module, it))
    }

    fn could_be(&self, it: &Word) -> bool {
        it.name == self.name && self.module.is_none_or(|module| is_of(&it.module, module))
    }
}

/// Whether this is the whole name of a module, or what an import calls it.
fn is_of(module: &str, name: &str) -> bool {
    module == name || module.rsplit('/').next() == Some(name)
}

/// The type that it is a method of.
fn type_of(it: &Function) -> Option<String> {
    let code = it.code();
    let head = code.split('(').next()?;
    let (of, _) = head.split_whitespace().last()?.rsplit_once('.')?;
    Some(of.trim_matches('"').to_owned())
}

fn drawn(it: &Function, look: Look) -> String {
    let place = match it.path.as_str() {
        said if said.starts_with("input ") => "// said here".to_owned(),
        path => format!("// {path}:{}", it.line),
    };
    let text: String = it.source.lines().map(|it| clean(it, look) + "\n").collect();
    format!("{}\n{}", painted(&place, Ink::Faint, look.paint), highlighted(&text, look.paint))
}

fn native_place(it: &Word) -> &'static str {
    match it.module.as_str() {
        "host" | "zinit" => "it is in Rust, a part of zinit itself",
        "rhai-fs" => "it is in Rust, a part of the library `rhai-fs`",
        _ => "it is in Rust, a part of Rhai itself",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::tests::{COLOUR, NARROW, word};

    fn shown(name: &str, own: &[&str]) -> Option<String> {
        let text = |it: &&str| Text {
            name: "input 1".to_owned(),
            text: (*it).to_owned(),
            functions: Vec::new(),
        };
        let own: Vec<Text> = own.iter().map(text).collect();
        let (tcp, len) = (word("tcp", "host"), word("len", "rhai"));
        source(name, &[&tcp, &len], &own, NARROW)
    }

    #[test]
    fn a_bundled_function_is_shown_with_its_place() {
        let text = shown("wait_up", &[]).expect("it is bundled");
        let (place, code) = text.split_once('\n').expect("two lines at least");
        assert!(place.starts_with("// zinit/wait.rhai:"), "{place}");
        assert!(code.starts_with("/// Waits") && code.contains("\nfn wait_up(name, secs) {"));
        assert_eq!(shown("wait::wait_up", &[]), Some(text.clone()));
        assert_eq!(shown("zinit/wait::wait_up()", &[]), Some(text));
        assert_eq!(shown("logs::wait_up", &[]), None);
        assert!(shown("wait_until", &[]).is_some_and(|it| it.contains("private fn wait_until")));
    }

    #[test]
    fn a_method_is_found_by_its_type_or_by_its_dot() {
        let service = shown("Service.exec", &[]).expect("it is bundled");
        assert!(service.contains("fn Service.exec("), "{service}");
        assert!(shown(".exec", &[]).is_some_and(|it| it.contains("fn Service.exec(")));
        assert_eq!(shown("Proxy.exec", &[]), None);
        assert_eq!(shown(".zinit_list", &[]), None, "it is no method");
    }

    #[test]
    fn what_was_said_here_comes_first_and_the_newest_of_it() {
        let said = ["fn wait_up(a) { 1 }", "let x = 1; fn wait_up(a) {\n  2\n}"];
        let text = shown("wait_up", &said).expect("it was said");
        assert_eq!(text, "// said here\nfn wait_up(a) {\n  2\n}\n");
    }

    #[test]
    fn of_a_native_function_its_home_is_told() {
        let told = shown("host::tcp", &[]).expect("it is found");
        assert_eq!(
            told,
            "`host::tcp()` has no text in Rhai: it is in Rust, a part of zinit itself\n"
        );
        assert!(shown("len", &[]).is_some_and(|it| it.contains("of Rhai itself")));
        assert_eq!(shown("nothing", &[]), None);
    }

    #[test]
    fn a_text_is_in_colours() {
        let text = source("wait_up", &[], &[], COLOUR).expect("it is bundled");
        assert!(text.contains("\x1b[35mfn\x1b[0m"), "{text}");
    }
}
