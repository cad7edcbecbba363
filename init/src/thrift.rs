//! Gives back the memory that only the start needed.

use std::ffi::c_void;
use std::fs;
use std::ptr::NonNull;

use nix::sys::mman::{MmapAdvise, madvise};

/// Returns freed heap to the kernel, and unmaps the program text that the start has touched: parsers
/// of configuration and scripts, argument handling, and all that the kernel has mapped around them.
/// What is needed again comes back from the page cache at its next use.
#[expect(unsafe_code, reason = "the kernel is told about address ranges")]
pub fn give_back() {
    // SAFETY: malloc_trim takes no pointer and may be called at any time, by any thread.
    #[cfg(target_env = "gnu")]
    unsafe {
        nix::libc::malloc_trim(0);
    }
    for (start, length) in text_of_this_program() {
        let Some(start) = NonNull::new(start as *mut c_void) else { continue };
        // SAFETY: the range is a private mapping of this program's file that is executable and not
        // writable, so that it has no page of its own to lose: every page can be read again.
        // A range that is gone by now makes the call fail, and nothing else.
        let _ = unsafe { madvise(start, length, MmapAdvise::MADV_DONTNEED) };
    }
}

/// Address and length of the mappings of our own file that hold code.
fn text_of_this_program() -> Vec<(usize, usize)> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let me = fs::read_link("/proc/self/exe").unwrap_or_default();
    let text = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (range, rights) = (fields.next()?, fields.next()?);
        let ours = line.ends_with(me.to_str().filter(|it| !it.is_empty())?);
        let (start, end) = range.split_once('-')?;
        let number = |it| usize::from_str_radix(it, 16).ok();
        (ours && rights == "r-xp").then_some((number(start)?, number(end)? - number(start)?))
    };
    maps.lines().filter_map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_goes_on_after_it_has_given_back_its_text() {
        assert!(!text_of_this_program().is_empty());
        give_back();
        assert!(!text_of_this_program().is_empty());
    }
}
