//! Things that have a key each, which also names them to epoll. A key is never used again: what is late
//! finds nothing.

/// Names one thing: its place, and how often that was taken before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key(u64);

/// What of a thing an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Listener,
    Client,
    Backend,
}

/// The token of the bell; no key has it.
pub(super) const BELL: u64 = u64::MAX;

const PLACE_BITS: u32 = 32;
const PART_BITS: u32 = 62;

impl Key {
    fn new(place: usize, turn: u64) -> Self {
        let turn = turn & ((1 << (PART_BITS - PLACE_BITS)) - 1);
        Self(turn << PLACE_BITS | place as u64)
    }

    fn place(self) -> usize {
        (self.0 & u64::from(u32::MAX)) as usize
    }

    /// What epoll is to say about a part of it.
    pub(super) fn token(self, part: Part) -> u64 {
        (part as u64) << PART_BITS | self.0
    }

    /// What a token is about.
    pub(super) fn of(token: u64) -> (Self, Part) {
        let part = match token >> PART_BITS {
            0 => Part::Listener,
            1 => Part::Client,
            _ => Part::Backend,
        };
        (Self(token & ((1 << PART_BITS) - 1)), part)
    }
}

/// All things of one sort.
#[derive(Debug)]
pub(super) struct Slots<T> {
    places: Vec<(u64, Option<T>)>,
    free: Vec<usize>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// The key that the next one gets.
    pub(super) fn next_key(&self) -> Key {
        match self.free.last() {
            Some(place) => Key::new(*place, self.places[*place].0),
            None => Key::new(self.places.len(), 0),
        }
    }

    pub(super) fn insert(&mut self, thing: T) -> Key {
        let key = self.next_key();
        match self.free.pop() {
            Some(place) => self.places[place].1 = Some(thing),
            None => self.places.push((0, Some(thing))),
        }
        key
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        let (turn, thing) = &mut self.places[key.place()];
        *turn += 1;
        self.free.push(key.place());
        thing.take()
    }

    pub(super) fn get(&self, key: Key) -> Option<&T> {
        let (turn, thing) = self.places.get(key.place())?;
        thing.as_ref().filter(|_| Key::new(key.place(), *turn) == key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let (turn, thing) = self.places.get_mut(key.place())?;
        thing.as_mut().filter(|_| Key::new(key.place(), *turn) == key)
    }

    /// The keys of all.
    pub(super) fn keys(&self) -> Vec<Key> {
        let all = self.places.iter().enumerate();
        all.filter(|(_, it)| it.1.is_some()).map(|(at, it)| Key::new(at, it.0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_never_finds_who_came_later() {
        let mut slots = Slots::default();
        let one = slots.insert("one");
        assert_eq!(slots.remove(one), Some("one"));
        let next = slots.next_key();
        let two = slots.insert("two");
        assert_eq!((two, slots.get(two), slots.get(one)), (next, Some(&"two"), None));
        assert_eq!(slots.remove(one), None);
        assert_eq!(slots.keys(), [two]);
    }

    #[test]
    fn a_token_tells_the_key_and_the_part_and_is_not_the_bell() {
        let key = Key::new(7, u64::MAX);
        for part in [Part::Listener, Part::Client, Part::Backend] {
            assert_eq!(Key::of(key.token(part)), (key, part));
            assert_ne!(key.token(part), BELL);
        }
    }
}
