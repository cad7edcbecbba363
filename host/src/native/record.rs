//! Records: what a builder fills. A record is a reference, so that a chain of calls changes one
//! record and no copy of it; every method of it is Rhai (`stdlib/zinit/builder.rhai`).

use std::cell::RefCell;
use std::rc::Rc;

use rhai::plugin::*;
use rhai::{Dynamic, Engine, FuncRegistration, ImmutableString, Map, NativeCallContext};

use super::Said;

/// A service under construction.
#[derive(Clone, Debug, Default)]
pub struct Service(pub Rc<RefCell<Map>>);

/// A proxy under construction.
#[derive(Clone, Debug, Default)]
pub struct Proxy(pub Rc<RefCell<Map>>);

/// A kind of record.
pub trait Record: Clone + 'static {
    /// What scripts call it.
    const NAME: &'static str;

    /// The fields that were set.
    fn fields(&self) -> &Rc<RefCell<Map>>;
}

impl Record for Service {
    const NAME: &'static str = "Service";

    fn fields(&self) -> &Rc<RefCell<Map>> {
        &self.0
    }
}

impl Record for Proxy {
    const NAME: &'static str = "Proxy";

    fn fields(&self) -> &Rc<RefCell<Map>> {
        &self.0
    }
}

/// Its words in `host::`.
#[export_module]
pub mod words {
    use std::cell::RefCell;
    use std::rc::Rc;

    use rhai::Map;

    use super::{Proxy, Service};

    /// A new record with these fields: what `zinit_service_new()` hands out.
    ///
    /// ```rhai
    /// host::service(#{ exec: "true" })["exec"] == "true"
    /// ```
    pub fn service(fields: Map) -> Service {
        Service(Rc::new(RefCell::new(fields)))
    }

    /// A new record with these fields: what `xinit_proxy_new()` hands out.
    ///
    /// ```rhai
    /// host::proxy(#{ listen: ":80" })["listen"] == ":80"
    /// ```
    pub fn proxy(fields: Map) -> Proxy {
        Proxy(Rc::new(RefCell::new(fields)))
    }
}

/// Teaches an engine a kind of record: its fields by name (`()` for what is not set), all of them, how it
/// prints, and whether two are the same one.
pub fn teach<R: Record>(engine: &mut Engine) {
    let pure = |name: &str| FuncRegistration::new(name).with_purity(true);
    engine.register_type_with_name::<R>(R::NAME);
    FuncRegistration::new_index_getter()
        .with_purity(true)
        .register_into_engine(engine, |record: &mut R, key: &str| {
            record.fields().borrow().get(key).cloned().unwrap_or_default()
        });
    engine.register_indexer_set(|record: &mut R, key: &str, value: Dynamic| {
        record.fields().borrow_mut().insert(key.into(), value);
    });
    pure("to_map")
        .register_into_engine(engine, |record: &mut R| -> Map { record.fields().borrow().clone() });
    for name in ["to_string", "to_debug", "print", "debug"] {
        pure(name).register_into_engine(engine, printed::<R>);
    }
    pure("==").register_into_engine(engine, |one: &mut R, other: R| {
        Rc::ptr_eq(one.fields(), other.fields())
    });
}

fn printed<R: Record>(ctx: NativeCallContext<'_>, record: &mut R) -> Said<ImmutableString> {
    let mut fields = Dynamic::from(record.fields().borrow().clone());
    let fields: ImmutableString =
        ctx.call_native_fn_raw("to_debug", true, &mut [&mut fields])?.cast();
    Ok(format!("{} {fields}", R::NAME).into())
}
