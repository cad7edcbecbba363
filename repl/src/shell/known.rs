//! What the server has just now. A thread asks it, so that a server that does not answer holds up no
//! prompt; and it asks only when somebody wants to know.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use zinit_host::refusal::{Kind, Refusal};
use zinit_host::rpc::client::Client;

use crate::render::{items, word};

/// How long a server may take to answer this thread.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was told of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Its version.
    pub(crate) version: String,
    /// How many services are up.
    pub(crate) up: usize,
    /// How many have failed.
    pub(crate) failed: usize,
    /// The names of the services, sorted.
    pub(crate) services: Vec<String>,
    /// The names of the proxies, sorted.
    pub(crate) proxies: Vec<String>,
}

/// The newest answer, if any server answers.
pub(crate) type Answer = Result<Told, Refusal>;

/// Whoever asks the server.
pub(crate) struct Known {
    wishes: Sender<u64>,
    wished: u64,
    answers: Arc<Answers>,
}

#[derive(Default)]
struct Answers {
    /// The newest one, and the wish that it belongs to.
    newest: Mutex<(u64, Option<Answer>)>,
    came: Condvar,
}

impl Known {
    /// Somebody who asks the server at this socket.
    pub(crate) fn new(socket: &Path) -> Self {
        let (wishes, wished) = channel();
        let answers = Arc::new(Answers::default());
        let (socket, told) = (socket.to_owned(), Arc::clone(&answers));
        thread::spawn(move || answer(&socket, &wished, &told));
        Self { wishes, wished: 0, answers }
    }

    /// What the server says now, or has said, if it does not answer within `limit`.
    pub(crate) fn ask(&mut self, limit: Duration) -> Answer {
        self.wished += 1;
        // The thread ends with this.
        let _ = self.wishes.send(self.wished);
        let newest = self.answers.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let is_old = |newest: &mut (u64, _)| newest.0 < self.wished;
        let waited = self.answers.came.wait_timeout_while(newest, limit, is_old);
        let (newest, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let silent = || Err(Refusal::new(Kind::TimedOut, "the server does not answer"));
        newest.1.clone().unwrap_or_else(silent)
    }
}

fn answer(socket: &Path, wishes: &Receiver<u64>, answers: &Answers) {
    let mut client = None;
    while let Ok(wish) = wishes.recv() {
        // What was wished meanwhile is answered as well.
        let wish = wishes.try_iter().last().unwrap_or(wish);
        let answer = told(socket, &mut client);
        if answer.is_err() {
            client = None;
        }
        let mut newest = answers.newest.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = (wish, Some(answer));
        answers.came.notify_all();
    }
}

fn told(socket: &Path, client: &mut Option<Client>) -> Answer {
    let client = match client {
        Some(client) => client,
        None => client.insert(Client::connect(socket)?),
    };
    let pong = client.call_within("system.ping", json!([]), PATIENCE)?;
    let all = client.call_within("service.status_all", json!([]), PATIENCE)?;
    let proxies = client.call_within("xinit.list", json!([]), PATIENCE)?;
    let named = |it: &Value| it.as_str().unwrap_or_else(|| word(it, "name")).to_owned();
    let count =
        |states: &[&str]| items(&all).filter(|it| states.contains(&word(it, "state"))).count();
    Ok(Told {
        version: word(&pong, "version").to_owned(),
        up: count(&["Running", "Success"]),
        failed: count(&["Failed"]),
        services: items(&all).map(|it| word(it, "name").to_owned()).collect(),
        proxies: items(&proxies).map(named).collect(),
    })
}
