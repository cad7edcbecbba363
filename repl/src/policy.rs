//! `zinit policy`: who decides what, in whose words, and how to say it differently.

mod check;
mod new;

use std::fmt::Write as _;
use std::path::Path;

use clap::{Args, Subcommand};
use nu_ansi_term::{Color, Style};
use serde_json::{Value, json};
use zinit_host::policy::Sources;
use zinit_host::policy::index::{Function, Index, strategies};
use zinit_host::policy::told::{Answerer, By, InForce, Refused, Told, vet};
use zinit_host::refusal::{Kind, Refusal};
use zinit_host::rpc::client::Client;
use zinit_host::store::Store;

use crate::commands::{Context, Outcome};
use crate::highlight::highlighted;
use crate::render::{self, Paint};

/// What can be done with the policy.
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Lists every hook: what it decides, and who answers it
    List,
    /// Shows a function of the policy that is in force
    Show(Show),
    /// Writes a file with a copy of a bundled function and its tests, to start from
    New(new::New),
    /// Looks for everything that keeps a policy from being loaded, without a server
    Check(check::Check),
}

/// Which function to show.
#[derive(Args, Debug)]
pub(crate) struct Show {
    /// A hook, base::HOOK, FILE::FUNCTION or STRATEGY::FUNCTION
    name: String,
    /// The bundled one, whatever takes its place
    #[arg(long)]
    bundled: bool,
}

impl Policy {
    pub(crate) fn run(&self, cx: &Context) -> Outcome {
        match self {
            Self::List => list(cx),
            Self::Show(show) => show.run(cx),
            Self::New(new) => new.run(cx),
            Self::Check(check) => check.run(cx),
        }
    }
}

/// Where the files of the policy are.
fn config_dir(cx: &Context) -> &Path {
    cx.flags.config_dir.as_deref().unwrap_or(&cx.home.config_dir)
}

/// A client, if a server answers.
fn server(cx: &Context) -> Result<Option<Client>, Refusal> {
    match cx.connect() {
        Ok(client) => Ok(Some(client)),
        Err(refusal) if refusal.kind == Kind::NoServer => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

/// An answer of the server as what it is.
fn read<T: serde::de::DeserializeOwned>(answer: &Value) -> Result<T, Refusal> {
    T::deserialize(answer).map_err(|error| {
        Refusal::new(Kind::Internal, format!("cannot read the server's answer: {error}"))
            .hint("`zinit server renew` has a server of this version take over")
    })
}

fn list(cx: &Context) -> Outcome {
    let told = match server(cx)? {
        Some(mut client) => read(&client.call("policy.list", json!([]))?)?,
        None => of_files(config_dir(cx)),
    };
    cx.show(&json!(told), |paint| text(&told, config_dir(cx), paint))
}

/// What the files say, when no server can tell what is in force.
fn of_files(dir: &Path) -> Told {
    let store = Store::new(dir);
    let (files, mut problems) = store.policy_files();
    problems.extend(vet(&files));
    let specs = store.look().specs;
    let named = specs.into_iter().filter(|(_, spec)| !spec.policy.is_empty());
    let force = InForce {
        sources: Sources::of(&files),
        named: named.map(|(name, spec)| (name, spec.policy)).collect(),
        ..InForce::default()
    };
    let refused = (!problems.is_empty()).then_some(Refused { at_ms: 0, problems });
    Told { refused, ..Told::of(&force) }
}

/// What is in force, then each hook.
fn text(told: &Told, dir: &Path, paint: Paint) -> String {
    let mut text = head(told, dir, paint);
    for it in &told.hooks {
        text.push('\n');
        text += &answerer(it, dir, paint);
    }
    let strategies = strategies().collect::<Vec<_>>().join(", ");
    let _ = writeln!(text, "\nStrategies that a service or a policy may name: {strategies}");
    text + "`zinit policy show NAME` shows a function, or a whole strategy\n"
}

fn head(told: &Told, dir: &Path, paint: Paint) -> String {
    let since = match told.since_ms {
        0 => "no server answers, so this is what the files say".to_owned(),
        at => format!("in force since {}", render::clock(at)),
    };
    let mut text = format!("{} {}, {since}\n", paint.bold("Policy"), told.version);
    let files: Vec<_> = told.files.iter().map(|it| below(it, dir)).collect();
    let files = if files.is_empty() { "bundled only".to_owned() } else { files.join(", ") };
    let _ = writeln!(text, "  {files}");
    let warning = paint.on(Color::Yellow.bold(), "changed:");
    for path in &told.differs {
        let path = below(path, dir);
        let _ = writeln!(
            text,
            "{warning} {path} is not what is in force; `zinit reload` takes it over"
        );
    }
    if let Some(refused) = &told.refused {
        text += &refusal(refused, paint);
    }
    text
}

fn refusal(refused: &Refused, paint: Paint) -> String {
    let heading = paint.on(Color::Red.bold(), "refused:");
    let mut text = match refused.at_ms {
        0 => format!("{heading} a server would not take these files\n"),
        at => format!("{heading} {}, and the policy before goes on deciding\n", render::clock(at)),
    };
    for problem in &refused.problems {
        text += &render::refusal(problem, paint);
    }
    text
}

fn answerer(it: &Answerer, dir: &Path, paint: Paint) -> String {
    let mut text = format!("{}  {}\n", paint.bold(&it.signature), place(&it.by, dir, paint));
    let _ = writeln!(text, "    {}", it.doc);
    for own in &it.services {
        let service = paint.name(own.service.as_str());
        let _ = writeln!(text, "    {service}: {}  {}", own.function, place(&own.by, dir, paint));
    }
    text
}

/// Where a function stands, and how it does.
fn place(by: &By, dir: &Path, paint: Paint) -> String {
    let mut text = match (by.path.as_str(), by.bundled) {
        ("", _) => paint.on(Color::Red.normal(), "is not there"),
        (path, true) if path.contains("/strategies/") => format!("bundled, {path}:{}", by.line),
        (_, true) => paint.on(Style::new().dimmed(), "bundled"),
        (path, false) => {
            paint.on(Color::Green.normal(), &format!("{}:{}", below(path, dir), by.line))
        }
    };
    let times = if by.faults == 1 { "once".to_owned() } else { format!("{} times", by.faults) };
    if by.benched {
        let said = format!("failed {times}: the bundled one decides until the file changes");
        text += &format!(", {}", paint.on(Color::Red.normal(), &said));
    } else if by.faults > 0 {
        text += &format!(", {}", paint.on(Color::Yellow.normal(), &format!("failed {times}")));
    }
    text
}

/// A path as one sees it from the directory of the files.
fn below(path: &str, dir: &Path) -> String {
    let path = Path::new(path);
    path.strip_prefix(dir).unwrap_or(path).display().to_string()
}

impl Show {
    fn run(&self, cx: &Context) -> Outcome {
        let function: Function = match server(cx)? {
            Some(mut client) => {
                read(&client.call("policy.get", json!([self.name, self.bundled]))?)?
            }
            None => {
                let (files, _) = Store::new(config_dir(cx)).policy_files();
                Index::of(&files).get(&self.name, self.bundled)?.clone()
            }
        };
        cx.show(&json!(function), |paint| shown(&function, paint))
    }
}

fn shown(function: &Function, paint: Paint) -> String {
    let bundled = if function.bundled { " (bundled)" } else { "" };
    let place = format!("{}:{}{bundled}", function.path, function.line);
    let place = paint.on(Style::new().dimmed(), &format!("// {place}"));
    format!("{place}\n{}\n", highlighted(&function.source, paint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::PLAIN;

    fn by(path: &str, line: usize, faults: u32) -> By {
        By {
            bundled: path.starts_with("zinit/"),
            path: path.into(),
            line,
            faults,
            benched: faults > 2,
        }
    }

    #[test]
    fn the_list_says_who_answers_and_how_that_goes() {
        let problem = Refusal::new(Kind::BadConfig, "/etc/policy.rhai:1:2: no");
        let own = zinit_host::policy::told::Own {
            service: zinit_host::name::ServiceName::parse("web").expect("it is a name"),
            function: "mine".to_owned(),
            by: by("/etc/policy/web.rhai", 3, 0),
        };
        let hook = |by, services| Answerer {
            hook: "gives_up".into(),
            signature: "gives_up(service, attempt)".into(),
            doc: "Whether to stop.".into(),
            by,
            services,
        };
        let told = Told {
            version: "1234".into(),
            since_ms: 0,
            files: vec!["/etc/policy.rhai".into()],
            differs: vec!["/etc/policy.rhai".into()],
            refused: Some(Refused { at_ms: 0, problems: vec![problem] }),
            hooks: vec![
                hook(by("/etc/policy.rhai", 2, 1), vec![own]),
                hook(by("zinit/policy.rhai", 9, 0), vec![]),
                hook(by("/etc/policy.rhai", 2, 3), vec![]),
            ],
        };
        let expected = "\
            Policy 1234, no server answers, so this is what the files say\n  policy.rhai\n\
            changed: policy.rhai is not what is in force; `zinit reload` takes it over\n\
            refused: a server would not take these files\nerror: /etc/policy.rhai:1:2: no\n\n\
            gives_up(service, attempt)  policy.rhai:2, failed once\n    Whether to stop.\n    \
            web: mine  policy/web.rhai:3\n\n\
            gives_up(service, attempt)  bundled\n    Whether to stop.\n\n\
            gives_up(service, attempt)  policy.rhai:2, failed 3 times: the bundled one decides until \
            the file changes\n    Whether to stop.\n";
        let shown = text(&told, Path::new("/etc"), PLAIN);
        let (hooks, strategies) = shown.split_at(expected.len());
        assert_eq!(hooks, expected);
        assert!(strategies.contains("one_for_all"), "{strategies}");
    }
}
