//! The bundled Rhai modules of Zinit, embedded.

/// A bundled module.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// Its path below `stdlib/`, for messages.
    pub path: &'static str,
    /// Its text.
    pub source: &'static str,
}

macro_rules! source {
    ($path:literal) => {
        Source { path: $path, source: include_str!($path) }
    };
}

/// The modules that decide: the lifecycle table with its parts, and the functions that a user may replace.
pub const POLICY: [Source; 6] = [
    source!("zinit/lifecycle.rhai"),
    source!("zinit/upkeep.rhai"),
    source!("zinit/reasons.rhai"),
    source!("zinit/policy.rhai"),
    source!("zinit/order.rhai"),
    source!("xinit/policy.rhai"),
];

/// The modules that scripts are given: the words of the README, over the primitives of `host::`.
///
/// The examples in their doc comments are executed: those in a block marked `rhai` by the tests of
/// `zinit_host`, without a server; those marked `rhai,server` against a real one that runs a service
/// `web`.
pub const SCRIPT: [Source; 11] = [
    source!("zinit.rhai"),
    source!("zinit/builder.rhai"),
    source!("zinit/health.rhai"),
    source!("zinit/limits.rhai"),
    source!("zinit/wait.rhai"),
    source!("zinit/logs.rhai"),
    source!("zinit/shell.rhai"),
    source!("zinit/show.rhai"),
    source!("xinit.rhai"),
    source!("xinit/builder.rhai"),
    source!("xinit/service.rhai"),
];

/// Ready-made answers to several hooks at once, which a policy calls as `NAME::HOOK(...)` and a service
/// names in its `policy`.
pub const STRATEGIES: [Source; 9] = [
    source!("zinit/strategies/canary.rhai"),
    source!("zinit/strategies/decaying_score.rhai"),
    source!("zinit/strategies/maintenance_window.rhai"),
    source!("zinit/strategies/memory_ceiling.rhai"),
    source!("zinit/strategies/one_for_all.rhai"),
    source!("zinit/strategies/one_for_one.rhai"),
    source!("zinit/strategies/port_free.rhai"),
    source!("zinit/strategies/rest_for_one.rhai"),
    source!("zinit/strategies/restart_when_idle.rhai"),
];

impl Source {
    /// The last part of its name: what a strategy is called.
    pub fn stem(&self) -> &'static str {
        self.name().rsplit('/').next().unwrap_or_default()
    }

    /// What `import` calls it.
    pub fn name(&self) -> &'static str {
        self.path.trim_end_matches(".rhai")
    }

    /// The names of its public functions, without its methods.
    pub fn functions(&self) -> impl Iterator<Item = &'static str> {
        self.heads().filter(|it| !it.contains('.'))
    }

    /// The names of its public methods, without their types.
    pub fn methods(&self) -> impl Iterator<Item = &'static str> {
        self.heads().filter_map(|it| Some(it.split_once('.')?.1))
    }

    /// What stands between `fn` and the parameters, at the begin of a line.
    fn heads(&self) -> impl Iterator<Item = &'static str> {
        self.source.lines().filter_map(|it| Some(it.strip_prefix("fn ")?.split_once('(')?.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_knows_its_name_its_functions_and_its_methods() {
        let text = "fn a(x) {}\nprivate fn b() {}\nfn Service.c() {}";
        let source = Source { path: "zinit/x.rhai", source: text };
        assert_eq!(source.name(), "zinit/x");
        assert_eq!(source.functions().collect::<Vec<_>>(), ["a"]);
        assert_eq!(source.methods().collect::<Vec<_>>(), ["c"]);
    }
}
