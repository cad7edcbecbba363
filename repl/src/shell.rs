//! The interactive shell: reads a text, runs it, shows what it left, and does so again.
//!
//! `lines` has the texts from an editor ([`line`](crate::line) equips it), a dumb terminal or a pipe;
//! `slash` are the commands of the shell itself, `known` what the server has, `prompt` what stands before
//! a line, `lexicon` what can be said, `look` where things are shown, `terminal` how it was before.
//! What is shown of values and functions is in [`show`](crate::show).

pub(crate) mod known;
pub(crate) mod lexicon;
mod lines;
pub(crate) mod look;
mod prompt;
pub(crate) mod slash;
mod terminal;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use zinit_host::engine;
use zinit_host::interrupt::{Interrupt, Woken};
use zinit_host::native::Session;
use zinit_host::refusal::{Kind, Refusal};
use zinit_host::script::{self, Ended};
use zinit_host::sitting::{Came, Sitting, Variable};
use zinit_host::words::{Word, bundled, vocabulary};

use crate::commands::{Context, Outcome};
use crate::line::{Keys, keys};
use crate::{render, show};
use known::{Answer, Known};
use lexicon::{Noun, Shared};
use lines::{Lines, Said};
use look::{Look, is_editable};
use prompt::{Prompt, banner};
use slash::Slash;
use terminal::Terminal;

/// How long the first prompt waits for a server, and each other one.
const FIRST: Duration = Duration::from_millis(500);
const LATER: Duration = Duration::from_millis(20);

/// What messages call a text that was said.
const INPUT: &str = "input";

/// What the shell is told.
#[derive(Args, Debug, Default)]
pub(crate) struct Shell {
    /// Edits lines with the keys of vi
    #[arg(long)]
    vi: bool,
    /// What scripts find in `args`
    args: Vec<String>,
}

impl Shell {
    pub(crate) fn run(&self, cx: &Context) -> Outcome {
        let interrupt = interrupt()?;
        let work = || {
            let _terminal = Terminal::new();
            Room::new(self, cx, &interrupt).run()
        };
        engine::on_deep_stack(work)
            .unwrap_or_else(|_| Err(Refusal::new(Kind::Internal, "the shell broke down")))
    }
}

/// Where somebody sits.
struct Room<'a> {
    cx: &'a Context,
    interrupt: Arc<Interrupt>,
    sitting: Sitting,
    known: Known,
    lexicon: Shared,
    lines: Lines,
    /// What was run to its end.
    said: Vec<String>,
    /// How long the last one took.
    took: Option<Duration>,
    /// Whether anything went wrong.
    failed: bool,
}

/// How the shell ends, if it does.
type Leaves = Option<u8>;

impl<'a> Room<'a> {
    fn new(how: &Shell, cx: &'a Context, interrupt: &Arc<Interrupt>) -> Self {
        let known = Known::new(&cx.home.socket);
        let sitting = Sitting::new(&Session::new(&cx.home.socket, interrupt), &how.args);
        let lexicon = Shared::default();
        let is_vi = how.vi || std::env::var_os("ZINIT_EDIT").is_some_and(|it| it == "vi");
        let lines = if is_editable() {
            let keys = if is_vi { Keys::Vi } else { Keys::Emacs };
            let history = cx.home.state_dir.join("history");
            lexicon.open().words = vocabulary(sitting.engine());
            Lines::editor(&history, keys, &lexicon, Look::now())
        } else {
            Lines::plain(is_watched(), interrupt)
        };
        let interrupt = Arc::clone(interrupt);
        let (said, took, failed) = (Vec::new(), None, false);
        Self { cx, interrupt, sitting, known, lexicon, lines, said, took, failed }
    }

    fn run(mut self) -> Outcome {
        let mut answer = self.known.ask(FIRST);
        if is_watched() {
            render::print(&banner(&answer, Look::now()));
        }
        loop {
            self.learn(&answer);
            let prompt = Prompt::new(&answer, self.took.take());
            match self.lines.next(&prompt)? {
                Said::Bye => {
                    self.goodbye();
                    return Ok(u8::from(self.failed && !is_watched()));
                }
                Said::Nothing => {}
                Said::Text(text) if text.trim().is_empty() => {}
                Said::Text(text) => {
                    self.interrupt.clear();
                    let leaves = self.take(&text).unwrap_or_else(|refusal| self.complain(&refusal));
                    if let Some(code) = leaves {
                        return Ok(code);
                    }
                    self.space();
                }
            }
            answer = self.known.ask(LATER);
        }
    }

    fn take(&mut self, text: &str) -> Result<Leaves, Refusal> {
        match slash::parse(text)? {
            Some(slash) => self.obey(slash),
            None => Ok(self.evaluate(text)),
        }
    }

    fn evaluate(&mut self, text: &str) -> Leaves {
        let begun = now();
        let came = self.sitting.run(INPUT, text);
        self.took = Some(begun.elapsed());
        if matches!(came, Came::To(_)) {
            self.said.push(text.trim().to_owned());
        }
        self.tell(came)
    }

    /// Shows how a text ended.
    fn tell(&mut self, came: Came) -> Leaves {
        match came {
            Came::To(value) => {
                let look = Look::now();
                show::paged(&show::value(self.sitting.engine(), value, look), look);
            }
            Came::Short(Ended::Exited(code)) => return Some(code),
            Came::Short(Ended::Interrupted) => render::warn("interrupted"),
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

    fn obey(&mut self, slash: Slash<'_>) -> Result<Leaves, Refusal> {
        let look = Look::now();
        match slash {
            Slash::Help => show::paged(&help(), look),
            Slash::Functions(filter) => show::paged(&self.functions(filter, look)?, look),
            Slash::Builder => show::paged(&self.functions("builder", look)?, look),
            Slash::Doc(name) => show::paged(&self.doc(name, look)?, look),
            Slash::Source(name) => show::paged(&self.source(name)?, look),
            Slash::Vars => {
                let all = self.sitting.variables();
                show::paged(&show::variables(self.sitting.engine(), &all, look), look);
            }
            Slash::History(filter) => {
                let all = self.lines.history();
                let fits = all.iter().filter(|it| it.contains(filter));
                let shown: Vec<_> = fits.map(|it| it.replace('\n', "\n    ") + "\n").collect();
                show::paged(&shown.concat(), look);
            }
            Slash::Load(path) => return self.load(path),
            Slash::Save(path) => self.save(path)?,
            Slash::Time(text) => {
                let leaves = self.evaluate(text);
                if let Some(took) = self.took {
                    render::print(&format!("It took {}\n", prompt::shown(took)));
                }
                return Ok(leaves);
            }
            Slash::Watch(every, text) => return self.watch(every, text),
            Slash::Edit(keys) => self.edit(keys)?,
            Slash::Clear => render::print("\x1b[H\x1b[2J\x1b[3J"),
            Slash::Quit => {
                self.goodbye();
                return Ok(Some(0));
            }
        }
        Ok(None)
    }
}

/// What the commands do.
impl Room<'_> {
    /// Functions whose name or module has this in it.
    fn functions(&self, filter: &str, look: Look) -> Result<String, Refusal> {
        let lexicon = self.lexicon.open();
        let fits = |it: &&Word| it.signature().contains(filter) || it.module.contains(filter);
        let found: Vec<&Word> = lexicon.functions().filter(fits).collect();
        if found.is_empty() {
            let message = format!("there is no function with `{filter}` in its name");
            return Err(Refusal::new(Kind::BadArgument, message));
        }
        Ok(show::functions(&found, look))
    }

    fn doc(&self, name: &str, look: Look) -> Result<String, Refusal> {
        let lexicon = self.lexicon.open();
        let bare = name.trim_end_matches("()").rsplit(['.', ':']).next().unwrap_or(name);
        let found: Vec<&Word> = lexicon.functions().filter(|it| it.name == bare).collect();
        if found.is_empty() {
            return Err(self.unknown(name));
        }
        Ok(show::doc(&found, look))
    }

    fn source(&self, name: &str) -> Result<String, Refusal> {
        Err(self.unknown(name))
    }

    fn unknown(&self, name: &str) -> Refusal {
        Refusal::new(Kind::BadArgument, format!("there is no function `{name}`"))
    }

    fn load(&mut self, path: &str) -> Result<Leaves, Refusal> {
        let path = at_home(path);
        let text = script::read(&path)?;
        let came = self.sitting.run(&path.to_string_lossy(), &text);
        if matches!(came, Came::To(_)) {
            self.said.push(text.trim().to_owned());
        }
        Ok(self.tell(came))
    }

    /// Writes what was said as a script.
    fn save(&self, path: &str) -> Result<(), Refusal> {
        let path = at_home(path);
        let texts = self.said.iter().map(|it| {
            let end = if it.ends_with([';', '}']) { "\n" } else { ";\n" };
            format!("{it}{end}")
        });
        let text = format!("#!/usr/bin/env zinit\n{}", texts.collect::<String>());
        fs::write(&path, text).map_err(|error| {
            Refusal::new(Kind::Storage, format!("cannot write {}: {error}", path.display()))
        })?;
        render::print(&format!("Saved: {}\n", path.display()));
        Ok(())
    }

    fn watch(&mut self, every: Duration, text: &str) -> Result<Leaves, Refusal> {
        let failed = |errno: nix::Error| Refusal::new(Kind::Internal, errno.desc());
        loop {
            let came = self.sitting.run(INPUT, text);
            let over = !matches!(came, Came::To(_));
            render::print("\x1b[H\x1b[2J");
            let leaves = self.tell(came);
            if over || self.interrupt.sleep(every).map_err(failed)? == Woken::Interrupted {
                return Ok(leaves);
            }
        }
    }

    fn edit(&mut self, keys: &str) -> Result<(), Refusal> {
        let keys = match keys {
            "vi" | "vim" => Keys::Vi,
            "emacs" => Keys::Emacs,
            other => {
                let message = format!("`{other}` are no keys: say `emacs` or `vi`");
                return Err(Refusal::new(Kind::BadArgument, message));
            }
        };
        self.lines.edit_by(keys);
        Ok(())
    }

    /// Tells the editor of lines what can be said now.
    fn learn(&self, answer: &Answer) {
        let mut lexicon = self.lexicon.open();
        if let Ok(told) = answer {
            lexicon.services.clone_from(&told.services);
            lexicon.proxies.clone_from(&told.proxies);
        }
        lexicon.own = self.sitting.functions().map(|it| bundled(&it, "here")).collect();
        lexicon.variables = self.sitting.variables().iter().map(noun).collect();
    }

    fn space(&self) {
        if is_watched() {
            render::print("\n");
        }
    }

    fn goodbye(&self) {
        if is_watched() {
            render::print("Goodbye!\n");
        }
    }
}

fn noun(it: &Variable) -> Noun {
    let maps = match it.value.clone().into_array() {
        Ok(array) => array.into_iter().take(100).collect(),
        Err(_) => vec![it.value.clone()],
    };
    let maps = maps.into_iter().filter_map(|it| it.try_cast::<rhai::Map>());
    let mut keys: Vec<String> = maps.flat_map(|it| it.into_keys()).map(Into::into).collect();
    keys.sort();
    keys.dedup();
    Noun { name: it.name.clone(), type_name: it.value.type_name().to_owned(), keys }
}

fn help() -> String {
    let mut text = String::new();
    for it in slash::ENTRIES {
        let head = format!("/{} {}", it.name, it.args);
        text += &format!("  {head:<24} {}\n", it.help);
    }
    text += "\n";
    for (key, help) in keys::told() {
        text += &format!("  {key:<24} {help}\n");
    }
    text
}

/// A path, in which `~` is the home of the user.
fn at_home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(path),
    }
}

/// Whether somebody sits there.
pub(crate) fn is_watched() -> bool {
    use std::io::{IsTerminal, stdin, stdout};
    stdin().is_terminal() && stdout().is_terminal()
}

#[expect(clippy::disallowed_methods, reason = "how long something takes is what is asked")]
fn now() -> Instant {
    Instant::now()
}

/// Ctrl-C from now on ends what runs.
fn interrupt() -> Result<Arc<Interrupt>, Refusal> {
    let failed = |errno: nix::Error| Refusal::new(Kind::Internal, errno.desc());
    let interrupt = Interrupt::new().map_err(failed)?;
    interrupt.on_ctrl_c(|| ()).map_err(failed)?;
    Ok(interrupt)
}
