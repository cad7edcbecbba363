//! `zinit policy new`: a file to start from.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use zinit_host::hooks::{self, HOOKS};
use zinit_host::policy::index::Index;
use zinit_host::policy::starter::starter;
use zinit_host::refusal::{Kind, Refusal, nearest};
use zinit_host::store::Store;

use super::config_dir;
use crate::commands::{Context, Outcome};

/// What to write.
#[derive(Args, Debug)]
pub(crate) struct New {
    /// The hook
    name: String,
    /// The file [default: policy/NAME.rhai beside the services]
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
}

impl New {
    pub(crate) fn run(&self, cx: &Context) -> Outcome {
        let hook = hooks::find(&self.name).ok_or_else(|| self.unknown())?;
        let (files, _) = Store::new(config_dir(cx)).policy_files();
        if let Some(there) = Index::of(&files).find(hook.name).filter(|it| !it.bundled) {
            let message =
                format!("`{}` stands in {}:{} already", hook.name, there.path, there.line);
            return Err(Refusal::new(Kind::Storage, message).hint("change that one"));
        }
        let path = self.file.clone();
        let path = path
            .unwrap_or_else(|| config_dir(cx).join("policy").join(format!("{}.rhai", hook.name)));
        write(&path, &starter(hook)).map_err(|error| not_written(&path, &error))?;
        let shown = path.display();
        cx.show(&json!({ "written": path }), |_| {
            format!("Wrote {shown}\nChange it; `zinit policy check` looks through it, `zinit reload` lets it decide\n")
        })
    }

    fn unknown(&self) -> Refusal {
        let refusal = Refusal::new(Kind::BadArgument, format!("`{}` is no hook", self.name));
        match nearest(&self.name, HOOKS.iter().map(|it| it.name)) {
            Some(near) => refusal.hint(format!("did you mean `{near}`?")),
            None => refusal.hint("`zinit policy list` shows the hooks there are"),
        }
    }
}

/// Writes a file that is not there yet.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?;
    file.write_all(text.as_bytes())
}

fn not_written(path: &Path, error: &io::Error) -> Refusal {
    let shown = path.display();
    if error.kind() == io::ErrorKind::AlreadyExists {
        let message = format!("{shown} is there already, and is left as it is");
        return Refusal::new(Kind::Storage, message).hint("`--file PATH` names another one");
    }
    Refusal::new(Kind::Storage, format!("cannot write {shown}: {error}"))
}
