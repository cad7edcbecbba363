//! The service that looks for updates, when the server was started with `--updates PROGRAM`: it stands
//! in no file, lasts as long as brains are started with that flag, and is one over all of them.

use crate::core::Survivor;
use crate::name::ServiceName;
use crate::spec::Spec;
use crate::state::{Held, Target};

/// What that service is called. A file of this name takes its place.
const NAME: &str = "zinit-updater";

/// What is known of a service when a brain begins.
type Found = (ServiceName, Spec, Option<Survivor>);

/// Adds the service that `program` is to be run for, or takes away what an earlier brain has added.
pub(crate) fn settle(found: &mut Vec<Found>, program: Option<&str>) {
    let known = found.iter_mut().find(|(name, ..)| name.as_str() == NAME);
    match (known, program.and_then(service)) {
        // A file of that name, or what a client has made.
        (Some((_, spec, _)), _) if !is_ours(spec) => {}
        (Some((_, spec, Some(survivor))), Some(wanted)) => {
            if *spec != wanted {
                survivor.standing.held = Some(Held::Renew);
            }
            *spec = wanted;
            survivor.standing.leaving = false;
        }
        (Some((.., Some(survivor))), None) => {
            survivor.standing.leaving = true;
            survivor.standing.target = Target::Down;
        }
        (Some(_), _) | (None, None) => {}
        (None, Some(spec)) => {
            let name = ServiceName::parse(NAME).expect("it is a name");
            let place = found.partition_point(|(it, ..)| *it < name);
            found.insert(place, (name, spec, None));
        }
    }
}

/// Whether this is what an earlier brain has added.
fn is_ours(spec: &Spec) -> bool {
    spec.transient && spec.argv().get(1..).is_some_and(|it| it == ["watch"])
}

/// The service that runs this program; `None` when no command line can name it.
fn service(program: &str) -> Option<Spec> {
    let program = shlex::try_quote(program).ok()?;
    Some(Spec { transient: true, ..Spec::of_exec(&format!("{program} watch")) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Tick;
    use crate::state::Standing;

    fn survivor() -> Survivor {
        let standing = Standing::new(Tick(0), Target::Up);
        Survivor { standing, incarnation: 1, pid: 7, started: true, died: None, exit: None }
    }

    fn settled(known: Option<Spec>, program: Option<&str>) -> Vec<Found> {
        let name = |it| ServiceName::parse(it).expect("it is a name");
        let mut found = vec![(name("a"), Spec::of_exec("true"), None)];
        found.extend(known.map(|it| (name(NAME), it, Some(survivor()))));
        settle(&mut found, program);
        found
    }

    #[test]
    fn the_service_is_there_once_for_all_brains_that_have_the_flag() {
        let first = settled(None, Some("/opt/my tools/zinit-updater"));
        let [(_, a, _), (name, spec, None)] = first.as_slice() else { panic!("{first:?}") };
        assert!(!a.transient && spec.transient && name.as_str() == NAME);
        assert_eq!(spec.argv(), ["/opt/my tools/zinit-updater", "watch"]);
        let next = settled(Some(spec.clone()), Some("/opt/my tools/zinit-updater"));
        let [_, (_, same, Some(survivor))] = next.as_slice() else { panic!("{next:?}") };
        assert!(same == spec && survivor.standing.held.is_none());
    }

    #[test]
    fn another_program_takes_the_place_of_the_one_that_runs() {
        let next = settled(service("/old"), Some("/new"));
        let [_, (_, spec, Some(survivor))] = next.as_slice() else { panic!("{next:?}") };
        assert_eq!(spec.exec, "/new watch");
        assert_eq!(survivor.standing.held, Some(Held::Renew));
    }

    #[test]
    fn without_the_flag_it_goes() {
        let next = settled(service("/old"), None);
        let [_, (_, _, Some(survivor))] = next.as_slice() else { panic!("{next:?}") };
        assert!(survivor.standing.leaving && survivor.standing.target == Target::Down);
        assert_eq!(settled(None, None).len(), 1);
    }

    #[test]
    fn a_file_of_that_name_takes_its_place() {
        let next = settled(Some(Spec::of_exec("mine")), Some("/old"));
        let [_, (_, spec, Some(survivor))] = next.as_slice() else { panic!("{next:?}") };
        assert!(spec.exec == "mine" && !survivor.standing.leaving);
        assert_eq!(settled(Some(Spec::of_exec("mine")), None)[1].1.exec, "mine");
    }

    #[test]
    fn what_no_command_line_can_name_is_not_run() {
        assert_eq!(settled(None, Some("a\0b")).len(), 1);
    }
}
