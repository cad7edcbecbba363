//! What is wrong with a configuration directory or with scripts, told at once and without a server.
//!
//! A *problem* keeps the server from taking a file over; a *warning* is about something that will be
//! noticed only when a service is to start, and may well be fine on another machine.

mod scripts;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::sys::resource::getrlimit;
use nix::unistd::{geteuid, getuid};

use crate::graph::{Graph, Id, Need, path_of};
use crate::hooks;
use crate::identity;
use crate::name::ServiceName;
use crate::native::Session;
use crate::proxy::Proxy;
use crate::refusal::{Kind, Refusal, nearest};
use crate::script;
use crate::spec::{Spec, Status, comes_back, resource_of};
use crate::store::Store;
use crate::trial;

/// What was found in a directory.
#[derive(Debug, Default)]
pub struct Checked {
    /// How many services there are whose files are fine.
    pub services: usize,
    /// How many scripts there are that are fine, with those that they import; nothing if none was looked
    /// through.
    pub scripts: Option<usize>,
    /// What the server would refuse.
    pub problems: Vec<Refusal>,
    /// What will go wrong later, or looks like a slip.
    pub warnings: Vec<Refusal>,
}

impl Checked {
    fn add(&mut self, other: Self) {
        self.services += other.services;
        let both = self.scripts.zip(other.scripts).map(|(one, more)| one + more);
        self.scripts = both.or(self.scripts).or(other.scripts);
        for problem in other.problems {
            if !self.problems.contains(&problem) {
                self.problems.push(problem);
            }
        }
        self.warnings.extend(other.warnings);
    }
}

/// Looks through what stands at these paths: configuration directories, directories that hold scripts
/// and no configuration, scripts, and files of policies.
///
/// A file is one of a policy if it is called `policy.rhai` or stands in a directory `policy`, and then
/// its whole policy is looked through; or if it holds nothing but functions, and one of them takes the
/// place of a hook. Needs a deep stack ([`on_deep_stack`](crate::engine::on_deep_stack)).
pub fn check_all(session: &Rc<Session>, paths: &[PathBuf]) -> Checked {
    let (mut checked, mut scripts) = (Checked::default(), Vec::new());
    for path in paths {
        let found = if path.is_dir() { rhai_files(path) } else { Vec::new() };
        if !found.is_empty() && !is_config(path) {
            scripts.extend(found);
        } else if path.is_dir() {
            checked.add(check(path));
        } else if let Some(files) = policy_of(path) {
            checked.add(policies(&files));
        } else if is_yaml(path) && path.exists() {
            let message = format!("{} is no script", path.display());
            let hint = "`zinit check DIR` looks through the service files of a directory";
            checked.problems.push(Refusal::new(Kind::BadArgument, message).hint(hint));
        } else {
            scripts.push(path.clone());
        }
    }
    if !scripts.is_empty() {
        checked.add(scripts::check_scripts(session, &scripts));
    }
    checked
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|it| it == "yaml" || it == "yml")
}

fn files_in(dir: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(dir).into_iter().flatten().flatten().map(|it| it.path())
}

/// The scripts that `zinit DIR/` runs.
fn rhai_files(dir: &Path) -> Vec<PathBuf> {
    let is_script = |it: &PathBuf| it.extension().is_some_and(|it| it == "rhai") && it.is_file();
    let mut found: Vec<_> = files_in(dir).filter(is_script).collect();
    found.sort();
    found
}

fn is_config(dir: &Path) -> bool {
    let has_policy = dir.join("policy.rhai").exists() || dir.join("policy").is_dir();
    has_policy || files_in(dir).any(|it| is_yaml(&it))
}

/// The files of the policy that a file belongs to, if it does.
fn policy_of(path: &Path) -> Option<Vec<(PathBuf, String)>> {
    let text = script::read(path).ok()?;
    let in_place = path.parent().is_some_and(|it| it.ends_with("policy"));
    if path.extension().is_some_and(|it| it == "rhai")
        && (in_place || path.file_name().is_some_and(|it| it == "policy.rhai"))
    {
        return Some(Store::new(trial::config_dir(path)).policy_files().0);
    }
    let tree = rhai::Engine::new_raw().compile(&text).ok()?;
    let answers = |it: rhai::ScriptFnMetadata<'_>| {
        hooks::find(it.name).is_some_and(|hook| hook.params.len() == it.params.len())
    };
    let is_policy = tree.statements().is_empty() && tree.iter_functions().any(answers);
    is_policy.then(|| vec![(path.to_owned(), text)])
}

fn policies(files: &[(PathBuf, String)]) -> Checked {
    let problems = trial::vet(files).err().unwrap_or_default();
    let scripts = Some(if problems.is_empty() { files.len() } else { 0 });
    Checked { scripts, problems, ..Checked::default() }
}

/// Looks through a configuration directory: every service file, what they say of each other, the files
/// of proxies, and the policy, whose `test_*` functions are run. Nothing is changed and no server is asked.
pub fn check(dir: &Path) -> Checked {
    let store = Store::new(dir);
    let loaded = store.look();
    let mut checked =
        Checked { services: loaded.specs.len(), problems: loaded.problems, ..Checked::default() };
    for way in cycles(&loaded.specs) {
        checked.problems.push(cycle(&way, &loaded.specs));
    }
    checked.problems.extend(policy(&store));
    checked.problems.extend(crate::policy::told::strangers(&store, &loaded.specs));
    let files = Files { store: &store, specs: loaded.specs.iter().map(|(a, b)| (a, b)).collect() };
    checked.problems.extend(files.shared_dirs());
    checked.problems.extend(proxies(&store, &loaded.specs));
    for (name, spec) in &loaded.specs {
        let warn = |what: String, key: &str| files.refusal(name, key, &what);
        checked.problems.extend(files.loops(name, spec));
        checked.warnings.extend(files.strangers(name, spec));
        checked.warnings.extend(files.rivals(name, spec));
        checked.warnings.extend(programs(spec).map(|(key, what)| warn(what, key)));
        checked.warnings.extend(wishes(spec).into_iter().map(|(key, what)| warn(what, key)));
    }
    checked
}

/// The circles in which services wait for each other, each from a service back to itself. Where circles
/// overlap, there is at least one for each service that is on any.
pub fn cycles(specs: &[(ServiceName, Spec)]) -> Vec<Vec<ServiceName>> {
    let mut graph = Graph::default();
    let ids: BTreeMap<&ServiceName, Id> =
        specs.iter().map(|(name, _)| (name, graph.add())).collect();
    let mut after: BTreeMap<Id, Vec<(Id, Need)>> = BTreeMap::new();
    for (name, waits_for, _) in edges(specs) {
        if let (Some(one), Some(other)) = (ids.get(name), ids.get(waits_for)) {
            after.entry(*one).or_default().push((*other, Need::Up));
        }
    }
    for (id, after) in after {
        graph.set_needs(id, after);
    }
    let names: BTreeMap<Id, &ServiceName> = ids.iter().map(|(name, id)| (*id, *name)).collect();
    let (mut seen, mut ways) = (BTreeSet::new(), Vec::new());
    for id in names.keys() {
        let way = if seen.contains(id) { Vec::new() } else { graph.cycle(*id) };
        if !way.is_empty() {
            seen.extend(way.iter().copied());
            ways.push(way.iter().map(|it| names[it].clone()).collect());
        }
    }
    ways
}

/// Who cannot start without whom, and where that is said: the service and the key of its file.
fn edges(
    specs: &[(ServiceName, Spec)],
) -> impl Iterator<Item = (&ServiceName, &ServiceName, (&ServiceName, &'static str))> {
    specs.iter().flat_map(|(name, spec)| {
        let lists = [("after", &spec.after), ("requires", &spec.requires)];
        lists
            .into_iter()
            .flat_map(move |(key, names)| names.iter().map(move |other| (name, other, (name, key))))
    })
}

fn cycle(way: &[ServiceName], specs: &[(ServiceName, Spec)]) -> Refusal {
    let steps: BTreeSet<_> = way.windows(2).map(|it| (&it[0], &it[1])).collect();
    let said = edges(specs).filter(|(one, other, _)| steps.contains(&(*one, *other)));
    let places: Vec<String> =
        said.map(|(.., (file, key))| format!("`{key}` of `{file}`")).collect();
    let (first, path) = (&way[0], path_of(way));
    Refusal::new(Kind::BadConfig, format!("`{first}` waits for itself: {path}"))
        .hint(format!("take one of them out of {}", places.join(", ")))
        .with("service", first.as_str())
        .with("cycle", way.iter().map(ServiceName::as_str).collect::<Vec<_>>())
}

/// What is wrong with the policy.
fn policy(store: &Store) -> Vec<Refusal> {
    let (files, mut problems) = store.policy_files();
    problems.extend(trial::vet(&files).err().unwrap_or_default());
    problems
}

/// What is wrong with proxies: those in services' files beside each other, and those that have files.
fn proxies(store: &Store, specs: &[(ServiceName, Spec)]) -> Vec<Refusal> {
    let own: Vec<Proxy> = specs.iter().filter_map(|(name, spec)| Proxy::of(name, spec)).collect();
    let mut problems = Vec::new();
    for (at, proxy) in own.iter().enumerate() {
        // Of two that are in each other's way, one is told.
        if let Err(refusal) = proxy.vet(own[..at].iter()) {
            let path = store.found(&proxy.name).display().to_string();
            let message = format!("{path}: {}", refusal.message);
            let told = Refusal { message, ..refusal };
            problems.push(told.with("path", path).with("service", proxy.name.as_str()));
        }
    }
    problems.extend(store.load_proxies(specs).1);
    problems
}

/// What the files say of each other.
struct Files<'a> {
    store: &'a Store,
    specs: BTreeMap<&'a ServiceName, &'a Spec>,
}

impl Files<'_> {
    fn refusal(&self, name: &ServiceName, key: &str, what: &str) -> Refusal {
        let path = self.store.found(name).display().to_string();
        Refusal::new(Kind::BadConfig, format!("{path}: {what}"))
            .with("path", path)
            .with("service", name.as_str())
            .with("key", key)
    }

    /// Names that no file has.
    fn strangers(&self, name: &ServiceName, spec: &Spec) -> Vec<Refusal> {
        let named = relations(spec).into_iter().flat_map(|(key, names)| {
            names.iter().filter(|it| !self.specs.contains_key(it)).map(move |it| (key, it))
        });
        let told = named.map(|(key, other)| {
            let refusal =
                self.refusal(name, key, &format!("`{key}` names `{other}`, which has no file"));
            match nearest(other.as_str(), self.specs.keys().map(|it| it.as_str())) {
                Some(near) => refusal.hint(format!("did you mean `{near}`?")),
                None => refusal,
            }
        });
        told.collect()
    }

    /// Directories to which more than one service would log.
    fn shared_dirs(&self) -> Vec<Refusal> {
        let mut first: BTreeMap<&Path, &ServiceName> = BTreeMap::new();
        let mut told = Vec::new();
        for (name, spec) in self.specs.iter().filter(|(_, it)| !it.log.dir.is_empty()) {
            let dir = &spec.log.dir;
            match first.get(Path::new(dir)) {
                Some(other) => {
                    let what = format!("`{other}` logs to `{dir}` as well");
                    let hint = "give each of them a `dir` of its own";
                    told.push(self.refusal(name, "log", &what).hint(hint));
                }
                None => drop(first.insert(Path::new(dir), name)),
            }
        }
        told
    }

    /// What would read what it writes.
    fn loops(&self, name: &ServiceName, spec: &Spec) -> Option<Refusal> {
        let what = "its output would be its own input";
        let hint = "name another service in `log_to`";
        let reader = |it: &ServiceName| self.specs.get(it)?.log_to.as_ref();
        let loops = comes_back(name, spec.log_to.as_ref(), reader);
        loops.then(|| self.refusal(name, "log_to", what).hint(hint))
    }

    /// Conflicts that are there from the start.
    fn rivals(&self, name: &ServiceName, spec: &Spec) -> Vec<Refusal> {
        let begins = |it: &Spec| {
            it.status == Status::Start && it.xinit.as_ref().is_none_or(|it| !it.enabled)
        };
        let mut told = Vec::new();
        for other in &spec.conflicts {
            let key = "conflicts";
            if spec.requires.contains(other) || spec.after.contains(other) {
                let what = format!("it conflicts with `{other}`, without which it cannot start");
                told.push(self.refusal(name, key, &what));
            } else if self.specs.get(other).is_some_and(|it| begins(it) && begins(spec)) {
                let what = format!("it conflicts with `{other}`, and both start with the server");
                told.push(self.refusal(name, key, &what).hint("give one of them `status: stop`"));
            }
        }
        told
    }
}

fn relations(spec: &Spec) -> [(&'static str, &[ServiceName]); 6] {
    [
        ("after", &spec.after),
        ("requires", &spec.requires),
        ("wants", &spec.wants),
        ("log_to", spec.log_to.as_slice()),
        ("before", &spec.before),
        ("conflicts", &spec.conflicts),
    ]
}

/// Programs that are not where they are looked for, each with the key that names it.
fn programs(spec: &Spec) -> impl Iterator<Item = (&'static str, String)> {
    let lines =
        [("exec", &spec.exec), ("stop_cmd", &spec.stop_cmd), ("on_give_up", &spec.on_give_up)];
    lines.into_iter().filter_map(|(key, line)| {
        let program = shlex::split(line)?.into_iter().next()?;
        Some((key, missing(&program, spec)?))
    })
}

/// Why a program cannot be run, if it cannot. A `PATH` from an `env_file` is not looked at.
fn missing(program: &str, spec: &Spec) -> Option<String> {
    if program.contains('/') {
        let path = Path::new("/").join(&spec.dir).join(program);
        return match path.metadata() {
            Err(_) => Some(format!("there is no program `{}`", path.display())),
            Ok(about) if about.is_dir() => Some(format!("`{program}` is a directory")),
            Ok(_) if !is_program(&path) => Some(format!("`{program}` is not executable")),
            Ok(_) => None,
        };
    }
    let own = std::env::var("PATH").unwrap_or_default();
    let dirs = spec.env.get("PATH").unwrap_or(&own);
    let found = dirs.split(':').any(|it| is_program(&Path::new(it).join(program)));
    (!found).then(|| format!("there is no program `{program}` in PATH"))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

/// What a service wants of this machine and does not get, each with its key.
fn wishes(spec: &Spec) -> Vec<(&'static str, String)> {
    let mut told = Vec::new();
    let run_as = &spec.run_as;
    if !spec.dir.is_empty() && !Path::new("/").join(&spec.dir).is_dir() {
        told.push(("dir", format!("there is no directory `{}`", spec.dir)));
    }
    match identity::resolve(run_as, Path::new("/etc/passwd"), Path::new("/etc/group")) {
        Err(why) => told.push(("user", why)),
        Ok(it) if it.identity.is_some() && !geteuid().is_root() => {
            let uid = getuid();
            told.push(("user", format!("only root can run it as another user than {uid}")));
        }
        Ok(_) => {}
    }
    if let Err(why) = identity::env_files(run_as) {
        told.push(("env_file", why));
    }
    if !geteuid().is_root() {
        let above = run_as.limits.iter().filter_map(|(name, (_, hard))| {
            let (_, most) = getrlimit(resource_of(name)?).ok()?;
            (*hard > most)
                .then(|| ("limits", format!("only root can raise the limit `{name}` above {most}")))
        });
        told.extend(above);
        if run_as.nice.is_some_and(|it| it < 0) {
            told.push(("nice", "only root can go below 0 with `nice`".to_owned()));
        }
    }
    told
}
