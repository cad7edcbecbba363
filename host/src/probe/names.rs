//! From names to addresses. Who is named by address, or is `localhost`, needs no lookup; and one name
//! is looked up once at a time, so a name server that hangs costs one thread per name and no more.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::lookup_host;
use tokio::sync::{Semaphore, watch};

/// How many names are looked up at the same time; the runtime has more threads than that.
pub(super) const LOOKUPS_MAX: usize = 128;

/// What was found, or why nothing was, as half a sentence.
type Found = Result<Arc<[IpAddr]>, String>;
type UnderWay = watch::Receiver<Option<Found>>;

/// The lookups that are under way. Cheap to clone.
#[derive(Clone)]
pub(super) struct Names(Arc<Shared>);

struct Shared {
    under_way: Mutex<HashMap<String, UnderWay>>,
    turns: Semaphore,
}

impl Default for Names {
    fn default() -> Self {
        let (under_way, turns) = (Mutex::default(), Semaphore::new(LOOKUPS_MAX));
        Self(Arc::new(Shared { under_way, turns }))
    }
}

impl Names {
    /// The addresses of a host.
    pub(super) async fn find(&self, host: &str) -> Found {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = literal.parse::<IpAddr>() {
            return Ok([address].into());
        }
        if host.eq_ignore_ascii_case("localhost") {
            return Ok([Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()].into());
        }
        let mut under_way = self.under_way(host);
        let found = under_way.wait_for(Option::is_some).await;
        found.ok().and_then(|it| it.clone()).unwrap_or_else(|| Err("given up".to_owned()))
    }

    /// The lookup of this name, which goes on when nobody waits for it any more: it cannot be ended.
    fn under_way(&self, host: &str) -> UnderWay {
        let mut all = self.lock();
        if let Some(it) = all.get(host) {
            return it.clone();
        }
        let (sender, receiver) = watch::channel(None);
        all.insert(host.to_owned(), receiver.clone());
        let (names, host) = (self.clone(), host.to_owned());
        tokio::spawn(async move {
            let turn = names.0.turns.acquire().await;
            let found = lookup_host((host.as_str(), 0)).await;
            drop(turn);
            names.lock().remove(&host);
            let addresses =
                |it: &mut dyn Iterator<Item = SocketAddr>| it.map(|it| it.ip()).collect();
            let found = found.map(|mut it| addresses(&mut it)).map_err(|it| reason(&host, &it));
            sender.send_replace(Some(found));
        });
        receiver
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, UnderWay>> {
        self.0.under_way.lock().expect("nothing panics while it holds the lookups")
    }
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let names = self.clone();
        Box::pin(async move {
            let found = names.find(name.as_str()).await?;
            let addresses: Vec<_> = found.iter().map(|it| SocketAddr::new(*it, 0)).collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

fn reason(host: &str, error: &io::Error) -> String {
    let text = error.to_string().to_lowercase();
    let why = text.rsplit(": ").next().unwrap_or(&text);
    format!("cannot look up `{host}`: {why}")
}
