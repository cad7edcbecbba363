//! What a service says to policies.

use super::*;

impl Dice {
    pub(super) fn labels(&mut self) -> BTreeMap<String, String> {
        let names = ["a", "7", "1.5", "null", "zinit.io/tier_0-x"];
        let some = self.roll(names.len() + 1);
        names.iter().take(some).map(|it| ((*it).to_owned(), self.text())).collect()
    }

    pub(super) fn policy(&mut self) -> BTreeMap<String, String> {
        let all = [("gives_up", "true"), ("restart_delay", "_a::b_2"), ("settle_ms", "yes")];
        match self.roll(4) {
            0 => texts(&[("*", "null")]),
            some => texts(&all[..some]),
        }
    }
}

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, it)| ((*name).to_owned(), (*it).to_owned())).collect()
}

#[test]
fn labels_are_text_as_it_is_spelled() {
    let spec = parsed("exec: ls\nlabels: { tier: web, v: 1.10, on: true, a/b-c.d_0: , 7: x }\n");
    let told = [("tier", "web"), ("v", "1.10"), ("on", "true"), ("a/b-c.d_0", ""), ("7", "x")];
    assert_eq!(spec.labels, texts(&told));
    assert_eq!(parsed(&spec.to_yaml()), spec);
    let (name, long) = ("n".repeat(63), "é".repeat(512));
    let spec = parsed(&format!("exec: ls\nlabels: {{ {name}: {long} }}"));
    assert_eq!(spec.labels, texts(&[(&name, &long)]));
}

#[test]
fn a_label_that_cannot_be_is_refused_at_its_place() {
    let hint = "1 to 63 letters, digits, `_`, `.`, `-` or `/`, starting with a letter or a digit";
    for name in ["a b", "/a", "ä", &"n".repeat(64)] {
        let line = format!("labels: {{ t: x, {name}: y }}");
        let told = format!(
            "web.yaml:2:17: `{name}` cannot be a label's name\n|{line}\n|{:16}^\n= {hint}",
            ""
        );
        says(&format!("exec: ls\n{line}"), &told);
    }
    says(
        "exec: ls\nlabels: { a: 1, a: 2 }",
        "web.yaml:2:17: `labels.a` is given twice\n|labels: { a: 1, a: 2 }\n|                ^\n= ",
    );
    says(
        "exec: ls\nlabels: [web]",
        "web.yaml:2:9: `labels` must be a map, not a list\n|labels: [web]\n|        ^\n= write `labels: { tier: web }`",
    );
    says(
        "exec: ls\nlabels: { a: [b] }",
        "web.yaml:2:14: `labels.a` must be text, not a list\n|labels: { a: [b] }\n|             ^\n= ",
    );
    let long = refused(&format!("exec: ls\nlabels: {{ a: {} }}", "é".repeat(513)));
    assert!(long.starts_with("web.yaml:2:14: `labels.a` is longer than 1 KiB\n"), "{long}");
}

#[test]
fn a_policy_is_a_function_for_each_hook_or_a_strategy_for_all() {
    let yaml =
        "policy: { restart_delay: my_delay, gives_up: decaying_score::gives_up }\nexec: ls\n";
    let spec = parsed(yaml);
    let told = [("restart_delay", "my_delay"), ("gives_up", "decaying_score::gives_up")];
    assert_eq!(spec.policy, texts(&told));
    let written =
        "exec: ls\npolicy:\n  gives_up: decaying_score::gives_up\n  restart_delay: my_delay\n";
    assert_eq!(spec.to_yaml(), written);
    assert_eq!(spec.to_config()["policy"], json!(spec.policy));
    let spec = parsed("exec: ls\npolicy: one_for_all\n");
    assert_eq!(spec.policy, texts(&[("*", "one_for_all")]));
    assert_eq!(spec.to_yaml(), "exec: ls\npolicy: one_for_all\n");
    assert_eq!(spec.to_config()["policy"], "one_for_all");
    assert_eq!(parsed("exec: ls\npolicy:\n").policy, texts(&[]));
}

#[test]
fn a_hook_that_there_is_not_is_refused_with_the_nearest_one() {
    says(
        "exec: ls\npolicy: { restart_dely: my_delay }",
        "web.yaml:2:11: there is no hook `restart_dely`\n|policy: { restart_dely: my_delay }\n|          ^\n= did you mean `restart_delay`?",
    );
    let far = refused("exec: ls\npolicy: { \"*\": one_for_all }");
    assert!(far.contains(":11: there is no hook `*`\n"), "{far}");
    assert!(far.contains("= the hooks are attempts_after, "), "{far}");
    says(
        "exec: ls\npolicy: { shutdown_ms: my_time }",
        "web.yaml:2:11: the hook `shutdown_ms` is not about one service\n|policy: { shutdown_ms: my_time }\n|          ^\n= write a function `shutdown_ms(is_init)` in `policy.rhai`",
    );
    says(
        "exec: ls\npolicy:\n  gives_up: a\n  gives_up: b\n",
        "web.yaml:4:3: `policy.gives_up` is given twice\n|  gives_up: b\n|  ^\n= ",
    );
}

#[test]
fn what_cannot_be_a_functions_name_is_refused_at_its_place() {
    let bad = [
        ("7", "`7`"),
        ("true", "`true`"),
        ("my delay", "`my delay`"),
        ("'a::'", "`a::`"),
        ("a::b::c", "`a::b::c`"),
        ("a:b", "`a:b`"),
        ("[f]", "a list"),
        ("", "nothing"),
        ("''", "``"),
    ];
    for (written, said) in bad {
        let told = refused(&format!("exec: ls\npolicy:\n  gives_up: {written}\n"));
        let what = format!("`policy.gives_up` must be the name of a function, not {said}\n");
        assert!(told.starts_with("web.yaml:3:") && told.contains(&what), "{told}");
        assert!(told.ends_with("= write `my_function`, or `file::my_function`"), "{told}");
    }
    let hint = "write `policy: { restart_delay: my_delay }`, or the name of a strategy";
    says(
        "exec: ls\npolicy: one-for-all",
        &format!(
            "web.yaml:2:9: `policy` must be a map or the name of a strategy, not `one-for-all`\n|policy: one-for-all\n|        ^\n= {hint}"
        ),
    );
    says(
        "exec: ls\npolicy: [a]",
        &format!(
            "web.yaml:2:9: `policy` must be a map, not a list\n|policy: [a]\n|        ^\n= {hint}"
        ),
    );
}

#[test]
fn a_configuration_says_labels_and_policy_as_a_file_does() {
    let config = json!({ "exec": "ls", "labels": { "shard": 7 }, "policy": "one_for_all" });
    let spec = Spec::from_config(&config).expect("it is fine");
    assert_eq!(spec.labels, texts(&[("shard", "7")]));
    assert_eq!(Spec::from_config(&spec.to_config()), Ok(spec.clone()));
    assert_eq!(parsed(&spec.to_yaml()), spec);
    let bare = Spec::of_exec("ls");
    assert_eq!(bare.changes(&spec), ["labels", "policy"]);
    let no = Spec::from_config(&json!({ "exec": "ls", "policy": { "give_up": "f" } }));
    let no = no.expect_err("there is no such hook");
    assert_eq!(no.hint.as_deref(), Some("did you mean `gives_up`?"));
    assert_eq!(no.data["key"], "policy.give_up");
}
