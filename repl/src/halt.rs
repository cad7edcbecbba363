//! `zinit poweroff` and `zinit reboot`: what ends more than a server is confirmed first.

use std::io::{IsTerminal, stdin, stdout};

use clap::Args;
use serde_json::{Value, json};
use zinit_host::refusal::{Kind, Refusal};

use crate::commands::{Context, Outcome};
use crate::render;

/// What both are told.
#[derive(Args, Debug)]
pub(crate) struct Halt {
    /// Does not ask whether that is meant
    #[arg(short = 'y', long)]
    yes: bool,
}

/// What becomes of the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Poweroff,
    Reboot,
}

impl Way {
    fn method(self) -> &'static str {
        match self {
            Self::Poweroff => "system.poweroff",
            Self::Reboot => "system.reboot",
        }
    }

    fn question(self) -> &'static str {
        match self {
            Self::Poweroff => "Stop all services and switch this machine off? [y/N] ",
            Self::Reboot => "Stop all services and reboot this machine? [y/N] ",
        }
    }

    fn begun(self) -> &'static str {
        match self {
            Self::Poweroff => "powering off",
            Self::Reboot => "rebooting",
        }
    }
}

impl Halt {
    pub(crate) fn run(&self, cx: &Context, way: Way) -> Outcome {
        let mut client = cx.connect()?;
        let watched = stdin().is_terminal() && stdout().is_terminal();
        if watched && !self.yes && !is_meant(way) {
            return Err(Refusal::new(Kind::Forbidden, "nothing is done: it was not confirmed"));
        }
        let answer: Value = client.call(way.method(), json!([]))?;
        cx.show(&answer, |_| format!("The machine is {}\n", way.begun()))
    }
}

/// Asks whoever is at the terminal.
fn is_meant(way: Way) -> bool {
    render::print(way.question());
    let mut answer = String::new();
    let read = stdin().read_line(&mut answer);
    read.is_ok() && is_yes(&answer)
}

fn is_yes(answer: &str) -> bool {
    ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        assert!(is_yes("y\n") && is_yes(" Yes\n"));
        assert!(!is_yes("\n") && !is_yes("") && !is_yes("n\n") && !is_yes("yesterday\n"));
    }
}
