//! From a service to what the keeper is asked to launch.

use std::path::Path;

use zinit_keeper::wire::{Launch, Output, Ready, Sockets};

use super::About;
use crate::event::Task;
use crate::identity;
use crate::spec::{LogMode, Readiness, Spec};
use crate::state::Service;

/// The largest launch that fits into a packet with all that belongs to it.
const LAUNCH_BYTES_MAX: usize =
    zinit_keeper::wire::PACKET_MAX - 3 * zinit_keeper::wire::NOTE_MAX - 4096;

/// A launch that can be asked for, and what of the configuration has no effect.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) launch: Launch,
    pub(super) warnings: Vec<String>,
}

/// What the process of a service is made of; why not, as half a sentence.
pub(super) fn of_service(
    service: &Service,
    incarnation: u64,
    (input, sockets): (bool, Option<Sockets>),
    about: &About,
) -> Result<Prepared, String> {
    let Service { name, spec, .. } = service;
    let ready = way_of(&spec.readiness, spec.watchdog_ms);
    let launch = Launch {
        service: name.to_string(),
        incarnation,
        argv: spec.argv(),
        ready,
        input,
        sockets,
        output: output_of(spec),
        ..common(spec)?
    };
    let mut prepared = Prepared { launch, warnings: Vec::new() };
    if spec.watchdog_ms > 0 {
        let usec = (spec.watchdog_ms * 1_000).to_string();
        prepared.launch.env.push(("WATCHDOG_USEC".to_owned(), usec));
    }
    for limit in identity::cgroup_files(&spec.run_as) {
        if about.controllers.iter().any(|it| it == limit.controller) {
            prepared.launch.cgroup.push((limit.file.to_owned(), limit.value));
        } else {
            let identity::CgroupFile { key, controller, .. } = limit;
            prepared.warnings.push(format!(
                "`{key}` of `{name}` has no effect: there is no cgroup with the controller \
                 `{controller}` here"
            ));
        }
    }
    if !about.understands(&prepared.launch.output) {
        prepared.launch.output = Output::Pipes;
        prepared.warnings.push(format!(
            "`log_to` of `{name}` has no effect: the keeper is of an older version until the next \
             start of everything"
        ));
    }
    fits(&prepared.launch)?;
    Ok(prepared)
}

/// What a command on behalf of a service is made of: the service's user, environment and directory.
/// What it says when it stops the service, or after that, is output of the service.
pub(super) fn of_task(
    service: &Service,
    task: Task,
    run: (String, u64),
    line: &str,
    about: &About,
) -> Result<Launch, String> {
    let argv = shlex::split(line).filter(|it| !it.is_empty());
    let argv = argv.ok_or_else(|| format!("`{line}` is no command line"))?;
    let output = match (task, output_of(&service.spec)) {
        (Task::Check, _) => Output::Null,
        (Task::Stop | Task::GiveUp, Output::Pipes) => Output::Of(service.name.to_string()),
        (Task::Stop | Task::GiveUp, other) => other,
    };
    let output = if about.understands(&output) { output } else { Output::Null };
    let (slot, incarnation) = run;
    let mut launch = Launch { service: slot, incarnation, argv, output, ..common(&service.spec)? };
    let pid = service.standing.process.map_or(0, |it| it.pid);
    launch.env.push(("MAINPID".to_owned(), pid.to_string()));
    launch.env.push(("ZINIT_SERVICE".to_owned(), service.name.to_string()));
    fits(&launch)?;
    Ok(launch)
}

/// Where what a service writes goes.
fn output_of(spec: &Spec) -> Output {
    match (&spec.log_to, spec.log.mode) {
        (Some(reader), _) => Output::To(reader.to_string()),
        (None, LogMode::None) => Output::Null,
        (None, LogMode::Ring | LogMode::File | LogMode::Stdout) => Output::Pipes,
    }
}

/// How a service says that it is ready, as far as the keeper has a part in it.
pub(super) fn way_of(readiness: &Readiness, watchdog_ms: i64) -> Ready {
    match readiness {
        Readiness::Fd(fd) => Ready::Fd(*fd),
        Readiness::Notify => Ready::Notify,
        Readiness::Lives | Readiness::Log(_) if watchdog_ms > 0 => Ready::Notify,
        Readiness::Lives | Readiness::Log(_) => Ready::Silent,
    }
}

/// What all processes of a service have in common.
fn common(spec: &Spec) -> Result<Launch, String> {
    let run_as = &spec.run_as;
    let resolved = identity::resolve(run_as, Path::new("/etc/passwd"), Path::new("/etc/group"))?;
    let mut env = resolved.env;
    env.extend(identity::env_files(run_as)?);
    env.extend(spec.env.iter().map(|(key, value)| (key.clone(), value.clone())));
    Ok(Launch {
        env,
        dir: spec.dir.clone(),
        identity: resolved.identity,
        limits: resolved.limits,
        umask: run_as.umask,
        nice: run_as.nice,
        oom_score_adj: run_as.oom_score_adj,
        no_new_privs: run_as.no_new_privs,
        ..Launch::default()
    })
}

fn fits(launch: &Launch) -> Result<(), String> {
    let length = serde_json::to_vec(launch).map_or(usize::MAX, |it| it.len());
    let fits = length <= LAUNCH_BYTES_MAX;
    fits.then_some(()).ok_or_else(|| "its command line and environment are too large".to_owned())
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::event::Tick;
    use crate::name::ServiceName;
    use crate::state::{Standing, Target};

    fn service(log_to: Option<&str>) -> Service {
        let name = |it: &str| ServiceName::parse(it).expect("a name");
        let spec = Spec { log_to: log_to.map(name), ..Spec::of_exec("true") };
        let standing = Standing::new(Tick(0), Target::Up);
        Service { name: name("web"), spec: Rc::new(spec), standing, waits_for: Vec::new() }
    }

    fn task(service: &Service, task: Task, about: &About) -> Output {
        let run = ("web/task".to_owned(), 1);
        of_task(service, task, run, "true", about).expect("it can be launched").output
    }

    #[test]
    fn a_command_writes_where_its_service_does_and_a_check_nowhere() {
        let about = About { version: 4, ..About::default() };
        let (own, led) = (service(None), service(Some("logger")));
        assert_eq!(task(&own, Task::Stop, &about), Output::Of("web".to_owned()));
        assert_eq!(task(&led, Task::GiveUp, &about), Output::To("logger".to_owned()));
        assert_eq!(task(&led, Task::Check, &about), Output::Null);
    }

    #[test]
    fn a_keeper_of_an_older_version_is_asked_for_nothing_that_it_does_not_know() {
        let about = About { version: 3, ..About::default() };
        let led = service(Some("logger"));
        let Prepared { launch, warnings } =
            of_service(&led, 1, (false, None), &about).expect("it can be");
        assert_eq!((launch.output, warnings.len()), (Output::Pipes, 1));
        assert_eq!(task(&service(None), Task::Stop, &about), Output::Null);
        assert_eq!(task(&led, Task::Stop, &about), Output::Null);
    }
}
