//! One factory for every Rhai engine; roles differ only in the words they add.

use rhai::packages::{Package, StandardPackage};
use rhai::{Engine, Module, Shared};

thread_local! {
    /// Building the standard package costs a third of a millisecond, so a thread does it once.
    static STANDARD: Shared<Module> = StandardPackage::new().as_shared_module();
}

/// An engine with Rhai's standard library and nothing else: no file importer, no `print` target.
pub fn base() -> Engine {
    let mut engine = Engine::new_raw();
    STANDARD.with(|it| engine.register_global_module(Shared::clone(it)));
    engine.set_max_call_levels(64);
    engine.set_max_expr_depths(64, 32);
    engine
}
