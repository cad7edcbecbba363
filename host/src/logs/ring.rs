//! The last lines of one service, bounded in bytes.

use std::collections::VecDeque;

/// One line that a service wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Orders the lines of all services.
    pub(super) seq: u64,
    /// When it was read, in milliseconds since 1970.
    pub(super) at_ms: i64,
    /// Whether it came from stderr.
    pub(super) stderr: bool,
    /// The line without its newline.
    pub(super) text: Box<str>,
}

impl Line {
    /// What a line costs beside its text.
    const OVERHEAD: usize = 64;

    fn cost(&self) -> usize {
        self.text.len() + Self::OVERHEAD
    }
}

/// The ring. An empty one owns no memory.
#[derive(Debug, Default)]
pub(super) struct Ring {
    lines: VecDeque<Line>,
    bytes: usize,
}

impl Ring {
    /// Adds a line, then forgets the oldest until at most `bytes_max` are left; the newest line
    /// always stays.
    pub(super) fn push(&mut self, line: Line, bytes_max: usize) {
        self.bytes += line.cost();
        self.lines.push_back(line);
        self.shrink(bytes_max);
    }

    /// Forgets the oldest lines until at most `bytes_max` are left, or one line.
    pub(super) fn shrink(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max && self.lines.len() > 1 {
            let oldest = self.lines.pop_front();
            self.bytes -= oldest.map_or(0, |it| it.cost());
        }
    }

    /// What the lines cost.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The lines, oldest first.
    pub(super) fn lines(&self) -> impl DoubleEndedIterator<Item = &Line> {
        self.lines.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(seq: u64, text: &str) -> Line {
        Line { seq, at_ms: 0, stderr: false, text: text.into() }
    }

    #[test]
    fn a_ring_forgets_the_oldest_and_keeps_within_its_bound() {
        let mut ring = Ring::default();
        for seq in 0..100 {
            ring.push(line(seq, "0123456789"), 740);
            assert!(ring.bytes() <= 740);
        }
        let kept: Vec<u64> = ring.lines().map(|it| it.seq).collect();
        assert_eq!(kept, (90..100).collect::<Vec<_>>());
    }

    #[test]
    fn the_newest_line_stays_however_long_it_is() {
        let mut ring = Ring::default();
        ring.push(line(0, "short"), 100);
        ring.push(line(1, &"x".repeat(1000)), 100);
        assert_eq!(ring.lines().count(), 1);
    }
}
