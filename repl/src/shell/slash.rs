//! The commands of the shell itself, which begin with a slash.

use std::time::Duration;

use zinit_host::refusal::{Kind, Refusal, nearest};
use zinit_host::spec::duration_ms;

/// A command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// Its name, without the slash.
    pub(crate) name: &'static str,
    /// Other names of it.
    pub(crate) also: &'static [&'static str],
    /// What follows it.
    pub(crate) args: &'static str,
    /// What it does.
    pub(crate) help: &'static str,
    /// What is asked by it, with what follows it.
    asks: Asks,
}

type Asks = for<'a> fn(&'a str) -> Slash<'a>;

const fn entry(name: &'static str, args: &'static str, help: &'static str, asks: Asks) -> Entry {
    Entry { name, also: &[], args, help, asks }
}

/// All of them.
pub(crate) const ENTRIES: [Entry; 14] = [
    entry("help", "", "shows keys and commands", |_| Slash::Help),
    entry("functions", "[FILTER]", "lists functions, by FILTER in their name or module", |it| {
        Slash::Functions(it)
    }),
    entry("doc", "NAME", "tells what a function does; NAME? is short for it", |it| Slash::Doc(it)),
    entry("source", "NAME", "shows the text of a function", |it| Slash::Source(it)),
    entry("vars", "", "lists the variables", |_| Slash::Vars),
    entry("history", "[FILTER]", "lists what was said before", |it| Slash::History(it)),
    entry("load", "FILE", "runs a script here", |it| Slash::Load(it)),
    entry("save", "FILE", "writes what was said here to a script that can be run", |it| {
        Slash::Save(it)
    }),
    entry("time", "TEXT", "runs this, and tells how long it took", |it| Slash::Time(it)),
    entry("watch", "[EVERY] TEXT", "runs this every 2s, or EVERY, until Ctrl+C", watch),
    entry("edit", "[emacs | vi]", "edits lines with the keys of emacs or vi", |it| Slash::Edit(it)),
    entry("clear", "", "clears the screen", |_| Slash::Clear),
    entry("builder", "", "lists the methods of services and proxies", |_| Slash::Builder),
    Entry { also: &["exit", "q"], ..entry("quit", "", "leaves; so does Ctrl+D", |_| Slash::Quit) },
];

/// What is asked of the shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Slash<'a> {
    Help,
    Functions(&'a str),
    Doc(&'a str),
    Source(&'a str),
    Vars,
    History(&'a str),
    Load(&'a str),
    Save(&'a str),
    Time(&'a str),
    Watch(Duration, &'a str),
    Edit(&'a str),
    Clear,
    Builder,
    Quit,
}

/// Whether a line is a command of the shell, and no comment.
pub(crate) fn is_slash(line: &str) -> bool {
    line.trim_start()
        .strip_prefix('/')
        .is_some_and(|it| it.starts_with(|it: char| it.is_alphabetic()))
}

/// What a line asks of the shell; nothing if it is a script.
pub(crate) fn parse(line: &str) -> Result<Option<Slash<'_>>, Refusal> {
    let line = line.trim();
    if let Some(name) = line.strip_suffix('?').filter(|it| is_asked_for(it)) {
        return Ok(Some(Slash::Doc(name)));
    }
    if !is_slash(line) {
        return Ok(None);
    }
    let (word, rest) = line[1..].split_once(char::is_whitespace).unwrap_or((&line[1..], ""));
    let rest = rest.trim();
    let Some(entry) = find(word) else {
        return Err(unknown(word));
    };
    // What may be left out stands in brackets.
    if !entry.args.is_empty() && !entry.args.ends_with(']') && rest.is_empty() {
        return Err(bad(format!("`/{word}` needs more: /{word} {}", entry.args)));
    }
    if entry.args.is_empty() && !rest.is_empty() {
        return Err(bad(format!("`/{word}` takes nothing, and is given `{rest}`")));
    }
    Ok(Some((entry.asks)(rest)))
}

/// The command of this name, without the slash.
pub(crate) fn find(word: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|it| it.name == word || it.also.contains(&word))
}

/// How often it is run again if nothing is said of that.
const EVERY: Duration = Duration::from_secs(2);

fn watch(rest: &str) -> Slash<'_> {
    let Some((first, text)) = rest.split_once(char::is_whitespace) else {
        return Slash::Watch(EVERY, rest);
    };
    // A number may also begin a calculation, in which no name follows.
    let is_time = first.ends_with(char::is_alphabetic)
        || text.trim_start().starts_with(|it: char| it.is_alphabetic() || it == '_');
    let ms = duration_ms(first).ok().filter(|_| is_time);
    match ms.and_then(|it| u64::try_from(it).ok()) {
        Some(ms) => Slash::Watch(Duration::from_millis(ms.max(100)), text.trim()),
        None => Slash::Watch(EVERY, rest),
    }
}

/// Whether a function may be asked for like this: `name`, `name()`, `.name`, `Type.name`, `module::name`.
fn is_asked_for(text: &str) -> bool {
    let text = text.trim_end().trim_end_matches("()");
    let text = text.strip_prefix('.').unwrap_or(text);
    text.split("::").flat_map(|it| it.split('.')).all(is_name)
}

/// Whether this is a word that can be the name of something.
pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|it: char| it.is_alphabetic() || it == '_')
        && text.chars().all(|it| it.is_alphanumeric() || it == '_')
}

fn unknown(word: &str) -> Refusal {
    let refusal = bad(format!("there is no command `/{word}`"));
    match nearest(word, ENTRIES.iter().flat_map(|it| it.also.iter().copied().chain([it.name]))) {
        Some(near) => refusal.hint(format!("did you mean `/{near}`?")),
        None => refusal.hint("`/help` lists the commands"),
    }
}

fn bad(message: String) -> Refusal {
    Refusal::new(Kind::BadArgument, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(line: &str) -> Option<Slash<'_>> {
        parse(line).expect("it is understood")
    }

    fn refused(line: &str) -> String {
        let it = parse(line).expect_err("it is not understood");
        format!("{}; {}", it.message, it.hint.unwrap_or_default())
    }

    #[test]
    fn a_line_is_a_command_or_a_script() {
        assert_eq!(meant("/help"), Some(Slash::Help));
        assert_eq!(meant(" /q "), Some(Slash::Quit));
        assert_eq!(meant("/functions web"), Some(Slash::Functions("web")));
        assert_eq!(meant("/time sleep(1)"), Some(Slash::Time("sleep(1)")));
        for script in ["// help", "/* help */", "1 / 2", "zinit_list()", "", "/", "a ? b"] {
            assert_eq!(meant(script), None, "{script}");
        }
    }

    #[test]
    fn a_name_with_a_question_mark_is_asked_for() {
        for name in ["zinit_list", ".env", "host::tcp", "Service.env", "sleep()"] {
            assert_eq!(meant(&format!("{name}?")), Some(Slash::Doc(name)), "{name}");
        }
        assert_eq!(meant("x + y?"), None);
    }

    #[test]
    fn how_often_is_said_first() {
        assert_eq!(meant("/watch zinit_list()"), Some(Slash::Watch(EVERY, "zinit_list()")));
        let every = Duration::from_millis(500);
        assert_eq!(meant("/watch 500ms 1 + 1"), Some(Slash::Watch(every, "1 + 1")));
        let every = Duration::from_secs(3);
        assert_eq!(meant("/watch 3 zinit_list()"), Some(Slash::Watch(every, "zinit_list()")));
        assert_eq!(meant("/watch 1 + 1"), Some(Slash::Watch(EVERY, "1 + 1")));
    }

    #[test]
    fn a_typo_is_told() {
        assert_eq!(refused("/hlep"), "there is no command `/hlep`; did you mean `/help`?");
        assert_eq!(refused("/load"), "`/load` needs more: /load FILE; ");
        assert_eq!(refused("/watch"), "`/watch` needs more: /watch [EVERY] TEXT; ");
        assert_eq!(refused("/vars x"), "`/vars` takes nothing, and is given `x`; ");
    }

    #[test]
    fn the_table_of_the_readme_is_this_one() {
        let readme = include_str!("../../../README.md");
        let (_, chapter) = readme.split_once("\n## The prompt\n").expect("there is the chapter");
        let (chapter, _) = chapter.split_once("\n## ").expect("there is one after it");
        let rows = chapter.lines().filter(|it| it.starts_with("| `/"));
        let said: Vec<&str> = rows.flat_map(|it| it.split('`').skip(1).step_by(2)).collect();
        let said: Vec<&str> = said.into_iter().filter(|it| it.starts_with('/')).collect();
        for line in &said {
            let asked = parse(line).map_err(|it| it.message);
            assert!(matches!(asked, Ok(Some(_))), "{line}: {asked:?}");
        }
        for it in &ENTRIES {
            let whole = format!("/{} {}", it.name, it.args).trim_end().to_owned();
            // What can be chosen from has its words told one by one.
            let choices = it.args.trim_matches(['[', ']']).split(" | ");
            let all = choices.map(|choice| format!("/{} {choice}", it.name)).collect::<Vec<_>>();
            let is_told = |it: &String| said.contains(&it.trim_end());
            assert!(is_told(&whole) || all.iter().all(is_told), "{whole}: {said:?}");
        }
    }
}
