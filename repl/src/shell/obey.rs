//! What the commands of the shell do.

use std::time::Duration;

use zinit_host::interrupt::Woken;
use zinit_host::refusal::{Kind, Refusal};
use zinit_host::script::{self, Ended};
use zinit_host::sitting::Came;
use zinit_host::words::Word;

use super::look::{Look, is_editable};
use super::slash::Slash;
use super::{Leaves, Room, at_home};
use crate::doc::{is_meant, unknown};
use crate::line::Keys;
use crate::show::text::visible_lines;
use crate::{line, render, show, usage};

type Obeyed = Result<Leaves, Refusal>;

impl Room<'_> {
    pub(super) fn obey(&mut self, slash: Slash<'_>) -> Obeyed {
        match slash {
            Slash::Load(path) => return self.load(path),
            Slash::Time(text) => return self.time(text),
            Slash::Watch(every, text) => return self.watch(every, text),
            Slash::Quit => return Ok(Some(self.goodbye())),
            Slash::Save(path) => self.record.save(&at_home(path))?,
            Slash::Edit(keys) => self.edit(keys)?,
            Slash::Clear if is_editable() => render::print("\x1b[H\x1b[2J\x1b[3J"),
            Slash::Clear => {}
            asked => {
                let look = Look::now();
                self.learn_functions();
                show::paged(&self.told(asked, look)?, look);
            }
        }
        Ok(None)
    }

    /// What is asked for and changes nothing.
    fn told(&self, asked: Slash<'_>, look: Look) -> Result<String, Refusal> {
        match asked {
            Slash::Functions(filter) => {
                let filter = filter.to_lowercase();
                let fits = |it: &Word| {
                    it.signature().to_lowercase().contains(&filter) || it.module.contains(&filter)
                };
                self.functions(fits, &filter, look)
            }
            Slash::Builder => self.functions(Word::is_of_record, "", look),
            Slash::Doc(name) => self.doc(name, look),
            Slash::Source(name) => self.source(name, look),
            Slash::Vars => {
                Ok(show::variables(self.sitting.engine(), &self.sitting.variables(), look))
            }
            Slash::History(filter) => Ok(visible_lines(&self.history(filter))),
            _ => Ok(show::help(&line::keys_told().collect::<Vec<_>>(), look)),
        }
    }

    fn functions(
        &self,
        fits: impl Fn(&Word) -> bool,
        filter: &str,
        look: Look,
    ) -> Result<String, Refusal> {
        let lexicon = self.lexicon.open();
        let found: Vec<&Word> = lexicon.functions().filter(|it| fits(it)).collect();
        if found.is_empty() {
            let message = format!("there is no function with `{filter}` in its name or module");
            return Err(Refusal::new(Kind::BadArgument, message));
        }
        Ok(show::functions(&found, look))
    }

    fn doc(&self, name: &str, look: Look) -> Result<String, Refusal> {
        let lexicon = self.lexicon.open();
        let found: Vec<&Word> = lexicon.functions().filter(|it| is_meant(it, name)).collect();
        if found.is_empty() {
            return Err(unknown(name, lexicon.functions()));
        }
        Ok(show::doc(&found, look))
    }

    fn source(&self, name: &str, look: Look) -> Result<String, Refusal> {
        let lexicon = self.lexicon.open();
        let all: Vec<&Word> = lexicon.functions().collect();
        show::source(name, &all, self.sitting.texts(), look)
            .ok_or_else(|| unknown(name, lexicon.functions()))
    }

    /// What was said, oldest first.
    fn history(&self, filter: &str) -> String {
        let all = self.lines.history();
        let fits = all.iter().enumerate().filter(|(_, it)| it.contains(filter));
        fits.map(|(at, it)| format!("{:>5}  {}\n", at + 1, it.replace('\n', "\n       "))).collect()
    }

    fn load(&mut self, path: &str) -> Obeyed {
        let path = at_home(path);
        let text = script::read_regular(&path)?;
        Ok(self.evaluate(Some(&path), script::without_shebang(&text)))
    }

    fn time(&mut self, text: &str) -> Obeyed {
        let leaves = self.evaluate(None, text);
        let took = self.took.unwrap_or_default();
        render::print(&format!("It took {}\n", render::took(took)));
        Ok(leaves)
    }

    /// Runs a text again and again until Ctrl-C.
    fn watch(&mut self, every: Duration, text: &str) -> Obeyed {
        let failed = |errno: nix::Error| Refusal::new(Kind::Internal, errno.desc());
        if is_editable() {
            render::print("\x1b[H\x1b[2J");
        }
        loop {
            let look = Look::now();
            let shown = match self.ran(None, text) {
                Came::To(value) => show::value(&self.sitting, value, look),
                Came::Short(Ended::Interrupted) => return Ok(None),
                Came::Short(Ended::Failed(refusal)) => render::refusal(&refusal, look.paint),
                came => return Ok(self.tell(came)),
            };
            let head = visible_lines(text);
            let head = format!("Every {}, until Ctrl+C: {head}\n\n", render::took(every));
            let placed = || usage::in_place(&format!("{head}{shown}"));
            render::print(&if is_editable() { placed() } else { shown.clone() });
            if self.terminal.interrupt.sleep(every).map_err(failed)? == Woken::Interrupted {
                return Ok(None);
            }
        }
    }

    fn edit(&mut self, keys: &str) -> Result<(), Refusal> {
        let keys = match keys {
            "vi" => Keys::Vi,
            "emacs" => Keys::Emacs,
            other => {
                let message = format!("nothing is edited by the keys of `{other}`");
                return Err(Refusal::new(Kind::BadArgument, message)
                    .hint("say `/edit emacs` or `/edit vi`"));
            }
        };
        self.lines.edit_by(keys);
        Ok(())
    }
}
