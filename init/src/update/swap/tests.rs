//! Whoever swaps may end between any two steps: the programs are of one version each, whole, and of
//! the same version once somebody has tidied up.

use super::*;

const OLD: &str = "the old program";
const NEW: &str = "the new program";

struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("zinit-swap-{}-{test}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("a temporary directory can be made");
        let scratch = Self(dir);
        for name in PROGRAMS {
            scratch.write(name, &format!("{OLD} {name}"));
            scratch.write(&format!("{name}.old"), "an older one");
            scratch.write(&format!(".{name}.new"), &format!("{NEW} {name}"));
        }
        scratch
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).expect("it is writable");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).expect("it is there")
    }

    fn record() -> Record {
        let program = |it: &str| Program {
            name: it.to_owned(),
            sha256: file::sha256(format!("{NEW} {it}").as_bytes()),
        };
        Record {
            version: Version::new(0, 4, 1),
            previous: "0.4.0".to_owned(),
            manifest: String::new(),
            programs: PROGRAMS.map(program).to_vec(),
        }
    }

    fn begin(&self) -> Swap {
        Swap::begin(&self.0, Self::record()).expect("it can be written down")
    }

    #[track_caller]
    fn all_are(&self, which: &str) {
        for name in PROGRAMS {
            assert_eq!(self.read(name), format!("{which} {name}"));
        }
    }

    #[track_caller]
    fn holds(&self, mut names: Vec<String>) {
        names.extend(PROGRAMS.map(str::to_owned));
        names.sort();
        let found = fs::read_dir(&self.0).expect("it is there").flatten();
        let mut found: Vec<_> =
            found.map(|it| it.file_name().to_string_lossy().into_owned()).collect();
        found.sort();
        assert_eq!(found, names);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn olds() -> Vec<String> {
    PROGRAMS.iter().map(|it| format!("{it}.old")).collect()
}

#[test]
fn a_swap_that_comes_to_its_end_keeps_the_old_programs() {
    let scratch = Scratch::new("whole");
    let swap = scratch.begin();
    swap.put().expect("nothing is in the way");
    swap.end().expect("nothing is in the way");
    scratch.all_are(NEW);
    assert_eq!(scratch.read("zinit.old"), format!("{OLD} zinit"));
    scratch.holds(olds());
    assert!(matches!(tidy(&scratch.0), Ok(Left::Nothing)));
}

#[test]
fn a_swap_that_is_undone_leaves_what_was_there() {
    let scratch = Scratch::new("undone");
    let swap = scratch.begin();
    swap.put().expect("nothing is in the way");
    swap.undo().expect("nothing is in the way");
    scratch.all_are(OLD);
    scratch.holds(Vec::new());
    swap.undo().expect("once more changes nothing");
    scratch.all_are(OLD);
}

#[test]
fn whoever_dies_between_two_steps_leaves_programs_of_one_version() {
    let steps = PROGRAMS.len() * 2;
    for done in 0..=steps {
        let scratch = Scratch::new(&format!("step-{done}"));
        let swap = scratch.begin();
        for step in 0..done {
            let name = PROGRAMS[step / 2];
            let step = if step % 2 == 0 { swap.keep(name) } else { swap.replace(name) };
            step.expect("nothing is in the way");
        }
        drop(swap);
        for name in PROGRAMS {
            let text = scratch.read(name);
            assert!([OLD, NEW].map(|it| format!("{it} {name}")).contains(&text), "{text}");
        }
        match tidy(&scratch.0).expect("it can be tidied up") {
            Left::Whole(swap) => {
                assert_eq!((done, &swap.record), (steps, &Scratch::record()));
                scratch.all_are(NEW);
                swap.undo().expect("it can still be undone");
            }
            Left::Undone(record) => assert_eq!(record, Scratch::record()),
            Left::Nothing => panic!("there is a record"),
        }
        scratch.all_are(OLD);
        assert!(matches!(tidy(&scratch.0), Ok(Left::Nothing)));
        assert!(!scratch.0.join(".zinit.new").exists());
    }
}

#[test]
fn a_program_that_cannot_be_put_in_place_takes_the_others_back() {
    let scratch = Scratch::new("refused");
    let swap = scratch.begin();
    fs::remove_file(new_of(&scratch.0, "zinit-updater")).expect("it is there");
    let no = swap.put().expect_err("one is missing");
    assert_eq!(
        no.message,
        "cannot put the new `zinit-updater` in place: no such file or directory"
    );
    scratch.all_are(OLD);
    assert!(matches!(tidy(&scratch.0), Ok(Left::Nothing)));
}

#[test]
fn an_update_after_one_that_was_undone_leaves_no_second_name_behind() {
    let scratch = Scratch::new("again");
    fs::remove_file(old_of(&scratch.0, "zinit")).expect("it is there");
    fs::hard_link(scratch.0.join("zinit"), old_of(&scratch.0, "zinit")).expect("it can be linked");
    let swap = scratch.begin();
    swap.put().expect("nothing is in the way");
    swap.end().expect("nothing is in the way");
    scratch.all_are(NEW);
    scratch.holds(olds());
}

#[test]
fn a_record_that_cannot_be_read_is_told() {
    let scratch = Scratch::new("torn");
    scratch.write(RECORD, "{");
    let no = tidy(&scratch.0).expect_err("it is torn");
    assert_eq!(no.kind, Kind::Storage);
    scratch.all_are(OLD);
}
