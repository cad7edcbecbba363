//! The proxies on disk, but for those in services' files: `xinit/NAME.yaml` each.

use std::path::PathBuf;

use super::{Store, load_one, read, storage};
use crate::name::ServiceName;
use crate::proxy::Proxy;
use crate::refusal::{Kind, Refusal};
use crate::spec::Spec;

impl Store {
    /// The directory of the proxies' files, as if they were services.
    fn proxies(&self) -> Self {
        Self::new(self.dir.join("xinit"))
    }

    /// Where a proxy's file is, or would be.
    pub fn proxy_path(&self, name: &ServiceName) -> PathBuf {
        self.proxies().found(name)
    }

    /// The proxies that have files of their own, as written there, sorted by name, and what is wrong
    /// with the other files. That there is no directory is fine.
    pub fn look_at_proxies(&self) -> (Vec<Proxy>, Vec<Refusal>) {
        let here = self.proxies();
        let paths = match here.listed() {
            Ok(paths) => paths,
            Err(_) if !here.dir.is_symlink() && !here.dir.exists() => return Default::default(),
            Err(error) => return (Vec::new(), vec![storage("read", &here.dir, &error)]),
        };
        let (mut proxies, mut problems) = (Vec::new(), Vec::new());
        for path in &paths {
            match load_one(path, &paths, "proxy", Proxy::from_yaml) {
                Ok((_, proxy)) => proxies.push(proxy),
                Err(problem) => problems.push(problem),
            }
        }
        proxies.sort_by(|one: &Proxy, other| one.name.cmp(&other.name));
        (proxies, problems)
    }

    /// The same, ready to stand: each before the service that it names, with its backend, beside the
    /// others and beside those in the files of these services. Who cannot is a problem.
    pub fn load_proxies(&self, specs: &[(ServiceName, Spec)]) -> (Vec<Proxy>, Vec<Refusal>) {
        let (written, mut problems) = self.look_at_proxies();
        let mut all: Vec<Proxy> =
            specs.iter().filter_map(|(name, spec)| Proxy::of(name, spec)).collect();
        let own = all.len();
        for proxy in written {
            let found = self.settled(&proxy, specs, &all[..own]);
            match found.and_then(|it| it.vet(all.iter()).map(|()| it)) {
                Ok(proxy) => all.push(proxy),
                Err(refusal) => problems.push(self.of_file(refusal, &proxy.name)),
            }
        }
        (all.split_off(own), problems)
    }

    /// One of them with its backend, if it is not in the way of one of a service's file.
    fn settled(
        &self,
        proxy: &Proxy,
        specs: &[(ServiceName, Spec)],
        own: &[Proxy],
    ) -> Result<Proxy, Refusal> {
        if own.iter().any(|it| it.name == proxy.name) {
            let message = format!("the service `{}` has a proxy in its own file", proxy.name);
            let hint = "give this one another name, or remove one of the two";
            return Err(Refusal::new(Kind::BadConfig, message).hint(hint));
        }
        match specs.iter().find(|(name, _)| *name == proxy.service) {
            Some((_, spec)) => proxy.before(spec),
            None if self.found(&proxy.service).exists() => {
                let message = format!("the file of the service `{}` is not fine", proxy.service);
                Err(Refusal::new(Kind::BadConfig, message))
            }
            None => {
                let known = specs.iter().map(|(name, _)| name.as_str());
                Err(Refusal::unknown_service(proxy.service.as_str(), known))
            }
        }
    }

    /// A refusal of what a proxy's file says.
    fn of_file(&self, refusal: Refusal, name: &ServiceName) -> Refusal {
        let path = self.proxy_path(name).display().to_string();
        let message = format!("{path}: {}", refusal.message);
        let mut told = Refusal { kind: Kind::BadConfig, message, ..refusal };
        // A reload takes a problem for that of the service's file which it names.
        told.data.remove("service");
        told.with("path", path).with("proxy", name.as_str())
    }

    /// Reads the file of one proxy, if it has one.
    ///
    /// # Errors
    /// `storage` if it cannot be read, `bad_config` if it is not fine.
    pub fn read_proxy(&self, name: &ServiceName) -> Result<Option<Proxy>, Refusal> {
        let path = self.proxy_path(name);
        if !path.exists() {
            return Ok(None);
        }
        let proxy = read(&path, |text, path| Proxy::from_yaml(name, text, path));
        proxy.map(Some).map_err(|refusal| refusal.with("proxy", name.as_str()))
    }

    /// Writes the file of a proxy, in place of an earlier one.
    ///
    /// # Errors
    /// `storage`, and the file is as it was.
    pub fn save_proxy(&self, proxy: &Proxy) -> Result<(), Refusal> {
        let written = self.proxies().replace(&proxy.name, &proxy.to_yaml());
        written.map_err(|it| it.with("proxy", proxy.name.as_str()))
    }

    /// Removes the file of a proxy; says whether there was one.
    ///
    /// # Errors
    /// `storage`, when there is one and it cannot be removed.
    pub fn remove_proxy(&self, name: &ServiceName) -> Result<bool, Refusal> {
        self.proxies().erase(name).map_err(|it| it.with("proxy", name.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Scratch, name};
    use super::*;

    fn specs(files: &[(&str, &str)]) -> Vec<(ServiceName, Spec)> {
        let spec = |yaml: &str| Spec::from_yaml(yaml, "web.yaml".as_ref()).expect("it is fine");
        files.iter().map(|(it, yaml)| (name(it), spec(yaml))).collect()
    }

    fn messages(scratch: &Scratch, problems: &[Refusal]) -> Vec<String> {
        let shown = format!("{}/xinit/", scratch.0.dir.display());
        problems.iter().map(|it| it.message.replace(&shown, "")).collect()
    }

    #[test]
    fn what_is_saved_of_a_proxy_is_read_back() {
        let scratch = Scratch::new("proxy");
        let store = &scratch.0;
        assert!(store.look_at_proxies().0.is_empty(), "without a directory");
        let front = "service: web\nlisten: /run/web.sock\nidle_timeout: 5m\nsocket_mode: 0660\n";
        let front = Proxy::from_yaml(&name("front"), front, "x".as_ref()).expect("it is fine");
        store.save_proxy(&front).expect("it can be saved");
        store.save_proxy(&front).expect("and again");
        assert_eq!(store.look_at_proxies().0, std::slice::from_ref(&front));
        assert_eq!(store.read_proxy(&name("front")), Ok(Some(front)));
        assert!(store.look().specs.is_empty(), "it is no service");
        assert_eq!(store.remove_proxy(&name("front")), Ok(true));
        assert_eq!(store.remove_proxy(&name("front")), Ok(false));
        assert_eq!(store.read_proxy(&name("front")), Ok(None));
    }

    #[test]
    fn a_bad_proxy_never_keeps_the_others_from_loading() {
        let scratch = Scratch::new("proxies");
        scratch.write("xinit/a.yaml", "service: web\nlisten: :81\n");
        scratch.write("xinit/b.yaml", "service: web\nlistne: :82\n");
        scratch.write("xinit/c.yaml", "service: wen\nlisten: :83\n");
        scratch.write("xinit/d.yaml", "service: web\nlisten: [:84, :81]\n");
        scratch.write("xinit/e.yaml", "service: web\nlisten: :85\nbackend: localhost:85\n");
        scratch.write("xinit/own.yaml", "service: web\nlisten: :86\n");
        scratch.write("xinit/f.yaml", "service: job\nlisten: :87\nbackend: /b\n");
        scratch.write("xinit/g.yaml", "service: broken\nlisten: :90\nbackend: /b\n");
        scratch.write("broken.yaml", "exce: ls\n");
        scratch.write("xinit/z.yaml", "service: web\nlisten: :88\nmode: pass\n");
        let specs = specs(&[
            ("web", "exec: ls\nhealth: { tcp: \"localhost:80\" }\n"),
            ("own", "exec: ls\nxinit: { enabled: true, listen: \":89\", backend: /b }\n"),
            ("job", "exec: ls\noneshot: true\n"),
        ]);
        let (proxies, problems) = scratch.0.load_proxies(&specs);
        let names: Vec<_> = proxies.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["a", "z"]);
        let backend = proxies[0].xinit.backend.as_ref().map(ToString::to_string);
        assert_eq!(backend.as_deref(), Some("localhost:80"));
        let told = [
            "b.yaml:2:1: unknown key `listne`",
            "c.yaml: there is no service `wen`",
            "d.yaml: cannot listen at :81: the proxy `a` does",
            "e.yaml: the proxy `e` would connect to itself",
            "f.yaml: `job` cannot stand behind the proxy `f`: a oneshot ends before anybody is served",
            "g.yaml: the file of the service `broken` is not fine",
            "own.yaml: the service `own` has a proxy in its own file",
        ];
        assert_eq!(messages(&scratch, &problems), told);
        assert_eq!(problems[0].hint.as_deref(), Some("did you mean `listen`?"));
        assert_eq!(problems[1].hint.as_deref(), Some("did you mean `web`?"));
        assert!(problems.iter().all(|it| it.data.contains_key("proxy")));
    }
}
