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
    /// Whether no file has its configuration.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    transient: bool,
}

impl Note {
    /// The note of this service, as text.
    pub fn of(service: &Service) -> String {
        let note = Self { standing: service.standing.clone(), transient: service.spec.transient };
        serde_json::to_string(&note).expect("a note is plain data")
    }

    /// Its configuration as its file would say it, which the keeper remembers beside the note; empty
    /// when it is too long for that, and only the file has it.
    pub fn config_of(service: &Service) -> String {
        let config = service.spec.to_yaml();
        if config.len() <= NOTE_MAX { config } else { String::new() }
    }

    /// Reads a note; one that cannot be read is no note.
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The configuration that it has, from the text beside it.
    pub fn spec(&self, config: &str) -> Option<Spec> {
        let mut spec = Spec::from_yaml(config, Path::new("a note")).ok()?;
        spec.transient = self.transient;
        Some(spec)
    }
}
