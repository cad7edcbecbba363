//! What `import` finds: the bundled modules, and files beside the script that imports them.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::SystemTime;

use rhai::{AST, Engine, EvalAltResult, Module, ModuleResolver, Position, Scope, Shared};
use zinit_stdlib::Source;

use crate::native::thrown;
use crate::refusal::{Kind, Refusal, nearest};
use crate::script::read_regular;

/// Begins the source name of a bundled module, which no file is to be looked up for.
pub(crate) const BUNDLED: &str = "bundled:";

type Imported = Result<Shared<Module>, Box<EvalAltResult>>;

/// The modules of one engine, each compiled when it is first needed, and again when its file has changed.
/// Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Modules(Rc<Shelf>);

#[derive(Default)]
struct Shelf {
    made: RefCell<BTreeMap<PathBuf, Made>>,
    /// What the bundled ones were made of: it tells more of them than they do.
    trees: RefCell<BTreeMap<&'static str, AST>>,
    /// What is being imported right now, to see circles.
    open: RefCell<Vec<PathBuf>>,
}

/// A module, and when the file of it was written that it was made of.
type Made = (Shared<Module>, Option<SystemTime>);

impl Modules {
    /// What `import "path"` in a script at `source` has found, if it has.
    pub(crate) fn found(&self, source: Option<&str>, path: &str) -> Option<Shared<Module>> {
        let key = match bundled(path) {
            Some(it) => PathBuf::from(format!("{BUNDLED}{}", it.path)),
            None => beside(source, path),
        };
        self.0.made.borrow().get(&key).map(|it| Shared::clone(&it.0))
    }

    /// A bundled module.
    pub(crate) fn bundled(&self, engine: &Engine, source: &Source) -> Imported {
        let key = format!("{BUNDLED}{}", source.path);
        self.once(Path::new(&key), || {
            let (module, tree) = compiled(engine, &key, source.source)?;
            self.0.trees.borrow_mut().insert(source.path, tree);
            Ok(module)
        })
    }

    fn file(&self, engine: &Engine, path: &Path, name: &str) -> Imported {
        self.once(path, || {
            let text = read_regular(path).map_err(|it| thrown(meant(it, name)))?;
            Ok(compiled(engine, &path.to_string_lossy(), &text)?.0)
        })
    }

    fn once(&self, key: &Path, make: impl FnOnce() -> Imported) -> Imported {
        // A file that has changed is another one: whoever is at a prompt writes it meanwhile.
        let written = std::fs::metadata(key).and_then(|it| it.modified()).ok();
        if let Some((module, of)) = self.0.made.borrow().get(key)
            && *of == written
        {
            return Ok(Shared::clone(module));
        }
        if self.0.open.borrow().iter().any(|it| it == key) {
            let message = format!("{} imports itself", key.display());
            return Err(thrown(Refusal::new(Kind::BadArgument, message)));
        }
        self.0.open.borrow_mut().push(key.to_owned());
        let module = make();
        self.0.open.borrow_mut().pop();
        let module = module?;
        self.0.made.borrow_mut().insert(key.to_owned(), (Shared::clone(&module), written));
        Ok(module)
    }
}

impl ModuleResolver for Modules {
    fn resolve(
        &self,
        engine: &Engine,
        source: Option<&str>,
        path: &str,
        pos: Position,
    ) -> Imported {
        let module = match bundled(path) {
            Some(source) => self.bundled(engine, &source),
            None => self.file(engine, &beside(source, path), path),
        };
        module.map_err(|it| EvalAltResult::ErrorInModule(path.to_owned(), it, pos).into())
    }

    /// The tree of a bundled module.
    fn resolve_ast(
        &self,
        engine: &Engine,
        _: Option<&str>,
        path: &str,
        _: Position,
    ) -> Option<Result<AST, Box<EvalAltResult>>> {
        let source = bundled(path)?;
        let made = self.bundled(engine, &source);
        let tree = || self.0.trees.borrow().get(source.path).cloned().unwrap_or_default();
        Some(made.map(|_| tree()))
    }
}

/// The bundled module of that name.
fn bundled(name: &str) -> Option<Source> {
    zinit_stdlib::SCRIPT.into_iter().find(|it| it.name() == name)
}

/// The file that a script at `source` means by `import "path"`.
pub(crate) fn beside(source: Option<&str>, path: &str) -> PathBuf {
    let here = source.and_then(|it| Path::new(it).parent()).unwrap_or(Path::new(""));
    let mut file = here.join(path);
    if file.extension().is_none_or(|it| it != "rhai") {
        file.as_mut_os_string().push(".rhai");
    }
    file
}

fn compiled(
    engine: &Engine,
    name: &str,
    text: &str,
) -> Result<(Shared<Module>, AST), Box<EvalAltResult>> {
    let mut ast = engine.compile(text).map_err(|it| {
        let place = EvalAltResult::ErrorParsing(*it.0, it.1).into();
        Box::new(EvalAltResult::ErrorInModule(name.to_owned(), place, Position::NONE))
    })?;
    ast.set_source(name);
    Ok((Module::eval_ast_as_new(Scope::new(), &ast, engine)?.into(), ast))
}

/// Whether the script may need the module: it mentions one of its functions (of its methods, if it has
/// nothing else), or does what could reach any function.
pub(crate) fn mentions(script: &str, source: &Source) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let words: HashSet<&str> = script.split(|c| !is_word(c)).collect();
    let methods = source.methods().filter(|_| source.functions().next().is_none());
    ["import", "eval"].iter().any(|it| words.contains(it))
        || source.functions().chain(methods).any(|it| words.contains(it))
}

/// Says which bundled module somebody most likely meant who imports what is not there.
fn meant(refusal: Refusal, name: &str) -> Refusal {
    match nearest(name, zinit_stdlib::SCRIPT.iter().map(Source::name)) {
        Some(near) => refusal.hint(format!("did you mean `{near}`?")),
        None => refusal,
    }
}
