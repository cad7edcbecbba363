//! Records: what a builder fills. A record is a reference, so that a chain of calls changes one
//! record and no copy of it; every method of it is Rhai (`stdlib/zinit/builder.rhai`).

use std::cell::RefCell;
use std::rc::Rc;

use rhai::Map;
use rhai::plugin::*;

/// A service under construction.
#[derive(Clone, Debug, Default)]
pub struct Service(pub Rc<RefCell<Map>>);

/// Its words in `host::`.
#[export_module]
pub mod words {
    use std::cell::RefCell;
    use std::rc::Rc;

    use rhai::Map;

    use super::Service;

    /// A new record with these fields: what `zinit_service_new()` hands out.
    ///
    /// ```rhai
    /// host::service(#{ exec: "true" })["exec"] == "true"
    /// ```
    pub fn service(fields: Map) -> Service {
        Service(Rc::new(RefCell::new(fields)))
    }
}

/// The fields of a record, and how it prints.
#[export_module]
pub mod access {
    use rhai::{Dynamic, ImmutableString, Map, NativeCallContext};

    use super::{Service, printed};
    use crate::native::Said;

    /// A field, or `()` if it is not set.
    #[rhai_fn(index_get, pure)]
    pub fn get(record: &mut Service, key: &str) -> Dynamic {
        record.0.borrow().get(key).cloned().unwrap_or_default()
    }

    /// Sets a field.
    #[rhai_fn(index_set)]
    pub fn set(record: &mut Service, key: &str, value: Dynamic) {
        record.0.borrow_mut().insert(key.into(), value);
    }

    /// All fields that were set.
    #[rhai_fn(pure)]
    pub fn to_map(record: &mut Service) -> Map {
        record.0.borrow().clone()
    }

    /// The record as text.
    #[rhai_fn(
        name = "to_string",
        name = "to_debug",
        name = "print",
        name = "debug",
        pure,
        return_raw
    )]
    pub fn to_string(ctx: NativeCallContext<'_>, record: &mut Service) -> Said<ImmutableString> {
        printed(&ctx, record)
    }

    /// Whether both are the same record.
    #[rhai_fn(name = "==", pure)]
    pub fn is_same(one: &mut Service, other: Service) -> bool {
        std::rc::Rc::ptr_eq(&one.0, &other.0)
    }
}

fn printed(
    ctx: &NativeCallContext<'_>,
    record: &mut Service,
) -> crate::native::Said<rhai::ImmutableString> {
    let mut fields = rhai::Dynamic::from(record.0.borrow().clone());
    let fields: rhai::ImmutableString =
        ctx.call_native_fn_raw("to_debug", true, &mut [&mut fields])?.cast();
    Ok(format!("Service {fields}").into())
}
