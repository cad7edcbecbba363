//! The interactive shell: reads a text, runs it, shows what it left, and does so again.
//!
//! `lines` has the texts from an editor ([`line`](crate::line) equips it), a dumb terminal or a pipe;
//! `slash` are the commands of the shell itself and `obey` does what they say, `known` is what the server
//! has, `prompt` what stands before a line, `lexicon` what can be said, `look` where things are shown,
//! `record` what was said, `terminal` how the terminal was before. What is shown of values and functions is
//! in [`show`](crate::show).

mod known;
pub(crate) mod lexicon;
mod lines;
pub(crate) mod look;
mod obey;
mod offspring;
mod prompt;
mod record;
pub(crate) mod slash;
mod terminal;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use zinit_host::engine;
use zinit_host::native::Session;
use zinit_host::refusal::{Kind, Refusal};
use zinit_host::script::{self, Ended};
use zinit_host::sitting::{Came, Sitting, Variable};
use zinit_host::words::{Word, vocabulary};

use crate::commands::{Context, Outcome};
use crate::line::Keys;
use crate::{render, show};
use known::{Answer, Known};
use lexicon::{Noun, Shared};
use lines::{Lines, Said};
pub(crate) use look::is_watched;
use look::{Look, is_editable};
use prompt::{Prompt, banner};
use record::Record;
use terminal::Terminal;

/// How long the first prompt waits for the server, and each other one.
const FIRST: Duration = Duration::from_millis(500);
const LATER: Duration = Duration::from_millis(20);

/// What the shell is told.
#[derive(Args, Debug, Default)]
pub(crate) struct Shell {
    /// Edits lines with the keys of vi; so does ZINIT_EDIT=vi
    #[arg(long)]
    vi: bool,
    /// What scripts find in `args`
    args: Vec<String>,
}

impl Shell {
    pub(crate) fn run(&self, cx: &Context) -> Outcome {
        let failed = |errno: nix::Error| Refusal::new(Kind::Internal, errno.desc());
        let terminal = Terminal::new().map_err(failed)?;
        let its = terminal.clone();
        let ended = engine::on_deep_stack(move || Room::new(self, cx, its).run());
        ended.unwrap_or_else(|_| {
            terminal.calm();
            Err(Refusal::new(Kind::Internal, "the shell broke down"))
        })
    }

    fn keys(&self) -> Keys {
        let wanted = std::env::var("ZINIT_EDIT").is_ok_and(|it| it == "vi");
        if self.vi || wanted { Keys::Vi } else { Keys::Emacs }
    }
}

/// Where somebody sits.
struct Room<'a> {
    cx: &'a Context,
    terminal: Terminal,
    sitting: Sitting,
    known: Known,
    lexicon: Shared,
    lines: Lines,
    record: Record,
    /// How long the last text took.
    took: Option<Duration>,
    /// Whether anything went wrong.
    failed: bool,
}

/// Whether the shell ends, and with which exit code.
type Leaves = Option<u8>;

impl<'a> Room<'a> {
    fn new(how: &Shell, cx: &'a Context, terminal: Terminal) -> Self {
        let (known, lexicon) = (Known::new(&cx.home.socket), Shared::default());
        let session = Session::new(&cx.home.socket, &terminal.interrupt);
        let sitting = Sitting::new(&session, &how.args);
        let lines = if is_editable() {
            let history = cx.home.state_dir.join("history");
            Lines::editor(&history, how.keys(), &lexicon, Look::now())
        } else {
            Lines::plain(is_watched(), &terminal.interrupt)
        };
        Self {
            cx,
            terminal,
            sitting,
            known,
            lexicon,
            lines,
            record: Record::default(),
            took: None,
            failed: false,
        }
    }

    fn run(mut self) -> Outcome {
        let mut answer = self.known.ask(FIRST);
        if is_watched() {
            render::print(&banner(&answer, Look::now()));
        }
        if let Some(code) = self.begin() {
            return Ok(code);
        }
        loop {
            self.learn(&answer);
            let prompt = Prompt::new(&answer, self.took.take());
            let text = match self.lines.next(&prompt)? {
                Said::Bye => return Ok(self.goodbye()),
                Said::Nothing => continue,
                Said::Text(text) => text,
            };
            if !text.trim().is_empty() {
                if let Some(code) = self.take(&text) {
                    return Ok(code);
                }
                if !matches!(slash::parse(&text), Ok(Some(slash::Slash::Clear))) {
                    space();
                }
            }
            answer = self.known.ask(LATER);
        }
    }

    /// Runs the script that the user wants to be run first, if there is one.
    fn begin(&mut self) -> Leaves {
        let path = self.cx.home.config_dir.parent()?.join("zinit_repl.rhai");
        match script::read_regular(&path) {
            Ok(text) => {
                let came = self.ran(Some(&path), &text);
                self.record.add(self.sitting.done(), Some(&path));
                self.took = None;
                if matches!(came, Came::To(_)) { None } else { self.tell(came) }
            }
            Err(_) if !path.exists() => None,
            Err(refusal) => self.complain(&refusal),
        }
    }

    fn take(&mut self, text: &str) -> Leaves {
        self.terminal.begin();
        let taken = match slash::parse(text) {
            Ok(Some(slash)) => self.obey(slash),
            Ok(None) => Ok(self.evaluate(None, text)),
            Err(refusal) => Err(refusal),
        };
        taken.unwrap_or_else(|refusal| self.complain(&refusal))
    }

    /// Runs a text, of a file or as it was said, and shows how it ended.
    fn evaluate(&mut self, file: Option<&Path>, text: &str) -> Leaves {
        let mut came = self.ran(file, text);
        self.record.add(self.sitting.done(), file);
        if let (Came::Short(Ended::Failed(refusal)), Some(it)) =
            (&mut came, slash::find(text.trim()))
        {
            refusal.hint = Some(format!("`/{}` {}", it.name, it.help));
        }
        self.tell(came)
    }

    fn ran(&mut self, file: Option<&Path>, text: &str) -> Came {
        let begun = now();
        let Self { terminal, sitting, .. } = self;
        let came = terminal.while_running(|| match file {
            Some(path) => sitting.run_file(path, text),
            None => sitting.run(text),
        });
        self.took = Some(begun.elapsed());
        came
    }

    fn tell(&mut self, came: Came) -> Leaves {
        match came {
            Came::To(value) => {
                let look = Look::now();
                show::paged(&show::value(&self.sitting, value, look), look);
            }
            Came::Short(Ended::Exited(code)) => return Some(code),
            Came::Short(Ended::Interrupted) => {
                self.failed = true;
                render::warn("interrupted");
            }
            Came::Short(Ended::Failed(refusal)) => return self.complain(&refusal),
            Came::Short(Ended::Done(_)) => {}
        }
        None
    }

    fn complain(&mut self, refusal: &Refusal) -> Leaves {
        self.failed = true;
        self.cx.flags.complain(refusal);
        None
    }

    /// Tells the editor of lines what can be said now.
    fn learn(&self, answer: &Answer) {
        if let Ok(told) = answer {
            let mut lexicon = self.lexicon.open();
            lexicon.services.clone_from(&told.services);
            lexicon.proxies.clone_from(&told.proxies);
        }
        if self.lines.are_edited() {
            self.learn_functions();
            self.lexicon.open().variables = self.sitting.variables().iter().map(noun).collect();
        }
    }

    /// Learns the functions, if that has not been necessary until now.
    fn learn_functions(&self) {
        let mut lexicon = self.lexicon.open();
        if lexicon.words.is_empty() {
            lexicon.words = vocabulary(self.sitting.engine());
        }
        lexicon.own = self.sitting.functions().map(|it| Word::of_script(&it, "here")).collect();
    }

    /// What somebody who leaves hears; whoever is a program hears whether all went well.
    fn goodbye(&self) -> u8 {
        if is_watched() {
            render::print("Goodbye!\n");
            return 0;
        }
        u8::from(self.failed)
    }
}

fn noun(it: &Variable<'_>) -> Noun {
    Noun {
        name: it.name.to_owned(),
        type_name: it.value.type_name().to_owned(),
        keys: lexicon::keys(it.value),
    }
}

/// A line between what was answered and the next prompt.
fn space() {
    if is_watched() {
        render::print("\n");
    }
}

/// A path, in which `~` is the home of the user.
fn at_home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(path),
    }
}

#[expect(clippy::disallowed_methods, reason = "how long something takes is what is asked")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
