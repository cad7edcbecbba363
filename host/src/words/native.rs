//! Words that are written in Rust, told as a script sees them.

use std::collections::{BTreeMap, HashSet};

use rhai::packages::Package;
use rhai::{Engine, FuncInfo};
use rhai_fs::FilesystemPackage;

use super::{Word, params, text};

/// What Rhai calls a first parameter that a function is said of: `value.to_hex()`. What formulas are
/// about is called `x`, and nobody writes `x.hypot(y)`.
const SUBJECTS: [&str; 6] = ["value", "number", "character", "fn_ptr", "timestamp", "string"];

/// The primitives of `host::`.
pub(super) fn primitives(engine: &Engine) -> Vec<Word> {
    let primitive = |info: FuncInfo<'_>| {
        (info.namespace == "host").then(|| Word {
            name: info.metadata.name.to_string(),
            of: None,
            params: params(&info.metadata.params_info),
            returns: known(type_word(&info.metadata.return_type)),
            doc: text(info.metadata.comments.iter().map(AsRef::as_ref)),
            module: "host".to_owned(),
        })
    };
    engine.collect_fn_metadata(None, primitive, false)
}

/// The global words: our own, those for files, and the standard library.
pub(super) fn natives(engine: &Engine) -> Vec<Word> {
    let of_files: HashSet<u64> = {
        let mut engine = Engine::new_raw();
        FilesystemPackage::new().register_into_engine(&mut engine);
        engine.collect_fn_metadata(None, |it| Some(it.metadata.hash), true).into_iter().collect()
    };
    let (files, own): (Vec<_>, Vec<_>) = engine
        .collect_fn_metadata(None, Native::of, false)
        .into_iter()
        .partition(|it| of_files.contains(&it.hash));
    let known: HashSet<u64> = files.iter().chain(&own).map(|it| it.hash).collect();
    let replaced: HashSet<_> = own.iter().map(|it| (it.name.clone(), it.params.len())).collect();
    let standard = engine.collect_fn_metadata(None, Native::of, true).into_iter().filter(|it| {
        !known.contains(&it.hash) && !replaced.contains(&(it.name.clone(), it.params.len()))
    });
    let mut all: Vec<(&str, Native)> = standard.map(|it| ("rhai", it)).collect();
    all.extend(files.into_iter().map(|it| ("rhai-fs", it)));
    // What is said of nothing is how records print.
    all.extend(own.into_iter().filter(|it| !it.doc.is_empty()).map(|it| ("zinit", it)));
    // Rhai tells of them in any order; of two texts about one word, the first one counts.
    all.sort_by(|one, other| one.1.order().cmp(&other.1.order()));
    let mut merged = Merged::default();
    all.into_iter().for_each(|(module, it)| merged.add(module, it));
    merged.words()
}

/// A function as Rhai tells of it.
struct Native {
    hash: u64,
    name: String,
    params: Vec<Param>,
    returns: String,
    doc: String,
}

struct Param {
    name: String,
    type_word: String,
    is_changed: bool,
}

impl Native {
    fn of(info: FuncInfo<'_>) -> Option<Self> {
        let it = info.metadata;
        let is_name = it.name.chars().all(|it| it.is_alphanumeric() || it == '_');
        let declared = it.params_info.iter().filter(|it| !it.contains("NativeCallContext"));
        let params: Vec<Param> = declared.map(|it| Param::of(it)).collect();
        // No value of a script is an `f32`.
        let is_sayable = is_name && params.iter().all(|it| it.type_word != "f32");
        let is_global = info.namespace.is_empty() && info.script.is_none();
        (is_global && is_sayable).then(|| Self {
            hash: it.hash,
            name: it.name.to_string(),
            params,
            returns: type_word(&it.return_type),
            doc: text(it.comments.iter().map(AsRef::as_ref)),
        })
    }

    fn order(&self) -> (&str, Vec<&str>, &str) {
        let types = self.params.iter().map(|it| it.type_word.as_str()).collect::<Vec<_>>();
        (self.name.as_str(), types, self.doc.as_str())
    }

    /// The type that it is a method of.
    fn subject(&self, module: &str) -> Option<String> {
        let first = self.params.first().filter(|it| it.type_word != "?")?;
        let is_named = SUBJECTS.contains(&first.name.as_str()) || first.name == first.type_word;
        // `print` and `debug` can be called so as well, and nobody does.
        let is_shown = ["print", "debug", "exit"].contains(&self.name.as_str());
        let is_method = first.is_changed || module == "rhai" && is_named;
        (is_method && !is_shown).then(|| first.type_word.clone())
    }
}

impl Param {
    fn of(declared: &str) -> Self {
        let (name, rust) = declared.split_once(':').unwrap_or((declared, ""));
        let type_word = type_word(rust);
        let name = name.trim().trim_start_matches("mut ").trim_end_matches("_raw");
        let name = if name == "_" { "value" } else { name };
        let is_changed = rust.trim_start().starts_with("&mut");
        Self { name: name.to_owned(), type_word, is_changed }
    }

    /// Adds the types of an overload.
    fn widen(&mut self, other: &Self) {
        let is_there = self.type_word.split(" | ").any(|it| it == other.type_word);
        if other.type_word == "?" || self.type_word == "?" {
            "?".clone_into(&mut self.type_word);
        } else if !is_there {
            let mut all: Vec<&str> = self.type_word.split(" | ").collect();
            all.push(&other.type_word);
            all.sort_unstable();
            self.type_word = all.join(" | ");
        }
    }

    fn shown(&self) -> String {
        match self.type_word.as_str() {
            "?" => self.name.clone(),
            word => format!("{}: {word}", self.name),
        }
    }
}

/// What makes a word another one: the type it is a method of, its name, and what its parameters are
/// called.
type Shape = (Option<String>, String, Vec<String>);

/// Functions without those that differ only in types.
#[derive(Default)]
struct Merged(BTreeMap<Shape, (String, Native)>);

impl Merged {
    fn add(&mut self, module: &str, mut it: Native) {
        let of = it.subject(module);
        let module = match &of {
            Some(of) if module == "rhai" => format!("rhai/{of}"),
            None if module == "rhai" && it.params.first().is_some_and(|it| it.name == "x") => {
                "rhai/math".to_owned()
            }
            _ => module.to_owned(),
        };
        if of.is_some() {
            it.params.remove(0);
        }
        let names = it.params.iter().map(|it| it.name.clone()).collect();
        let Some((_, first)) = self.0.get_mut(&(of.clone(), it.name.clone(), names)) else {
            let names = it.params.iter().map(|it| it.name.clone()).collect();
            self.0.insert((of, it.name.clone(), names), (module, it));
            return;
        };
        first.params.iter_mut().zip(&it.params).for_each(|(one, other)| one.widen(other));
        if first.returns != it.returns {
            "?".clone_into(&mut first.returns);
        }
        if first.doc.is_empty() {
            first.doc = it.doc;
        }
    }

    fn words(self) -> Vec<Word> {
        let word = |((of, ..), (module, it)): (Shape, (String, Native))| Word {
            name: it.name,
            of,
            params: it.params.iter().map(Param::shown).collect(),
            returns: known(it.returns),
            doc: it.doc,
            module,
        };
        self.0.into_iter().map(word).collect()
    }
}

fn known(type_word: String) -> Option<String> {
    Some(type_word).filter(|it| it != "?")
}

/// The name of a type of Rust as scripts say it; `?` for any.
pub(super) fn type_word(rust: &str) -> String {
    let rust = rust.trim().trim_start_matches('&').trim_start_matches("mut ").trim();
    for wrapper in ["RhaiResultOf<", "Said<", "Result<", "core::result::Result<"] {
        if let Some(inner) = rust.strip_prefix(wrapper) {
            let inner = inner.split(", ").next().unwrap_or(inner);
            return type_word(inner.trim_end_matches([' ', '>']));
        }
    }
    let plain = rust.split('<').next().unwrap_or(rust);
    match plain.rsplit("::").next().unwrap_or(plain).trim() {
        "" | "_" | "?" | "Dynamic" | "RhaiResult" | "Variant" => "?",
        "INT" | "i64" => "int",
        "FLOAT" | "f64" => "float",
        "str" | "String" | "ImmutableString" => "string",
        "Array" | "Vec" => "array",
        "Blob" => "blob",
        "Map" => "map",
        "FnPtr" => "Fn",
        "Instant" => "timestamp",
        "ExclusiveRange" | "InclusiveRange" | "Range" | "RangeInclusive" | "StepRange"
        | "BitRange" | "CharsStream" => "range",
        "PathBuf" => "path",
        "SharedFile" => "file",
        other => other,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_as_scripts_say_them() {
        for (rust, word) in [
            ("RhaiResultOf<INT >", "int"),
            ("&mut ImmutableString", "string"),
            ("Result<rhai::Array, Box<EvalAltResult>>", "array"),
            ("Said<Dynamic >", "?"),
            ("RhaiResultOf<StepRange<INT>>", "range"),
            (
                "core::result::Result<rhai::types::immutable_string::ImmutableString, alloc::boxed::Box<E>>",
                "string",
            ),
            ("()", "()"),
            ("Service", "Service"),
        ] {
            assert_eq!(type_word(rust), word, "{rust}");
        }
    }
}
