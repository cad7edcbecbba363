//! One factory for every Rhai engine; roles differ only in the words they add.
//!
//! The policy role builds on [`pure`] (see [`policy`](crate::policy)); the script role is
//! [`script`]. An engine stays on the thread that made it, and that thread needs
//! [`STACK`](STACK_BYTES).

use std::rc::Rc;
use std::thread;

use rhai::packages::{
    ArithmeticPackage, BasicArrayPackage, BasicFnPackage, BasicIteratorPackage, BasicMapPackage,
    BasicMathPackage, BasicStringPackage, LogicPackage, MoreStringPackage, Package,
    StandardPackage,
};
use rhai::{Dynamic, Engine, Module, OptimizationLevel, Shared};
use rhai_fs::FilesystemPackage;
use zinit_stdlib::Source;

use crate::modules::{Modules, mentions};
use crate::native::{self, Session};

/// The stack that the deepest script needs.
pub const STACK_BYTES: usize = 16 << 20;

thread_local! {
    /// Building the standard package costs a third of a millisecond, so a thread does it once.
    static STANDARD: Shared<Module> = StandardPackage::new().as_shared_module();
}

/// Which bundled modules an engine is given.
#[derive(Clone, Copy, Debug)]
pub enum Words<'a> {
    /// Every one.
    All,
    /// Those that this script mentions a function of. Compiling the others would be a waste.
    MentionedBy(&'a str),
}

/// An engine that can compute and nothing else: what a policy runs on. It lacks the rest of the
/// standard library on purpose: one `sleep(60)` would stop supervision, and one `timestamp()` would
/// make decisions that no replay repeats.
pub fn pure() -> Engine {
    let mut engine = Engine::new_raw();
    for package in [
        ArithmeticPackage::new().as_shared_module(),
        LogicPackage::new().as_shared_module(),
        BasicMathPackage::new().as_shared_module(),
        BasicStringPackage::new().as_shared_module(),
        MoreStringPackage::new().as_shared_module(),
        BasicIteratorPackage::new().as_shared_module(),
        BasicFnPackage::new().as_shared_module(),
        BasicArrayPackage::new().as_shared_module(),
        BasicMapPackage::new().as_shared_module(),
    ] {
        engine.register_global_module(package);
    }
    engine.set_max_call_levels(64);
    engine.set_max_expr_depths(64, 32);
    engine
}

/// An engine with Rhai's standard library and nothing else: no file importer, no `print` target.
fn base() -> Engine {
    let mut engine = Engine::new_raw();
    STANDARD.with(|it| engine.register_global_module(Shared::clone(it)));
    engine.set_max_call_levels(64);
    engine.set_max_expr_depths(64, 32);
    engine
}

/// An engine for scripts: everything. It prints to standard output, imports files beside the script,
/// and stops when the session is interrupted.
///
/// # Panics
/// When a bundled module does not compile; the test suite sees to it that all do.
pub fn script(session: &Rc<Session>, words: Words<'_>) -> Engine {
    script_with(session, words, &Modules::default())
}

/// As [`script`], with modules that somebody else looks at as well.
pub(crate) fn script_with(session: &Rc<Session>, words: Words<'_>, modules: &Modules) -> Engine {
    let mut engine = base();
    engine.set_max_call_levels(128);
    engine.set_max_expr_depths(256, 128);
    engine.set_optimization_level(OptimizationLevel::None);
    FilesystemPackage::new().register_into_engine(&mut engine);
    native::teach(&mut engine, session);
    listen(&mut engine, session);
    engine.set_module_resolver(modules.clone());
    for source in zinit_stdlib::SCRIPT {
        if wanted(&source, words) {
            let module = modules.bundled(&engine, &source).expect("bundled modules compile");
            engine.register_global_module(module);
        }
    }
    engine
}

/// Runs something on a thread with a stack that is deep enough for scripts.
///
/// # Errors
/// When it panicked, or no thread could be made.
pub fn on_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> thread::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work);
        thread.map_err(|it| Box::new(it) as Box<_>)?.join()
    })
}

fn wanted(source: &Source, words: Words<'_>) -> bool {
    match words {
        Words::All => true,
        Words::MentionedBy(script) => mentions(script, source),
    }
}

fn listen(engine: &mut Engine, session: &Rc<Session>) {
    let on_progress = Rc::clone(session);
    engine.on_progress(move |_| {
        let over = on_progress.interrupt().is_raised() || on_progress.is_output_gone();
        over.then_some(Dynamic::UNIT)
    });
    let on_print = Rc::clone(session);
    engine.on_print(move |text| on_print.print(text));
    let on_debug = Rc::clone(session);
    engine.on_debug(move |text, _, _| on_debug.print(text));
}
