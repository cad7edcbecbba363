//! What shells complete.

use std::process::Command;

use serde_json::json;
use zinit_host::rpc::client::Client;

use crate::world::World;

/// Bash with the completions, and what it makes of the words before the cursor.
const BASH: &str = r#"
source <(zinit completions bash)
for line in "$@"; do
    COMP_LINE=$line; read -ra COMP_WORDS <<< "$line"; [[ $line == *' ' ]] && COMP_WORDS+=("")
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMP_POINT=${#line}; COMP_TYPE=9
    _clap_complete_zinit zinit "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
    echo "${COMPREPLY[*]}"
done
"#;

fn completed(world: &World, lines: &[&str]) -> Vec<String> {
    let zinit = world.zinit(&[]);
    let dir = std::path::Path::new(zinit.get_program()).parent().unwrap();
    let path = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap_or_default());
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", BASH, "bash"]).args(lines).current_dir(&world.dir);
    bash.env("ZINIT_HOME", &world.dir).env("PATH", path);
    let said = bash.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stderr), "");
    String::from_utf8_lossy(&said.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn a_shell_completes_commands_services_signals_hooks_and_proxies() {
    let world = World::new();
    world.post("web", "Running", |_| ());
    world.post("worker", "Running", |_| ());
    let file = world.dir.join("cfg/zinit/web.yaml");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, "exec: sleep 1").unwrap();
    let mut client = Client::connect(&world.dir.join("var/zinit.sock")).unwrap();
    let gate =
        json!({ "name": "gate", "service": "web", "listen": ":4081", "backend": "localhost:4082" });
    client.call("xinit.register", gate).unwrap();
    let lines = [
        "zinit sta",
        "zinit stop w",
        "zinit kill web SIGU",
        "zinit policy show gi",
        "zinit xinit status g",
    ];
    let expected = ["status start stats", "web worker", "SIGUSR1 SIGUSR2", "gives_up", "gate"];
    assert_eq!(completed(&world, &lines), expected);
}

#[test]
fn without_a_server_a_shell_completes_the_rest() {
    let world = World::new();
    world.post("web", "Running", |_| ());
    assert_eq!(completed(&world, &["zinit stop w"]), ["web"]);
    std::fs::rename(world.dir.join("var"), world.dir.join("gone")).unwrap();
    assert_eq!(completed(&world, &["zinit stop w", "zinit serv"]), ["", "server"]);
}
