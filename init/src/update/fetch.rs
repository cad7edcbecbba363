//! Fetches by `http`, `https` and `file`. Nothing is waited for without end, and nothing grows beyond
//! what was agreed.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use indicatif::ProgressBar;
use ring::digest::{Context, SHA256};
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};

use super::file;
use super::manifest::Entry;
use super::refusal::{Kind, Refusal, plainly};

/// Where things are fetched from.
#[derive(Debug)]
pub(crate) struct Source {
    agent: Agent,
}

impl Source {
    /// Gives up when a server stays silent for so long. A slow one may take the time that it needs.
    pub(crate) fn new(silence: Duration) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(provider);
        let config = Agent::config_builder()
            .user_agent(concat!("zinit/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls.build())
            .timeout_resolve(Some(silence))
            .timeout_connect(Some(silence))
            .timeout_per_read(Some(silence))
            .timeout_per_write(Some(silence))
            .max_idle_connections(0);
        Self { agent: config.build().new_agent() }
    }

    /// All that is at a URL.
    pub(crate) fn bytes(&self, url: &str, most: usize) -> Result<Vec<u8>, Refusal> {
        let mut bytes = Vec::new();
        let body = self.open(url)?;
        body.take(most as u64 + 1).read_to_end(&mut bytes).map_err(|it| broken(url, &it))?;
        if bytes.len() > most {
            return Err(no(url, &format!("it is longer than {most} bytes")));
        }
        Ok(bytes)
    }

    /// Writes what is at a URL into a file that can be executed, if it is what the entry says; else
    /// there is no such file.
    pub(crate) fn program(
        &self,
        url: &str,
        entry: &Entry,
        path: &Path,
        bar: &ProgressBar,
    ) -> Result<(), Refusal> {
        let fetched = self.write(url, entry, path, bar);
        if fetched.is_err() {
            let _ = fs::remove_file(path);
        }
        fetched
    }

    fn write(
        &self,
        url: &str,
        entry: &Entry,
        path: &Path,
        bar: &ProgressBar,
    ) -> Result<(), Refusal> {
        let unwritten = |error: io::Error| Refusal::storage("write", path, &error);
        let mut body = self.open(url)?.take(entry.size + 1);
        let mut file = file::create_new(path, 0o755).map_err(unwritten)?;
        let (mut context, mut size) = (Context::new(&SHA256), 0);
        let mut chunk = vec![0; 1 << 16];
        loop {
            let read = match body.read(&mut chunk) {
                Ok(0) => break,
                // Whoever cuts it short may do so without ado, or against what was announced.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
                read => read.map_err(|it| broken(url, &it))?,
            };
            file.write_all(&chunk[..read]).map_err(unwritten)?;
            context.update(&chunk[..read]);
            size += read as u64;
            bar.set_position(size);
        }
        is_it(url, entry, size, &file::hex(context.finish().as_ref()))?;
        file.sync_all().map_err(unwritten)
    }

    fn open(&self, url: &str) -> Result<Box<dyn Read>, Refusal> {
        if let Some(path) = url.strip_prefix("file://") {
            let file = File::open(path).map_err(|it| broken(url, &it))?;
            return Ok(Box::new(file));
        }
        if !url.starts_with("http://") && !url.starts_with("https://") {
            let message = format!("cannot fetch `{url}`: it is no URL that can be fetched");
            return Err(Refusal::new(Kind::BadArgument, message)
                .hint("it begins with `https://`, `http://` or `file://`"));
        }
        let answer = self.agent.get(url).call().map_err(|it| failed(url, it))?;
        Ok(Box::new(answer.into_body().into_reader()))
    }
}

fn is_it(url: &str, entry: &Entry, size: u64, sha256: &str) -> Result<(), Refusal> {
    let Entry { size: promised, sha256: expected, .. } = entry;
    let not = |why: String| {
        Refusal::new(Kind::BadRelease, format!("cannot use `{url}`: {why}"))
            .hint("it is not what the manifest was signed for; nothing of it was executed")
    };
    if size > *promised {
        return Err(not(format!("it is longer than the {promised} bytes of the manifest")));
    }
    if size < *promised {
        return Err(not(format!("it is truncated: {size} of {promised} bytes came")));
    }
    if !sha256.eq_ignore_ascii_case(expected) {
        return Err(not(format!("its sha256 is {sha256}, and the manifest says {expected}")));
    }
    Ok(())
}

fn no(url: &str, why: &str) -> Refusal {
    Refusal::new(Kind::Network, format!("cannot fetch `{url}`: {why}"))
}

fn failed(url: &str, error: ureq::Error) -> Refusal {
    match error {
        ureq::Error::StatusCode(code) => no(url, &format!("the server answers {code}")),
        ureq::Error::HostNotFound => no(url, "there is no such host"),
        ureq::Error::Timeout(_) => silent(url),
        ureq::Error::Io(error) => broken(url, &error),
        other => no(url, &other.to_string()),
    }
}

fn broken(url: &str, error: &io::Error) -> Refusal {
    // A time-out while the body is read comes wrapped.
    let inner = error.get_ref().and_then(|it| it.downcast_ref::<ureq::Error>());
    match inner {
        Some(ureq::Error::Timeout(_)) => silent(url),
        _ if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => silent(url),
        _ => no(url, &plainly(error)),
    }
}

fn silent(url: &str) -> Refusal {
    no(url, "the server stays silent").hint("`--timeout SECS` says how long it is waited for")
}
