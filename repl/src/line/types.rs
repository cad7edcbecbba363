//! What type a value has that is being said, as far as that can be known without running anything.

use zinit_host::policy::pieces::Piece;
use zinit_host::words::Word;

use super::place::Tokens;
use crate::shell::lexicon::Lexicon;

/// A type, and what is known of its values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Type {
    /// Its name, as the words have it.
    pub(crate) name: String,
    /// The keys of a map, or of the maps in an array.
    pub(crate) keys: Vec<String>,
}

impl Type {
    fn named(name: &str) -> Self {
        Self { name: canonical(name).to_owned(), keys: Vec::new() }
    }
}

/// How deep variables that are made of variables are followed.
const DEPTH: usize = 8;

/// The type of the value that ends with a token.
pub(crate) fn type_of(tokens: &Tokens<'_>, end: usize, lexicon: &Lexicon) -> Option<Type> {
    Types { tokens, lexicon }.ending(end, DEPTH).map(|it| it.0)
}

/// The name of a type as the words have it, whichever way it is declared.
pub(crate) fn canonical(name: &str) -> &str {
    let name = name.trim().trim_start_matches('&').trim_start_matches("mut ").trim();
    // `rhai::Array` is what an `Array` is; `Vec<A::B>` is what it is.
    let name = match name.rsplit_once("::") {
        Some((_, last)) if !name.contains('<') => last,
        _ => name,
    };
    match name {
        "str" | "String" | "ImmutableString" => "string",
        "Array" => "array",
        "Map" => "map",
        "INT" | "i64" => "int",
        "FLOAT" | "f64" => "float",
        "Blob" => "blob",
        "FnPtr" => "Fn",
        other => other,
    }
}

/// The type that a function is a method of: the one it is declared for, or that of its first parameter.
pub(crate) fn receiver(word: &Word) -> Option<&str> {
    if let Some(of) = &word.of {
        return Some(canonical(of));
    }
    let is_native = word.module.starts_with("rhai");
    let (_, declared) = word.params.first().filter(|_| is_native)?.split_once(':')?;
    Some(canonical(declared))
}

struct Types<'a> {
    tokens: &'a Tokens<'a>,
    lexicon: &'a Lexicon,
}

impl Types<'_> {
    /// The type of the value that ends with a token, and the token that it begins with.
    fn ending(&self, end: usize, depth: usize) -> Option<(Type, usize)> {
        let depth = depth.checked_sub(1)?;
        let word = self.tokens.word(end);
        match self.tokens.piece(end)? {
            Piece::Text if word.starts_with('}') => {
                Some((Type::named("string"), self.tokens.opener(end)?))
            }
            Piece::Text if word.starts_with('\'') => Some((Type::named("char"), end)),
            Piece::Text => Some((Type::named("string"), end)),
            Piece::Number if word.contains('.') => Some((Type::named("f64"), end)),
            Piece::Number => Some((Type::named("i64"), end)),
            Piece::Word if self.tokens.before(end) == "." => None,
            Piece::Word => Some((self.name(word, end, depth)?, end)),
            Piece::Symbol => self.closed(end, depth),
            Piece::Doc | Piece::Comment | Piece::Open => None,
        }
    }

    /// What a bracket ends.
    fn closed(&self, end: usize, depth: usize) -> Option<(Type, usize)> {
        let open = self.tokens.opener(end).filter(|it| *it < end)?;
        let before = open.checked_sub(1);
        match (self.tokens.word(open), before) {
            ("(", Some(name)) if self.tokens.is_name(name) => self.call(name, depth),
            ("(", _) => {
                let (inner, begin) = self.ending(end - 1, depth)?;
                (begin == open + 1).then_some((inner, open))
            }
            ("{", Some(hash)) if self.tokens.word(hash) == "#" => {
                Some((Type { name: "map".to_owned(), keys: self.keys(open, end) }, hash))
            }
            ("[", Some(value)) if self.is_value(value) => {
                let (value, begin) = self.ending(value, depth)?;
                Some((element(value)?, begin))
            }
            ("[", _) => Some((Type::named("array"), open)),
            _ => None,
        }
    }

    fn is_value(&self, at: usize) -> bool {
        let is_text = matches!(self.tokens.piece(at), Some(Piece::Word | Piece::Text));
        is_text || matches!(self.tokens.word(at), ")" | "]")
    }

    /// The keys that a map is written with.
    fn keys(&self, open: usize, end: usize) -> Vec<String> {
        let key = |at: usize| {
            let is_key = matches!(self.tokens.before(at), "{" | ",")
                && self.tokens.word(at + 1) == ":"
                && self.tokens.is_name(at);
            is_key.then(|| self.tokens.word(at).to_owned())
        };
        (open + 1..end).filter_map(key).collect()
    }

    /// What a function returns.
    fn call(&self, name: usize, depth: usize) -> Option<(Type, usize)> {
        let word = self.tokens.word(name);
        let named = |it: &&Word| it.name == word;
        if self.tokens.before(name) == "." && name >= 2 {
            let (of, begin) = self.ending(name - 2, depth)?;
            let fits = |it: &&Word| named(it) && receiver(it) == Some(&of.name);
            let word = self.lexicon.functions().find(fits)?;
            return match &word.returns {
                Some(returns) => Some((Type::named(returns), begin)),
                // A method of a record hands the record on.
                None if word.of.is_some() && !word.module.starts_with("rhai") => Some((of, begin)),
                None => None,
            };
        }
        let is_path = self.tokens.before(name) == ":" && name >= 3;
        let begin = if is_path { name - 3 } else { name };
        let is_host = is_path && self.tokens.word(begin) == "host";
        let fits = |it: &&Word| named(it) && it.of.is_none() && (it.module == "host") == is_host;
        let returns = self.lexicon.functions().filter(fits).find_map(|it| it.returns.as_ref())?;
        Some((Type::named(returns), begin))
    }

    /// The type of a variable: as it is, or as this text makes it.
    fn name(&self, name: &str, before: usize, depth: usize) -> Option<Type> {
        let is_made = |at: &usize| {
            self.tokens.word(*at) == name
                && matches!(self.tokens.before(*at), "let" | "const")
                && self.tokens.word(at + 1) == "="
        };
        if let Some(made) = (0..before).rev().find(is_made) {
            let (begin, end) = self.expression(made + 2, before)?;
            return self.ending(end, depth).filter(|it| it.1 == begin).map(|it| it.0);
        }
        if matches!(name, "true" | "false") {
            return Some(Type::named("bool"));
        }
        let noun = self.lexicon.variables.iter().find(|it| it.name == name)?;
        Some(Type { name: canonical(&noun.type_name).to_owned(), keys: noun.keys.clone() })
    }

    /// The expression that begins with a token: up to the semicolon.
    fn expression(&self, begin: usize, limit: usize) -> Option<(usize, usize)> {
        let mut depth = 0_isize;
        let end = (begin..limit).find(|at| {
            depth += match self.tokens.word(*at) {
                "(" | "[" | "{" => 1,
                ")" | "]" | "}" => -1,
                _ => 0,
            };
            depth == 0 && self.tokens.word(*at) == ";"
        })?;
        (end > begin).then(|| (begin, end - 1))
    }
}

/// What an element of a value is.
fn element(of: Type) -> Option<Type> {
    match of.name.as_str() {
        "array" if !of.keys.is_empty() => Some(Type { name: "map".to_owned(), keys: of.keys }),
        "string" => Some(Type::named("char")),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::shell::lexicon::Noun;

    pub(crate) fn word(signature: &str, returns: Option<&str>, module: &str) -> Word {
        let (name, params) = signature.trim_end_matches(')').split_once('(').expect("parameters");
        let (of, name) = match name.split_once('.') {
            Some((of, name)) => (Some(of.to_owned()), name),
            None => (None, name),
        };
        let params = params.split(',').map(str::trim).filter(|it| !it.is_empty());
        Word {
            name: name.to_owned(),
            of,
            params: params.map(str::to_owned).collect(),
            returns: returns.map(str::to_owned),
            doc: format!("What `{name}` does: `one` or `other`.\n\nMore."),
            module: module.to_owned(),
        }
    }

    pub(crate) fn lexicon() -> Lexicon {
        let noun = |name: &str, type_name: &str, keys: &[&str]| Noun {
            name: name.to_owned(),
            type_name: type_name.to_owned(),
            keys: keys.iter().map(|it| (*it).to_owned()).collect(),
        };
        let names = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect();
        Lexicon {
            words: vec![
                word("Service.env(key, value)", None, "zinit/builder"),
                word("Service.exec(line)", Some("Service"), "zinit/builder"),
                word("Service.log(mode)", Some("Service"), "zinit/builder"),
                word("Service.register()", Some("Service"), "zinit/builder"),
                word("Proxy.backend(address)", Some("Proxy"), "xinit/builder"),
                word("new_service(name)", Some("Service"), "zinit/builder"),
                word("tcp(address: &str, limit_ms: i64)", Some("bool"), "host"),
                word("zinit_kill(name, signal)", None, "zinit"),
                word("zinit_list()", Some("array"), "zinit"),
                word("zinit_status(name)", Some("map"), "zinit"),
                word("zinit_status_all()", Some("array"), "zinit"),
                word("zinit_stop(name)", None, "zinit"),
                word("xinit_status(name)", Some("map"), "xinit"),
                word("keys(map: &mut Map)", Some("array"), "rhai"),
                word("to_upper(string: &str)", Some("string"), "rhai"),
            ],
            own: vec![word("twice(a)", None, "here")],
            variables: vec![
                noun("status", "map", &["name", "pid", "odd key"]),
                noun("all", "array", &["name", "state"]),
                noun("web", "zinit_host::native::Service", &[]),
            ],
            services: names(&["db", "web", "web-2"]),
            proxies: names(&["front"]),
        }
    }

    fn told(text: &str) -> Option<String> {
        let tokens = Tokens::of(text);
        type_of(&tokens, tokens.len() - 1, &lexicon()).map(|it| it.name)
    }

    #[test]
    fn types_are_known_as_far_as_they_can_be() {
        for (text, name) in [
            ("1", "int"),
            ("1.5", "float"),
            ("\"a\"", "string"),
            ("`a ${b} c`", "string"),
            ("[1]", "array"),
            ("#{ a: 1 }", "map"),
            ("status", "map"),
            ("all[0]", "map"),
            ("web", "Service"),
            ("new_service(\"x\")", "Service"),
            ("new_service(\"x\").exec(f(1)).env(\"a\", \"b\")", "Service"),
            ("(\"a\")", "string"),
            ("\"a\".to_upper()", "string"),
            ("let s = new_service(\"x\").register(); s", "Service"),
            ("zinit_status_all()", "array"),
            ("host::tcp(\"a\", 1)", "bool"),
        ] {
            assert_eq!(told(text).as_deref(), Some(name), "{text}");
        }
        for text in ["nothing", "status.name", "(1 + 2)", "let s = 1 + f(\"a\"); s", "tcp(1)"] {
            assert_eq!(told(text), None, "{text}");
        }
    }
}
