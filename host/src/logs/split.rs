//! Bytes in, lines out.

/// Cuts a stream of bytes into lines. Idle, it owns no memory.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    /// The beginning of a line whose newline has not come yet.
    unfinished: Vec<u8>,
    /// The rest of an overlong line is being skipped.
    skipping: bool,
}

impl Splitter {
    /// Longer lines are cut.
    pub(super) const LINE_MAX: usize = 16 * 1024;

    /// Takes bytes and calls `each` with every line that is complete, lossily decoded.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(String)) {
        while let Some(end) = bytes.iter().position(|it| *it == b'\n') {
            self.take(&bytes[..end], &mut each);
            if !std::mem::take(&mut self.skipping) {
                each(decode(&std::mem::take(&mut self.unfinished)));
            }
            bytes = &bytes[end + 1..];
        }
        self.take(bytes, &mut each);
    }

    /// The line that has begun, if one has.
    pub(super) fn unfinished(&self) -> Option<String> {
        (!self.unfinished.is_empty()).then(|| decode(&self.unfinished))
    }

    /// Whether the newline of what came last is still to come.
    pub(super) fn is_within_line(&self) -> bool {
        self.skipping || !self.unfinished.is_empty()
    }

    /// Appends to the unfinished line, and cuts it when it is too long.
    fn take(&mut self, bytes: &[u8], each: &mut impl FnMut(String)) {
        if self.skipping {
            return;
        }
        let room = Self::LINE_MAX - self.unfinished.len();
        self.unfinished.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if bytes.len() > room {
            each(decode(&std::mem::take(&mut self.unfinished)) + " [cut]");
            self.skipping = true;
        }
    }
}

fn decode(line: &[u8]) -> String {
    String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> (Vec<String>, Option<String>) {
        let (mut splitter, mut lines) = (Splitter::default(), Vec::new());
        chunks.iter().for_each(|it| splitter.feed(it, |line| lines.push(line)));
        (lines, splitter.unfinished())
    }

    #[test]
    fn lines_are_the_same_however_the_bytes_arrive() {
        let whole = lines(&[b"one\ntwo\r\n\nthr"]);
        let bytes: Vec<&[u8]> = b"one\ntwo\r\n\nthr".chunks(1).collect();
        assert_eq!(whole, lines(&bytes));
        assert_eq!(whole.0, ["one", "two", ""]);
        assert_eq!(whole.1.as_deref(), Some("thr"));
    }

    #[test]
    fn an_overlong_line_is_cut_once_and_the_next_is_whole() {
        let long = vec![b'x'; 3 * Splitter::LINE_MAX];
        let (lines, unfinished) = lines(&[&long, &long, b"tail\nnext\n"]);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].len(), Splitter::LINE_MAX + " [cut]".len());
        assert_eq!((lines[1].as_str(), unfinished), ("next", None));
    }

    #[test]
    fn bytes_that_are_no_text_are_kept_lossily() {
        assert_eq!(lines(&[b"a\xff\xfeb\n"]).0, ["a\u{fffd}\u{fffd}b"]);
    }
}
