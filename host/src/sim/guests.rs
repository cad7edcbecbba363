//! What tests say about the clients of services that are there on demand.

/// The words about clients.
#[rhai::plugin::export_module]
pub mod words {
    use crate::native::Said;
    use crate::sim::Sim;
    use crate::sim::values::parsed;
    use crate::sim::words::act;

    /// Somebody connects to a service that has `xinit`: it starts, if the policy wants that.
    ///
    /// ```rhai
    /// sim.service("db").xinit(#{ enabled: true, listen: ":1", backend: "127.0.0.1:2" }); sim.connect("db").advance(50).is_up("db")
    /// ```
    #[rhai_fn(return_raw)]
    pub fn connect(sim: &mut Sim, name: &str) -> Said<Sim> {
        let name = parsed(name)?;
        act(sim, |world| world.connect(&name))
    }

    /// Nobody has used it for a minute, with so many clients connected, all silent.
    ///
    /// ```rhai
    /// sim.service("db").xinit(#{ enabled: true, listen: ":1", backend: "127.0.0.1:2" }); sim.connect("db").advance(50).fall_idle("db", 0).state("db") == "Stopped"
    /// ```
    #[rhai_fn(return_raw)]
    pub fn fall_idle(sim: &mut Sim, name: &str, connections: i64) -> Said<Sim> {
        let name = parsed(name)?;
        act(sim, |world| world.fall_idle(&name, connections))
    }
}
