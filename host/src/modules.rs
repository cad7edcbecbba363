//! What `import` finds: the bundled modules, and files beside the script that imports them.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rhai::{Engine, EvalAltResult, Module, ModuleResolver, Position, Scope, Shared};
use zinit_stdlib::Source;

use crate::native::thrown;
use crate::refusal::{Kind, Refusal, nearest};
use crate::script::read;

/// Begins the source name of a bundled module, which no file is to be looked up for.
pub(crate) const BUNDLED: &str = "bundled:";

type Imported = Result<Shared<Module>, Box<EvalAltResult>>;

/// The modules of one engine, each compiled once, when it is first needed. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Modules(Rc<Shelf>);

#[derive(Default)]
struct Shelf {
    made: RefCell<BTreeMap<PathBuf, Shared<Module>>>,
    /// What is being imported right now, to see circles.
    open: RefCell<Vec<PathBuf>>,
}

impl Modules {
    /// A bundled module.
    pub(crate) fn bundled(&self, engine: &Engine, source: &Source) -> Imported {
        let key = format!("{BUNDLED}{}", source.path);
        self.once(Path::new(&key), || compiled(engine, &key, source.source))
    }

    fn file(&self, engine: &Engine, path: &Path) -> Imported {
        self.once(path, || {
            let text = read(path).map_err(thrown)?;
            compiled(engine, &path.to_string_lossy(), &text)
        })
    }

    fn once(&self, key: &Path, make: impl FnOnce() -> Imported) -> Imported {
        if let Some(module) = self.0.made.borrow().get(key) {
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
        self.0.made.borrow_mut().insert(key.to_owned(), Shared::clone(&module));
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
        let bundled = zinit_stdlib::SCRIPT.into_iter().find(|it| it.name() == path);
        let module = match bundled {
            Some(source) => self.bundled(engine, &source),
            None => self.file(engine, &beside(source, path)),
        };
        module.map_err(|it| EvalAltResult::ErrorInModule(path.to_owned(), it, pos).into())
    }
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

fn compiled(engine: &Engine, name: &str, text: &str) -> Imported {
    let mut ast = engine.compile(text).map_err(|it| {
        let place = EvalAltResult::ErrorParsing(*it.0, it.1).into();
        Box::new(EvalAltResult::ErrorInModule(name.to_owned(), place, Position::NONE))
    })?;
    ast.set_source(name);
    Ok(Module::eval_ast_as_new(Scope::new(), &ast, engine)?.into())
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

/// The bundled function that a script most likely meant, in case there is none of that name.
pub(crate) fn nearest_function(name: &str) -> Option<&'static str> {
    let known = zinit_stdlib::SCRIPT.iter();
    nearest(name, known.flat_map(|it| it.functions().chain(it.methods())))
}
