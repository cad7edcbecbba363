//! Hostile policies: whatever a hook of a user's does, every service ends where the bundled policy
//! would put it, at the same time and for the same reason.

use zinit_host::hooks::{HOOKS, Hook};
use zinit_tests::sim::{play, play_with_policy};

/// What a hook may do to those who ask it.
const ATTACKS: [(&str, &str); 7] = [
    ("an endless loop", "loop {}"),
    ("an endless recursion", "HEAD"),
    ("an endless string", "let s = \"x\"; loop { s += s; }"),
    (
        "a text that grows in one step",
        "let s = \"x\"; for i in 0..15 { s += s; } s.replace(\"x\", s); s",
    ),
    ("an endless array", "let a = []; loop { a.push(1); }"),
    ("a throw", "throw \"no\""),
    ("a wrong answer", "#{ soon: 1.5 }"),
];

/// A day in which every hook is asked.
const DAY: &str = "
    db check=100 delay_ms=50
    web after=db wants=cache
    cache
    api requires=db
    job oneshot restart=on-failure max=2
    flaky max=1 give_up=page
    picky restart=on-failure
    last restart=never essential
    rival conflicts=web status=stop
    port kills=1000
    rare xinit=127.0.0.1:80
    sized label:memory_limit=1G policy:usage_period_ms=memory_ceiling::usage_period_ms
    0 boot
    300 exit cache 1
    700 exit cache SIGKILL
    900 exit flaky 1
    905 exit job 1
    1100 exit flaky 1
    1250 exit flaky 1
    1400 exit flaky 1
    1300 exit picky 0
    1500 health db bad
    4000 health db good
    4500 connect rare
    5000 restart db
    6000 idle rare 0
    7000 define cache exec=other
    8000 down web
    8500 up web
    9000 exit job 0
    9500 up rival
    12000 exit last 3
    30000 end
";

fn attack(hook: &Hook, body: &str) -> String {
    let head = hook.signature();
    format!("fn {head} {{ {} }}", body.replace("HEAD", &head))
}

/// What happens, and how often the user's function failed.
fn under_attack(hook: &Hook, body: &str) -> (String, usize) {
    let told = play_with_policy(&attack(hook, body), DAY);
    let (faults, rest): (Vec<_>, Vec<_>) =
        told.split_inclusive('\n').partition(|it| it.starts_with("  fault: "));
    (rest.concat(), faults.len())
}

#[test]
fn every_service_ends_where_the_bundled_policy_would_put_it_under_every_attack_on_every_hook() {
    let peaceful = play(DAY);
    let mut never_asked = Vec::new();
    for hook in HOOKS {
        for (attack, body) in ATTACKS {
            let (told, faults) = under_attack(hook, body);
            let name = hook.name;
            assert_eq!(told, peaceful, "{attack} in `{name}` changed what happened");
            assert!(faults <= 3, "{attack} in `{name}` was asked {faults} times");
            if faults == 0 {
                never_asked.push(name);
            }
        }
    }
    never_asked.dedup();
    assert_eq!(never_asked, Vec::<&str>::new(), "these hooks were not asked at all");
}
