//! Laws of the journal as files: what is written is read, whatever breaks.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::chronicle::Change;

/// A state directory of its own, gone with the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let name = format!("zinit-journal-{name}-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn begin(&self) -> (Journal, Arc<Chronicle>) {
        let chronicle = Arc::new(Chronicle::new());
        let (way, refilled) = begin(&self.0, Arc::clone(&chronicle));
        refilled.recv().unwrap();
        (Journal::new(way), chronicle)
    }

    fn current(&self) -> PathBuf {
        dir_of(&self.0).join(CURRENT)
    }

    /// The numbers of the changes that can be read, and how many records are said to be missing.
    fn told(&self) -> (Vec<u64>, u64) {
        let (mut seqs, mut missing) = (Vec::new(), 0);
        let mut reader = Reader::default();
        for file in files(&dir_of(&self.0)).unwrap() {
            lines(&file, |line| match reader.read(line) {
                Some(Record::Changed(it)) => seqs.push(it.seq),
                Some(Record::Dropped(count)) => missing += count,
                _ => {}
            })
            .unwrap();
        }
        (seqs, missing)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::set_permissions(dir_of(&self.0), fs::Permissions::from_mode(0o700));
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn entry(seq: u64, why: &str) -> Entry {
    let service = ServiceName::parse("web").unwrap();
    let [from, to] = ["Spawned", "Running"].map(Into::into);
    let change = Change { service, from, to, why: why.into(), pid: 7, exit: String::new() };
    Entry { seq, at_ms: 1_000, change }
}

fn sources(text: &str, version: &str) -> Rc<Sources> {
    let files = vec![("/cfg/policy.rhai".into(), text.to_owned())];
    Rc::new(Sources { files, version: version.to_owned() })
}

#[test]
fn what_was_told_is_read_and_comes_back_into_the_chronicle() {
    let dir = Dir::new("told");
    let (mut journal, _) = dir.begin();
    for seq in 1..=3 {
        journal.changed(&entry(seq, "so"));
        assert_eq!(journal.flush(), None);
    }
    drop(journal);
    assert_eq!(dir.told(), (vec![1, 2, 3], 0));
    let mode = fs::metadata(dir.current()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (_journal, chronicle) = dir.begin();
    let back: Vec<u64> = chronicle.after(1, None).entries.iter().map(|it| it.seq).collect();
    assert_eq!(back, [2, 3]);
}

#[test]
fn a_torn_line_costs_only_itself() {
    let dir = Dir::new("torn");
    let (mut journal, _) = dir.begin();
    journal.changed(&entry(1, "so"));
    journal.changed(&entry(2, "so"));
    drop(journal);
    let text = fs::read(dir.current()).unwrap();
    fs::write(dir.current(), &text[..text.len() - 9]).unwrap();
    let (mut journal, chronicle) = dir.begin();
    assert_eq!(chronicle.after(0, None).entries.len(), 1);
    journal.changed(&entry(3, "so"));
    drop(journal);
    assert_eq!(dir.told(), (vec![1, 3], 0));
}

#[test]
fn a_large_segment_is_closed_compressed_and_stands_by_itself() {
    let dir = Dir::new("rotation");
    let (mut journal, _) = dir.begin();
    journal.decided_by(1, &sources("fn settle_ms(service) { 7 }", "v1"));
    let long = "x".repeat(64 << 10);
    let count = (SEGMENT_MAX >> 16) * 3;
    for seq in 1..=count {
        journal.changed(&entry(seq, &long));
        assert_eq!(journal.flush(), None);
        // It keeps up when it is let.
        while journal.way.shared.queued() > QUEUED_MAX / 2 {
            std::thread::yield_now();
        }
    }
    drop(journal);
    let files = files(&dir_of(&dir.0)).unwrap();
    assert_eq!(files.len(), 3, "{files:?}");
    assert!(files[..2].iter().all(|it| it.to_string_lossy().ends_with(".jsonl.zst")));
    assert_eq!(dir.told(), ((1..=count).collect(), 0));
    // The policy is known from each alone.
    fs::remove_file(&files[0]).unwrap();
    fs::remove_file(&files[1]).unwrap();
    let policy = last_policy(&dir.0).unwrap();
    assert_eq!(policy[0].1, "fn settle_ms(service) { 7 }");
}

#[test]
fn the_oldest_segments_are_removed() {
    let dir = Dir::new("pruned");
    let journal = dir_of(&dir.0);
    fs::create_dir_all(&journal).unwrap();
    for it in 0..SEGMENTS_MAX + 3 {
        fs::write(journal.join(format!("2026112{:02}.jsonl", it)), "{}\n").unwrap();
    }
    fs::write(journal.join("2026.jsonl.zst.part"), "half").unwrap();
    drop(dir.begin());
    let left = files(&journal).unwrap();
    assert_eq!(left.len(), SEGMENTS_MAX + 1, "{left:?}");
    assert!(left[0].to_string_lossy().ends_with("202611203.jsonl.zst"), "{left:?}");
    assert_eq!(fs::read_dir(&journal).unwrap().count(), SEGMENTS_MAX + 1);
}

#[test]
fn where_nothing_can_be_written_it_is_told_once_and_counted() {
    let dir = Dir::new("refused");
    // A directory stands where the file belongs: not even root can write there.
    fs::create_dir_all(dir.current()).unwrap();
    let (mut journal, _) = dir.begin();
    let mut complaints = Vec::new();
    for seq in 1..=3 {
        journal.changed(&entry(seq, "so"));
        complaints.extend(journal.flush());
        while journal.way.shared.queued() > 0 {
            std::thread::yield_now();
        }
    }
    fs::remove_dir(dir.current()).unwrap();
    for seq in 4..=5 {
        journal.changed(&entry(seq, "so"));
        complaints.extend(journal.flush());
    }
    drop(journal);
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    assert!(complaints[0].starts_with("the journal is incomplete: cannot write"), "{complaints:?}");
    let (seqs, missing) = dir.told();
    assert_eq!((seqs, missing), (vec![4, 5], 3));
}

#[test]
fn a_disk_that_does_not_keep_up_costs_records_and_no_memory() {
    let shared = Arc::new(Shared::default());
    let (queue, stuck) = mpsc::channel();
    let (tell_done, done) = mpsc::channel();
    let mut journal = Journal::new(Way { queue: Some(queue), shared, done });
    let long = "x".repeat(1 << 20);
    let mut complaints = Vec::new();
    for seq in 1..=20 {
        journal.changed(&entry(seq, &long));
        complaints.extend(journal.flush());
    }
    assert_eq!(complaints, ["the journal is incomplete: more is decided than can be written"]);
    let chunks: Vec<Chunk> = stuck.try_iter().collect();
    let bytes: usize = chunks.iter().map(|it| it.lines.len()).sum();
    assert!(chunks.len() == 7 && bytes <= QUEUED_MAX, "{} chunks", chunks.len());
    journal.way.shared.gives_back(bytes);
    journal.changed(&entry(21, "so"));
    journal.flush();
    let chunk = stuck.try_recv().unwrap();
    assert!(chunk.anew);
    assert!(String::from_utf8(chunk.lines).unwrap().contains("\"dropped\":13"));
    tell_done.send(()).unwrap();
}

#[test]
fn a_file_that_somebody_removes_is_made_again_with_all_that_readers_need() {
    let dir = Dir::new("removed");
    let (mut journal, _) = dir.begin();
    journal.decided_by(1, &sources("fn settle_ms(service) { 7 }", "v1"));
    journal.flush();
    while journal.way.shared.queued() > 0 {
        std::thread::yield_now();
    }
    fs::remove_file(dir.current()).unwrap();
    for seq in 1..=3 {
        journal.changed(&entry(seq, "so"));
        journal.flush();
        while journal.way.shared.queued() > 0 {
            std::thread::yield_now();
        }
    }
    drop(journal);
    assert_eq!(dir.told(), (vec![2, 3], 1));
    assert!(last_policy(&dir.0).is_some());
}
