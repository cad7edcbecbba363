//! What the keeper remembers of a service for the next brain.

use std::path::Path;

use serde::{Deserialize, Serialize};
use zinit_keeper::wire::NOTE_MAX;

use crate::spec::Spec;
use crate::state::{Service, Standing};

/// The note of one service.
#[derive(Debug, Serialize, Deserialize)]
pub struct Note {
    /// Where it stands.
    pub standing: Standing,
    /// The configuration that it has, as its file would say it.
    #[serde(default)]
    config: String,
    /// Whether no file has it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    transient: bool,
}

impl Note {
    /// The note of this service, as text.
    pub fn of(service: &Service) -> String {
        let transient = service.spec.transient;
        let config = service.spec.to_yaml();
        let note = Self { standing: service.standing.clone(), config, transient };
        let text = serde_json::to_string(&note).expect("a note is plain data");
        if text.len() <= NOTE_MAX {
            return text;
        }
        // The file has it too.
        let note = Self { config: String::new(), ..note };
        serde_json::to_string(&note).expect("a note is plain data")
    }

    /// Reads a note; one that cannot be read is no note.
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The configuration that it has.
    pub fn spec(&self) -> Option<Spec> {
        let mut spec = Spec::from_yaml(&self.config, Path::new("a note")).ok()?;
        spec.transient = self.transient;
        Some(spec)
    }
}
