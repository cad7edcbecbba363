//! The stack of a child until it has a program of its own.

use std::num::NonZeroUsize;
use std::ptr::NonNull;

use nix::libc::c_void;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};

/// Its size; a child needs less than a tenth of it.
const BYTES: usize = 32 * 1024;

/// Memory of its own, of which only what is touched costs anything.
pub(crate) struct Stack(NonNull<c_void>);

impl Stack {
    #[expect(unsafe_code, reason = "memory from the kernel")]
    pub(crate) fn new() -> nix::Result<Self> {
        let size = NonZeroUsize::new(BYTES).expect("it is not zero");
        let rights = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_STACK | MapFlags::MAP_NORESERVE;
        // SAFETY: new memory at an address that the kernel chooses.
        unsafe { mmap_anonymous(None, size, rights, flags) }.map(Self)
    }

    /// Its memory, from the end to which it grows.
    #[expect(unsafe_code, reason = "memory from the kernel")]
    pub(crate) fn words(&mut self) -> &mut [u128] {
        // SAFETY: mapped for as long as this lives, zero at first, and aligned to pages.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_ptr().cast(), BYTES / 16) }
    }

    /// Gives back what the last child has touched. To be called when none uses it.
    #[expect(unsafe_code, reason = "memory from the kernel")]
    pub(crate) fn give_back(&mut self) {
        // SAFETY: it is ours, and nobody remembers what was in it.
        let _ = unsafe { madvise(self.0, BYTES, MmapAdvise::MADV_DONTNEED) };
    }
}

impl Drop for Stack {
    #[expect(unsafe_code, reason = "memory from the kernel")]
    fn drop(&mut self) {
        // SAFETY: mapped by us, and nobody uses it any more.
        let _ = unsafe { munmap(self.0, BYTES) };
    }
}
