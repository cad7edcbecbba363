//! Processes of services that are not our children: a keeper before this one made them, and somebody
//! else reaps them. They are known and signalled by pidfd alone.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::epoll::{EpollEvent, EpollFlags};

use crate::clock;
use crate::keep::{FOREIGN, Keep, STRAYS};
use crate::slot::{Emptying, Life, SlotId};
use crate::who::{end_of, is_unreaped};
use crate::wire::Exit;

/// How long a zombie's reaper may take before its end is called unknown, and how often that is looked at.
const ZOMBIE: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(10);

/// Linux 6.9: the signal is for the group that the process leads, or led.
const PROCESS_GROUP: u32 = 1 << 2;

/// One that has ended and is not reaped: the slot, its incarnation, and until when it is waited for.
pub(crate) type Zombie = (SlotId, u64, Instant);

impl Keep {
    /// Waits for the end of a main process.
    pub(crate) fn watch_foreign(&mut self, id: SlotId) {
        let Some(Life::Up { pidfd, .. }) = self.slots.get(id).map(|it| &it.life) else { return };
        let event = EpollEvent::new(EpollFlags::EPOLLIN, FOREIGN + id as u64);
        if let Err(errno) = self.epoll.add(pidfd, event) {
            self.complaints.say(format_args!("cannot wait for a process: {errno}"));
        }
    }

    /// A main process has ended.
    pub(crate) fn hear_foreign(&mut self, id: SlotId) {
        let Some(slot) = self.slots.get(id).filter(|it| it.foreign) else { return };
        let Life::Up { pidfd, .. } = &slot.life else { return };
        let _ = self.epoll.delete(pidfd);
        self.zombies.push((id, slot.incarnation, clock::now() + ZOMBIE));
        self.look_at_zombies();
    }

    /// Looks how those ended that have. Until its reaper has been there, the kernel does not tell.
    pub(crate) fn look_at_zombies(&mut self) {
        for (id, incarnation, until) in std::mem::take(&mut self.zombies) {
            let Some(slot) = self.slots.get(id).filter(|it| it.incarnation == incarnation) else {
                continue;
            };
            let Life::Up { pidfd, .. } = &slot.life else { continue };
            let exit = end_of(pidfd, slot.pid);
            if exit == Exit::Unknown && is_unreaped(pidfd) && clock::now() < until {
                self.zombies.push((id, incarnation, until));
            } else {
                self.foreign_died(id, exit);
            }
        }
        self.zombies_at = (!self.zombies.is_empty()).then(|| clock::now() + LOOK);
    }

    fn foreign_died(&mut self, id: SlotId, exit: Exit) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        slot.life = Life::Emptying(Box::new(Emptying { exit, left: Vec::new(), events: None }));
        self.write_down_end(id);
        self.empties(id);
    }

    /// Waits for the ends of those who were found by their marks.
    pub(crate) fn watch_strays(&mut self) {
        for pidfd in self.kin.take_unwatched() {
            let _ = self.epoll.add(pidfd, EpollEvent::new(EpollFlags::EPOLLIN, STRAYS));
        }
    }
}

/// Signals the group that a process leads or led; false where the kernel cannot.
#[expect(unsafe_code, reason = "pidfd_send_signal has no wrapper")]
pub(crate) fn signal_group(pidfd: BorrowedFd<'_>, signal: i32) -> bool {
    let none = std::ptr::null::<libc::siginfo_t>();
    let (fd, number) = (pidfd.as_fd().as_raw_fd(), libc::SYS_pidfd_send_signal);
    // SAFETY: a null siginfo means that the kernel fills one in.
    let sent = unsafe { libc::syscall(number, fd, signal, none, PROCESS_GROUP) };
    Errno::result(sent).is_ok()
}
