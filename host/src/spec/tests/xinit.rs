//! What is said of on-demand proxies: in a service's file, and in one of their own.

use super::*;
use crate::proxy::Proxy;

fn name(text: &str) -> ServiceName {
    ServiceName::parse(text).expect("a name")
}

fn proxy(yaml: &str) -> Result<Proxy, Refusal> {
    Proxy::from_yaml(&name("front"), yaml, Path::new("front.yaml"))
}

impl Dice {
    /// What may stand in a file; it is enabled only where it makes sense.
    pub(super) fn xinit(&mut self) -> Xinit {
        let listen = (0..=self.roll(3)).map(|it| match self.roll(2) {
            0 => Address::Unix(format!("/run/{}-{it}.sock", self.roll(9)).into()),
            _ => Address::Tcp { host: ["", "::1", "127.0.0.1"][self.roll(3)].to_owned(), port: 80 },
        });
        let mut listen: Vec<Address> = listen.collect();
        listen.sort();
        listen.dedup();
        Xinit {
            enabled: false,
            listen,
            backend: self.maybe(Address::Tcp { host: "::1".to_owned(), port: 7 }),
            mode: Mode::WORDS[self.roll(2)].1,
            connect_timeout_ms: [30_000, 1_500][self.roll(2)],
            idle_timeout_ms: [0, 300_000][self.roll(2)],
            max_connections: [0, 1, 7][self.roll(3)],
            max_waiting: [1_024, 7][self.roll(2)],
            proxy_protocol: ProxyProtocol::WORDS[self.roll(3)].1,
            users: ["www-data", "33"]
                .iter()
                .take(self.roll(3))
                .map(|it| (*it).to_owned())
                .collect(),
            socket_mode: [0o666, 0o660, 0][self.roll(3)],
            fd_names: ["http", "7"].iter().take(self.roll(3)).map(|it| (*it).to_owned()).collect(),
        }
    }
}

#[test]
fn every_key_of_a_proxy_is_read() {
    let spec = parsed(
        "exec: ls\nxinit:\n  enabled: true\n  listen: [/run/a.sock, /run/b.sock, /run/a.sock]\n  \
         mode: pass\n  socket_mode: 0600\n  fd_names: [http, https]\n",
    );
    let xinit = spec.xinit.as_deref().expect("it is there");
    assert_eq!(xinit.listen.len(), 2, "each once");
    assert_eq!((xinit.mode, xinit.socket_mode), (Mode::Pass, 0o600));
    assert_eq!(xinit.fd_names, ["http", "https"]);
    assert_eq!(parsed(&spec.to_yaml()), spec);
    let own = Proxy::of(&name("web"), &spec).expect("it is enabled");
    assert!(own.in_service && own.xinit.backend.is_none());

    let proxy = proxy(
        "service: web\nlisten: /run/a.sock\nbackend: \"localhost:80\"\nmax_connections: 7\n\
         max_waiting: 3\nproxy_protocol: v1\nusers: [root, 33]\nconnect_timeout: 500ms\n",
    );
    let proxy = proxy.expect("it is fine");
    assert_eq!((proxy.name.as_str(), proxy.service.as_str()), ("front", "web"));
    let Xinit { max_connections, max_waiting, proxy_protocol, users, .. } = &*proxy.xinit;
    assert_eq!((max_connections, max_waiting), (&7, &3));
    assert_eq!((proxy_protocol, users.len()), (&ProxyProtocol::V1, 2));
    assert!(proxy.xinit.enabled && proxy.xinit.connect_timeout_ms == 500);
}

#[test]
fn whatever_a_proxy_is_its_file_says_the_same() {
    let mut dice = Dice(0x6c62_272e_07bb_0142);
    let mut fine = 0;
    for _ in 0..1_000 {
        let xinit = Arc::new(Xinit { enabled: true, ..dice.xinit() });
        let service = name(["front", "web"][dice.roll(2)]);
        let it = Proxy { name: name("front"), service, in_service: false, xinit };
        let yaml = it.to_yaml();
        match proxy(&yaml) {
            Ok(read) => assert_eq!(read, it, "{yaml}"),
            Err(_) => continue,
        }
        fine += 1;
    }
    assert!(fine > 20, "only {fine} made sense");
}

#[test]
fn the_backend_is_what_is_checked_where_none_is_said() {
    let spec = parsed("exec: ls\nhealth: { tcp: \"localhost:80\" }\n");
    let front = proxy("listen: :81\n").expect("it is fine");
    let before = front.before(&spec).expect("there is a backend");
    assert_eq!(before.xinit.backend, Some(Address::parse("localhost:80").expect("an address")));
    let said = |spec: &str| front.before(&parsed(spec)).expect_err("it cannot").message;
    assert_eq!(said("exec: ls"), "the proxy `front` has no backend");
    assert!(said("wants: a").contains("nothing listens for a target"));
    assert!(said("exec: ls\noneshot: true").contains("a oneshot ends"));
    let passed = proxy("listen: :81\nmode: pass\n").expect("it is fine");
    assert_eq!(passed.before(&spec).expect("it needs none").xinit.backend, None);
}

#[test]
fn what_makes_no_sense_is_refused_where_it_stands() {
    let told = [
        ("mode: pass, backend: \"a:1\"", "`xinit.backend` means nothing beside `mode: pass`"),
        ("mode: pass, users: root", "`xinit.users` means nothing beside `mode: pass`"),
        ("mode: pass, idle_timeout: 5", "`xinit.idle_timeout` means nothing beside `mode: pass`"),
        ("mode: pass, single_connection: true", "`xinit.max_connections` means nothing"),
        ("mode: pass, fd_names: [a, b]", "`xinit.fd_names` has 2 names for 1 addresses"),
        (
            "backend: \"a:1\", fd_names: a",
            "`xinit.fd_names` names sockets that the service does not",
        ),
        ("backend: \":1\"", "in `xinit.backend`: `:1` names no host"),
        (
            "backend: \"a:1\", single_connection: true, max_connections: 2",
            "`xinit.single_connection` and `xinit.max_connections` contradict each other",
        ),
        ("backend: \"a:1\", max_waiting: 0", "`xinit.max_waiting` must be a whole number from 1"),
        ("backend: \"a:1\", socket_mode: 0999", "`xinit.socket_mode` must be octal digits"),
        ("backend: \"a:1\", mode: relay", "`xinit.mode` cannot be `relay`"),
    ];
    for (said, why) in told {
        let yaml = format!("exec: ls\nxinit: {{ enabled: true, listen: /a, {said} }}\n");
        let shown = refused(&yaml);
        assert!(shown.contains(why) && shown.starts_with("web.yaml:2:"), "{said}: {shown}");
        // Nothing of it matters while it is off, but for what cannot be read.
        let off = yaml.replace("enabled: true", "enabled: false");
        let unread = ["contradict", "must be", "cannot be"].iter().any(|it| why.contains(it));
        assert_eq!(Spec::from_yaml(&off, Path::new("web.yaml")).is_err(), unread, "{said}");
    }
    says(
        "exec: ls\nxinit:\n  enabled: true\n  listen: [/a, \":80\"]\n  backend: c:1\n  users: root\n",
        "web.yaml:6:10: `xinit.users` says nothing of clients of :80\n|  users: root\n|         ^\n\
         = who they are is known only at the path of a socket: listen nowhere else",
    );
    let listens = |at: &str, more: &str| {
        refused(&format!("exec: ls\n{more}xinit: {{ enabled: true, mode: pass, listen: {at} }}\n"))
    };
    let shown = listens("\"localhost:80\"", "");
    assert!(shown.contains("two sockets") && shown.contains("`[::1]:80`"), "{shown}");
    assert!(listens("\"myhost:80\"", "").contains("has a name for a host"));
    let shown = listens("[/a, /b]", "ready_fd: 4\n");
    assert!(shown.contains("`ready_fd: 4` is one of the sockets"), "{shown}");
    parsed("exec: ls\nready_fd: 5\nxinit: { enabled: true, mode: pass, listen: [/a, /b] }\n");
    let many: Vec<String> = (0..65).map(|it| format!("/run/{it}")).collect();
    let yaml = format!("listen: [{}]", many.join(", "));
    let no = proxy(&yaml).expect_err("too many").message;
    assert_eq!(no, "front.yaml:1:9: `listen` has more than 64 addresses");
}

#[test]
fn who_answers_nobody_cannot_start_on_demand() {
    let on = "xinit: { enabled: true, listen: /a, backend: /b }\n";
    says(
        &format!("exec: ls\noneshot: true\n{on}"),
        &format!(
            "web.yaml:3:8: `xinit` is enabled, but a oneshot ends before anybody is served\n|{}|       ^\n\
             = leave `oneshot` out: who answers clients goes on running",
            on
        ),
    );
    assert!(refused(&format!("wants: a\n{on}")).contains("nothing listens for a target"));
}

#[test]
fn the_file_of_a_proxy_is_told_what_is_wrong_with_it() {
    let told = [
        ("listne: /a", "front.yaml:1:1: unknown key `listne`"),
        ("enabled: true\nlisten: /a", "front.yaml:1:1: unknown key `enabled`"),
        ("service: a b\nlisten: /a", "front.yaml:1:10: in `service`: `a b` is no service name"),
        ("[a]", "front.yaml:1:1: a proxy is a map of keys, not a list"),
        ("", "front.yaml:1:1: the proxy listens nowhere"),
        ("listen: web", "front.yaml:1:9: in `listen`: `web` is no address: it has no port"),
    ];
    for (yaml, why) in told {
        let refusal = proxy(yaml).expect_err("it is bad");
        assert!(refusal.message.starts_with(why), "{refusal}");
    }
}
