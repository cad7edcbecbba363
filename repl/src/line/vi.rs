//! The keys of vi, done in the order in which they come.

use std::cell::Cell;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use reedline::{EditMode, PromptEditMode, PromptViMode, ReedlineEvent, ReedlineRawEvent, Vi};

const INSERT: PromptEditMode = PromptEditMode::Vi(PromptViMode::Insert);

/// How often the mode is asked for before the letters are in: once after all keys were read, and once
/// before they are inserted. The step back that follows asks again.
const ASKED: u8 = 2;

/// Vi, with two differences. Letters that come together with the Esc after them are inserted where they
/// were typed: reedline reads all keys that have come before it does what they say, by the mode after the
/// last one, in which the cursor stands on a letter and not behind it. And who gives up a line inserts the
/// next one.
pub(super) struct InOrder {
    vi: Vi,
    make: fn() -> Vi,
    /// How often the mode is still said to be insertion, which was just left.
    stays: Cell<u8>,
}

impl InOrder {
    pub(super) fn new(make: fn() -> Vi) -> Self {
        Self { vi: make(), make, stays: Cell::new(0) }
    }
}

impl EditMode for InOrder {
    fn parse_event(&mut self, event: ReedlineRawEvent) -> ReedlineEvent {
        let event = Event::from(event);
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        let gives_up = event == Event::Key(control_c);
        let was_inserting = self.vi.edit_mode() == INSERT;
        let Ok(raw) = ReedlineRawEvent::try_from(event) else { return ReedlineEvent::None };
        let meant = self.vi.parse_event(raw);
        if gives_up {
            self.vi = (self.make)();
        }
        if was_inserting && self.vi.edit_mode() != INSERT {
            self.stays.set(ASKED);
        }
        meant
    }

    fn edit_mode(&self) -> PromptEditMode {
        match self.stays.get() {
            0 => self.vi.edit_mode(),
            more => {
                self.stays.set(more - 1);
                INSERT
            }
        }
    }
}
