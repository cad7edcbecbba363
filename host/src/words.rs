//! What is known of the words that scripts are given: their names, parameters and documentation.
//!
//! One definition, many readers: the reference, `/functions`, completion, and the tests that execute
//! every example.

use rhai::{Engine, ScriptFnMetadata};

/// A function that scripts can call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Its name.
    pub name: String,
    /// The type that it is a method of, if it is one.
    pub of: Option<String>,
    /// The names of its parameters, and for primitives their types.
    pub params: Vec<String>,
    /// The type of what it returns, where that is known.
    pub returns: Option<String>,
    /// Its documentation, in Markdown.
    pub doc: String,
    /// Where it comes from: `host`, the name of a bundled module, `rhai` for the standard library and
    /// `rhai-fs` for files.
    pub module: String,
}

impl Word {
    /// How it is written: `Service.env(key, value)`, `host::tcp(address: &str, limit_ms: i64)`.
    pub fn signature(&self) -> String {
        let params = self.params.join(", ");
        match &self.of {
            Some(of) => format!("{of}.{}({params})", self.name),
            None if self.module == "host" => format!("host::{}({params})", self.name),
            None => format!("{}({params})", self.name),
        }
    }

    /// The lines of its examples in blocks with this mark (`rhai`, or `rhai,server` for those that
    /// need one). Each evaluates to `true`.
    pub fn examples(&self, mark: &str) -> Vec<String> {
        let mut blocks = self.doc.split("```").skip(1).step_by(2);
        let lines = blocks.find_map(|it| it.strip_prefix(mark)?.strip_prefix('\n'));
        lines.unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

/// Every word: the primitives of `host::` as this engine has them, and the bundled modules.
pub fn words(engine: &Engine) -> Vec<Word> {
    let mut words: Vec<Word> = engine.collect_fn_metadata(None, primitive, false);
    for source in zinit_stdlib::SCRIPT {
        // The test suite sees to it that all of them compile.
        let Ok(ast) = engine.compile(source.source) else {
            continue;
        };
        let public = ast.iter_functions().filter(|it| it.access.is_public());
        words.extend(public.map(|it| bundled(&it, source.name())));
    }
    words.sort_by_key(Word::signature);
    words
}

fn primitive(info: rhai::FuncInfo<'_>) -> Option<Word> {
    (info.namespace == "host").then(|| Word {
        name: info.metadata.name.to_string(),
        of: None,
        params: params(&info.metadata.params_info),
        returns: None,
        doc: text(info.metadata.comments.iter().map(AsRef::as_ref)),
        module: "host".to_owned(),
    })
}

/// The parameters as they are declared, without the one that Rhai fills in and the return type.
pub(crate) fn params(declared: &[impl AsRef<str>]) -> Vec<String> {
    let all = declared.iter().map(|it| it.as_ref().to_owned());
    all.filter(|it| !it.contains("NativeCallContext")).collect()
}

/// Every word that a script can say: those of [`words`], the standard library and `rhai-fs`.
pub fn vocabulary(engine: &Engine) -> Vec<Word> {
    words(engine)
}

/// A function of a script.
pub fn bundled(function: &ScriptFnMetadata<'_>, module: &str) -> Word {
    Word {
        name: function.name.to_owned(),
        of: function.this_type.map(str::to_owned),
        params: function.params.iter().map(|it| (*it).to_owned()).collect(),
        returns: None,
        doc: text(function.comments.iter().copied()),
        module: module.to_owned(),
    }
}

/// The text of doc comments, without what marks them as such.
pub(crate) fn text<'a>(comments: impl Iterator<Item = &'a str>) -> String {
    let lines = comments.flat_map(str::lines).map(|it| {
        let it = it.trim_start().trim_start_matches("///");
        it.strip_prefix(' ').unwrap_or(it)
    });
    lines.collect::<Vec<_>>().join("\n")
}
