//! The pipes of a service: what it writes to, and what others write to it.
//!
//! The keeper has both ends of each, so that neither side of one sees the other begin again. What a
//! process gets to write to is open for reading as well: it is its own reader when the keeper and
//! every brain are dead, and its writing never breaks.

use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::Mode;
use nix::unistd::pipe2;

use crate::launch::Failure;
use crate::pool::inode_of;
use crate::slot::{Slot, SlotId, Slots};
use crate::wire::{Launch, Output};

/// Both ends of a service's stdout and stderr. Brains get the reading ends.
pub(crate) struct Pipes {
    pub(crate) out: (OwnedFd, Rc<OwnedFd>),
    pub(crate) err: (OwnedFd, Rc<OwnedFd>),
    /// By which they are known, stdout's first.
    pub(crate) inodes: [u64; 2],
}

/// Both ends of what is a service's stdin. Each process gets an end that it shares with no other
/// service, whose flags would be its own too. The reader's is open for writing as well: it does not end
/// when the keeper is dead and nobody happens to write.
pub(crate) struct Input {
    pub(crate) reader: OwnedFd,
    pub(crate) writer: OwnedFd,
    pub(crate) inode: u64,
}

impl Pipes {
    fn new() -> nix::Result<Self> {
        let pair = || {
            let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
            fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
            let writer = opened_again(&writer, OFlag::O_RDWR).unwrap_or(writer);
            Ok((reader, Rc::new(writer)))
        };
        Ok(Self::of([pair()?, pair()?]))
    }

    fn of([out, err]: [(OwnedFd, Rc<OwnedFd>); 2]) -> Self {
        let inodes = [inode_of(&out.0), inode_of(&err.0)];
        Self { out, err, inodes }
    }

    /// Those of which a keeper before this one had both ends, and these are the reading ones.
    pub(crate) fn again(readers: [OwnedFd; 2]) -> Option<Self> {
        let [out, err] = readers.map(|reader| {
            fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).ok()?;
            let writer = opened_again(&reader, OFlag::O_RDWR)?;
            Some((reader, Rc::new(writer)))
        });
        Some(Self::of([out?, err?]))
    }

    /// That the process before did not want to wait in its writing is not the next one's wish.
    fn reset(&self) {
        for end in [&self.out.1, &self.err.1] {
            // Setting flags of one's own description cannot fail.
            let _ = fcntl(end.as_ref(), FcntlArg::F_SETFL(OFlag::empty()));
        }
    }

    /// What a process writes to.
    fn writers(&self) -> [Rc<OwnedFd>; 2] {
        [Rc::clone(&self.out.1), Rc::clone(&self.err.1)]
    }
}

impl Input {
    fn new() -> nix::Result<Self> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        Ok(Self { inode: inode_of(&reader), reader, writer })
    }

    /// One of which a keeper before this one had both ends, and this is an end.
    pub(crate) fn again(end: &OwnedFd) -> Option<Self> {
        let reader = opened_again(end, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?;
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::empty())).ok()?;
        let writer = opened_again(end, OFlag::O_RDWR)?;
        Some(Self { inode: inode_of(&reader), reader, writer })
    }

    fn reader(&self) -> nix::Result<OwnedFd> {
        opened_again(&self.reader, OFlag::O_RDWR).map_or_else(|| copy(&self.reader), Ok)
    }

    fn writer(&self) -> nix::Result<OwnedFd> {
        opened_again(&self.writer, OFlag::O_RDWR).map_or_else(|| copy(&self.writer), Ok)
    }
}

/// Where a launch reads and writes, made where it is not there yet; `None` is `/dev/null`.
pub(crate) fn of_launch(
    slots: &mut Slots,
    id: SlotId,
    launch: &Launch,
) -> Result<[Option<Rc<OwnedFd>>; 3], Failure> {
    let failed = |errno: Errno| ("pipe", errno as i32);
    let stdin = match launch.input {
        true => Some(Rc::new(input_of(slots, id).and_then(Input::reader).map_err(failed)?)),
        false => None,
    };
    let writers = writers(slots, id, &launch.output).map_err(failed)?;
    if let Some(slot) = slots.get_mut(id) {
        slot.writes_to = match &launch.output {
            Output::To(consumer) => Some(consumer.as_str().into()),
            Output::Pipes | Output::Null | Output::Of(_) => None,
        };
    }
    let [out, err] = writers.map_or([None, None], |it| it.map(Some));
    Ok([stdin, out, err])
}

fn writers(
    slots: &mut Slots,
    id: SlotId,
    output: &Output,
) -> nix::Result<Option<[Rc<OwnedFd>; 2]>> {
    match output {
        Output::Null => Ok(None),
        Output::Pipes => {
            let slot = slots.get_mut(id).ok_or(Errno::EINVAL)?;
            match &slot.pipes {
                Some(pipes) => pipes.reset(),
                None => slot.pipes = Some(Pipes::new()?),
            }
            Ok(slot.pipes.as_ref().map(Pipes::writers))
        }
        Output::To(consumer) => {
            // It was there when the launch was accepted; it may be forgotten since.
            let consumer = slots.obtain(consumer).map_err(|_| Errno::ENOSPC)?;
            let writer = Rc::new(input_of(slots, consumer)?.writer()?);
            Ok(Some([Rc::clone(&writer), writer]))
        }
        Output::Of(service) => {
            let slot = slots.find(service).and_then(|it| slots.get(it));
            Ok(slot.and_then(|it| it.pipes.as_ref()).map(Pipes::writers))
        }
    }
}

fn input_of(slots: &mut Slots, id: SlotId) -> nix::Result<&Input> {
    let slot = slots.get_mut(id).ok_or(Errno::EINVAL)?;
    if slot.input.is_none() {
        slot.input = Some(Box::new(Input::new()?));
    }
    slot.input.as_deref().ok_or(Errno::EINVAL)
}

/// A slot was removed. What processes write to it that live on is for the next service of its name;
/// what nobody but it has written to goes as well, if it was there for nothing else.
pub(crate) fn outlive(slots: &mut Slots, gone: Slot) {
    let writes = |it: &Slot, to: &str| it.writes_to.as_deref() == Some(to);
    if gone.input.is_some()
        && slots.iter().any(|it| it.lives() && writes(it, &gone.name))
        && let Ok(id) = slots.obtain(&gone.name)
        && let Some(slot) = slots.get_mut(id)
    {
        slot.input = gone.input;
    }
    if let Some(reader) = &gone.writes_to
        && let Some(id) = slots.find(reader)
        && slots.get(id).is_some_and(|it| !it.is_asked_for())
        && !slots.iter().any(|it| writes(it, reader))
    {
        slots.remove(id);
    }
}

/// An end of the same pipe with flags of its own; `None` where `/proc` is not there.
pub(crate) fn opened_again(end: &OwnedFd, flags: OFlag) -> Option<OwnedFd> {
    let path = format!("/proc/self/fd/{}", end.as_raw_fd());
    open(path.as_str(), flags | OFlag::O_CLOEXEC, Mode::empty()).ok()
}

fn copy(end: &OwnedFd) -> nix::Result<OwnedFd> {
    end.try_clone().map_err(|it| Errno::from_raw(it.raw_os_error().unwrap_or(0)))
}
