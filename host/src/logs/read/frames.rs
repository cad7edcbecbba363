//! A compressed file: zstd frames one behind the other. Where they are is found by their headers,
//! without their content (RFC 8878, sections 3.1.1 and 3.1.2).

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::slice;

use zstd::stream::read::Decoder;

use super::blocks::{HEAD_MAX, time_of};
use super::plain::read_at;

/// The frames of a file.
#[derive(Debug)]
pub(super) struct Frames {
    file: File,
    /// Where each is; the last one may be cut off.
    places: Vec<Range<u64>>,
}

/// The text of some frames. Where one is damaged it says `InvalidData` once and goes on with the
/// next.
pub(super) struct Text<'a> {
    file: &'a File,
    rest: slice::Iter<'a, Range<u64>>,
    now: Option<Decoder<'a, BufReader<Section<'a>>>>,
}

/// A part of a file.
struct Section<'a> {
    file: &'a File,
    place: Range<u64>,
}

const MAGIC: u32 = 0xFD2F_B528;

/// Frames with anything else in them, 16 magic numbers.
const MAGIC_SKIPPABLE: Range<u32> = 0x184D_2A50..0x184D_2A60;

/// A block's type that stands for one byte again and again.
const REPEATED: u32 = 1;

/// Frames that want more memory than 8 MiB to be read are not ours.
const WINDOW_LOG_MAX: u32 = 23;

impl Frames {
    /// Looks where the frames are.
    pub(super) fn walk(file: File) -> io::Result<Self> {
        let size = file.metadata()?.len();
        let (mut places, mut at) = (Vec::new(), 0);
        while at < size {
            let magic = word(&file, at, 4)?;
            let end = if MAGIC_SKIPPABLE.contains(&magic) {
                at + 8 + u64::from(word(&file, at + 4, 4)?)
            } else if magic == MAGIC {
                let end = frame_end(&file, at, size)?;
                places.push(at..end.min(size));
                end
            } else {
                break;
            };
            at = end;
        }
        Ok(Self { file, places })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The text of these frames.
    pub(super) fn text(&self, frames: Range<usize>) -> Text<'_> {
        Text { file: &self.file, rest: self.places[frames].iter(), now: None }
    }

    /// The frames around those in which lines that are later than this begin: none before the first
    /// ends with such lines, and none from the end on begins with earlier ones.
    pub(super) fn around(&self, at_ns: i64) -> Range<usize> {
        let mut found = 0..self.len();
        let mut high = found.end;
        while high - found.start > 1 {
            let middle = found.start + (high - found.start) / 2;
            let known = (middle..high).find_map(|it| Some((it, self.first_ns(it)?)));
            match known {
                Some((index, first_ns)) if first_ns <= at_ns => found.start = index,
                Some((index, _)) => (high, found.end) = (middle, index),
                // There is nothing but damage between the two.
                None => high = middle,
            }
        }
        found
    }

    /// The time of a frame's first line.
    pub(super) fn first_ns(&self, index: usize) -> Option<i64> {
        let mut columns = Vec::with_capacity(HEAD_MAX);
        let text = self.text(index..index + 1);
        text.take(HEAD_MAX as u64).read_to_end(&mut columns).ok()?;
        time_of(&columns)
    }
}

impl Read for Text<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(decoder) = &mut self.now else {
                let Some(place) = self.rest.next() else { return Ok(0) };
                self.now = Some(decoder(Section { file: self.file, place: place.clone() })?);
                continue;
            };
            match decoder.read(buffer) {
                Ok(0) => self.now = None,
                Ok(read) => return Ok(read),
                Err(error) if error.raw_os_error().is_some() => return Err(error),
                Err(error) => {
                    self.now = None;
                    return Err(io::Error::new(ErrorKind::InvalidData, error));
                }
            }
        }
    }
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.place.end - self.place.start).unwrap_or(usize::MAX);
        let room = buffer.len().min(left);
        let read = self.file.read_at(&mut buffer[..room], self.place.start)?;
        self.place.start += read as u64;
        Ok(read)
    }
}

fn decoder(section: Section<'_>) -> io::Result<Decoder<'_, BufReader<Section<'_>>>> {
    let mut decoder = Decoder::new(section)?.single_frame();
    decoder.window_log_max(WINDOW_LOG_MAX)?;
    Ok(decoder)
}

/// Where the frame that begins here ends, or at least the file's size where it is cut off.
fn frame_end(file: &File, at: u64, size: u64) -> io::Result<u64> {
    let descriptor = word(file, at + 4, 1)?;
    let is_single = descriptor & 0x20 != 0;
    let size_len = [u64::from(is_single), 2, 4, 8][(descriptor >> 6) as usize];
    let dictionary_len = [0, 1, 2, 4][(descriptor & 3) as usize];
    let mut end = at + 5 + u64::from(!is_single) + dictionary_len + size_len;
    while end < size {
        let block = word(file, end, 3)?;
        end += 3 + if block >> 1 & 3 == REPEATED { 1 } else { u64::from(block >> 3) };
        if block & 1 != 0 {
            let checksum_len = if descriptor & 4 != 0 { 4 } else { 0 };
            return Ok(end + checksum_len);
        }
    }
    Ok(size)
}

/// A little-endian number of so many bytes; behind the end of the file are zeros.
fn word(file: &File, at: u64, len: usize) -> io::Result<u32> {
    let mut bytes = [0; 4];
    read_at(file, &mut bytes[..len], at)?;
    Ok(u32::from_le_bytes(bytes))
}
