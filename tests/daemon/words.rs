//! The examples of the words that need a server are true, each in a server that runs a service `web`.

use zinit_host::engine::{self, Words};
use zinit_host::interrupt::Interrupt;
use zinit_host::native::Session;
use zinit_host::words::words;
use zinit_tests::daemon::Home;

/// It does not mind the `SIGTERM` of some examples, so that it is there for the next one.
const WEB: &str = "
exec: sh -c 'trap \"\" TERM; echo hello; exec sleep 1000'
signal: { stop: SIGKILL }
";

#[test]
fn every_example_that_needs_a_server_is_true() {
    let home = Home::new().service("web", WEB).start();
    let session = || Session::new(&home.socket(), &Interrupt::new().expect("a descriptor"));
    let examples: Vec<(String, String)> = engine::on_deep_stack(|| {
        let all = words(&engine::script(&session(), Words::All));
        let of = |word: zinit_host::words::Word| {
            let lines = word.examples("rhai,server").into_iter();
            lines.map(move |it| (word.signature(), it)).collect::<Vec<_>>()
        };
        all.into_iter().flat_map(of).collect()
    })
    .expect("no panic");
    assert!(examples.len() > 40, "only {} examples were found", examples.len());
    home.until("it is deaf", || home.zinit(["logs", "web"]).contains("hello"));
    for (word, example) in examples {
        home.up("web");
        let said = engine::on_deep_stack(|| {
            let engine = engine::script(&session(), Words::All);
            engine.eval::<bool>(&example).map_err(|it| it.to_string())
        });
        assert_eq!(said.expect("no panic"), Ok(true), "{word}: {example}");
    }
}
