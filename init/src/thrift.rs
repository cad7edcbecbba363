//! Gives back the memory that only the start needed.

use std::ffi::c_void;
use std::fs;
use std::ptr::NonNull;

use nix::sys::mman::{MmapAdvise, madvise};

/// Returns freed heap to the kernel, and unmaps what the start has read of this program and its
/// libraries: parsers of configuration and scripts, argument handling, tables for the linker, and all that
/// the kernel has mapped around them. What is needed again comes back from the page cache at its next use.
#[expect(unsafe_code, reason = "the kernel is told about address ranges")]
pub fn give_back() {
    // SAFETY: malloc_trim takes no pointer and may be called at any time, by any thread.
    #[cfg(target_env = "gnu")]
    unsafe {
        nix::libc::malloc_trim(0);
    }
    for (start, length) in unchanged(&fs::read_to_string("/proc/self/maps").unwrap_or_default()) {
        let Some(start) = NonNull::new(start as *mut c_void) else { continue };
        // SAFETY: the range is a private mapping of a file that nobody has ever written to, so that it
        // has no page of its own to lose: every page can be read again. A range that is gone by now
        // makes the call fail, and nothing else.
        let _ = unsafe { madvise(start, length, MmapAdvise::MADV_DONTNEED) };
    }
}

/// Address and length of the mappings that are as their files are: those of a program or a library up to
/// its code. What comes after that in a file, be it read-only now, the linker may have changed.
fn unchanged(maps: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut past_code = "";
    let mut before_code: Vec<(&str, (usize, usize))> = Vec::new();
    for line in maps.lines() {
        let mut fields = line.split_ascii_whitespace();
        let (Some(range), Some(rights)) = (fields.next(), fields.next()) else { continue };
        let Some(path) = fields.nth(3).filter(|it| it.starts_with('/')) else { continue };
        let number = |it| usize::from_str_radix(it, 16).ok();
        let ends = range.split_once('-').and_then(|(a, b)| Some((number(a)?, number(b)?)));
        let Some((start, end)) = ends.filter(|_| path != past_code) else { continue };
        before_code.retain(|(other, _)| *other == path);
        match rights {
            "r--p" => before_code.push((path, (start, end - start))),
            "r-xp" => {
                found.extend(before_code.drain(..).map(|(_, range)| range));
                found.push((start, end - start));
                past_code = path;
            }
            _ => past_code = path,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_goes_on_after_it_has_given_back_what_it_was_read_from() {
        give_back();
        let maps = fs::read_to_string("/proc/self/maps").expect("it is there");
        assert!(!unchanged(&maps).is_empty());
        give_back();
    }

    #[test]
    fn what_a_linker_may_have_written_to_is_left_alone() {
        let maps = "\
10000-20000 r--p 00000000 08:01 1 /bin/x
20000-30000 r-xp 00010000 08:01 1 /bin/x
30000-40000 r--p 00020000 08:01 1 /bin/x
40000-50000 rw-p 00030000 08:01 1 /bin/x
50000-60000 rw-p 00000000 00:00 0 [heap]
70000-80000 r--p 00000000 08:01 2 /share/data
90000-a0000 r--p 00000000 08:01 3 /lib/y
a0000-b0000 r-xp 00000000 08:01 3 /lib/y
b0000-c0000 r--p 00000000 08:01 3 /lib/y
c0000-d0000 rw-s 00000000 08:01 4 /var/z
d0000-e0000 r-xp 00000000 00:00 0 [vdso]
";
        let starts: Vec<usize> = unchanged(maps).iter().map(|(start, _)| *start).collect();
        assert_eq!(starts, [0x10000, 0x20000, 0x90000, 0xa0000]);
    }
}
