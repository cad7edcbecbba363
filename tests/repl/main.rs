//! The prompt in a real terminal, whose screen is read.
//!
//! `greeting` is about the banner, the prompt and the server; `first` about the script that is run before the
//! first prompt; `sitting` about texts and what they leave, `imports` about files of one's own in them;
//! `interrupts` about Ctrl-C; `slashes` about the commands of the shell, `saving` about the one that writes
//! the session; `keys` about editing lines; `memory` about the history; `words` about completion; `pictures`
//! about what is drawn; `plain` about places where nothing can be drawn; `endings` about how it is left, and
//! how the terminal is then.

mod endings;
mod first;
mod greeting;
mod imports;
mod interrupts;
mod keys;
mod memory;
mod pictures;
mod plain;
mod saving;
mod sitting;
mod slashes;
mod words;

use zinit_tests::daemon::Home;
use zinit_tests::screen::Screen;

/// A home without a server, and `zinit` in a terminal in it.
fn alone() -> (Home, Screen) {
    let home = Home::new();
    let screen = Screen::zinit(&home, 80, 24);
    (home, screen)
}

/// A home with a server and the services `web` and `worker`, which are up, and `zinit` in a terminal in it.
fn served() -> (Home, Screen) {
    let home = Home::new()
        .service("web", "exec: sleep 1000\n")
        .service("worker", "exec: sleep 1000\n")
        .start();
    home.up("web");
    home.up("worker");
    let screen = Screen::zinit(&home, 80, 24);
    (home, screen)
}
