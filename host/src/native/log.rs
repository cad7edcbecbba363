//! What services wrote, on the output of a script.

use rhai::plugin::*;

/// Its words in `host::`.
#[export_module]
pub mod words {
    use std::io::{IsTerminal, stdout};

    use rhai::NativeCallContext;

    use crate::harmless::harmless;
    use crate::native::{Said, Session};

    /// Prints a line that a service wrote. On a terminal it may be in colour, and do nothing else: what
    /// would clear the screen or set a title is shown as `^[` and the like.
    ///
    /// ```rhai
    /// host::print_log("[+] web: ready") == ()
    /// ```
    #[rhai_fn(return_raw, volatile)]
    pub fn print_log(ctx: NativeCallContext<'_>, line: &str) -> Said<()> {
        let session = Session::of(&ctx)?;
        if !stdout().is_terminal() {
            session.print(line);
        } else if line.contains('\u{1b}') {
            // A colour that the service has begun ends with its line.
            session.print(&format!("{}\u{1b}[0m", harmless(line)));
        } else {
            session.print(&harmless(line));
        }
        Ok(())
    }
}
