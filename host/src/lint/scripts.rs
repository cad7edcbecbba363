//! Looks through scripts without running them.

use std::collections::BTreeMap;
use std::path::Path;

use rhai::{AST, ASTNode, Engine, Expr, Position, Stmt};

use super::{Exports, Lint, Place, Words, public, walk};
use crate::modules::beside;
use crate::refusal::{Refusal, nearest};
use crate::script::{lowered, read, without_shebang};

/// What is wrong with a script that is to run on this engine, in the order of its text: it does not
/// compile, imports what is not there, or calls what is not there, also where it never comes by.
pub(crate) fn look_through(engine: &Engine, path: &Path) -> Vec<Refusal> {
    let text = match read(path) {
        Ok(text) => text,
        Err(refusal) => return vec![refusal],
    };
    let text = without_shebang(&text);
    let place = Place { path, text };
    let tree = match compiled(engine, place) {
        Ok(tree) => tree,
        Err(refusal) => return vec![*refusal],
    };
    let mut problems = Vec::new();
    let exports = exports(engine, place, &tree, &mut problems);
    let words = Words::of(engine);
    problems.extend(Lint::of_script(&words, &exports, &tree).look_through(place, &tree));
    problems
}

fn compiled(engine: &Engine, place: Place<'_>) -> Result<AST, Box<Refusal>> {
    engine.compile(place.text).map_err(|error| {
        let said = lowered(&error.err_type().to_string());
        Box::new(place.refuse(error.position(), &format!("syntax error: {said}")))
    })
}

/// What the imported modules have, by the names that the script gives them. A name that is given twice
/// may stand for anything.
fn exports(engine: &Engine, place: Place<'_>, tree: &AST, problems: &mut Vec<Refusal>) -> Exports {
    let mut found: BTreeMap<String, Option<(String, Position)>> = BTreeMap::new();
    walk(tree, &mut |path| {
        let Some(ASTNode::Stmt(Stmt::Import(it, _))) = path.last() else { return };
        let what = match &it.0 {
            Expr::StringConstant(path, at) => Some((path.to_string(), *at)),
            _ => None,
        };
        let known = found.entry(it.1.name.to_string()).or_insert_with(|| what.clone());
        if known.as_ref().map(|it| &it.0) != what.as_ref().map(|it| &it.0) {
            *known = None;
        }
    });
    let mut export = |what: Option<(String, Position)>| {
        let (name, at) = what?;
        match imported(engine, place, &name, at) {
            Ok(tree) => Some(public(&tree)),
            Err(refusal) => {
                problems.push(*refusal);
                None
            }
        }
    };
    found.into_iter().map(|(name, what)| (name, export(what))).collect()
}

fn imported(
    engine: &Engine,
    place: Place<'_>,
    name: &str,
    at: Position,
) -> Result<AST, Box<Refusal>> {
    let resolver = engine.module_resolver();
    if let Some(Ok(tree)) = resolver.resolve_ast(engine, None, name, Position::NONE) {
        return Ok(tree);
    }
    let file = beside(place.path.to_str(), name);
    let text = read(&file).map_err(|it| {
        let refusal = place.refuse(at, &it.message);
        let bundled = zinit_stdlib::SCRIPT.iter().map(zinit_stdlib::Source::name);
        Box::new(match nearest(name, bundled) {
            Some(near) => refusal.hint(format!("did you mean `{near}`?")),
            None => refusal,
        })
    })?;
    compiled(engine, Place { path: &file, text: without_shebang(&text) })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::engine::{self, Words};
    use crate::interrupt::Interrupt;
    use crate::native::Session;

    fn with_engine<T: Send>(work: impl FnOnce(&Engine) -> T + Send) -> T {
        let interrupt = Interrupt::new().expect("a descriptor");
        let engine = || engine::script(&Session::new(Path::new("/no"), &interrupt), Words::All);
        engine::on_deep_stack(|| work(&engine())).expect("no panic")
    }

    /// What is said against a script, with hints and without its path.
    fn told(text: &str) -> Vec<String> {
        let thread = std::thread::current().id();
        let name = format!("zinit-lint-{}-{thread:?}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).expect("a directory");
        let path = dir.join("a.rhai");
        fs::write(&path, text).expect("a file");
        let found = with_engine(|engine| look_through(engine, &path));
        fs::remove_dir_all(&dir).expect("it is there");
        let prefix = format!("{}:", path.display());
        let told = |it: Refusal| {
            let hint = it.hint.map(|it| format!(" ({it})")).unwrap_or_default();
            format!("{}{hint}", it.message.trim_start_matches(&prefix))
        };
        found.into_iter().map(told).collect()
    }

    #[test]
    fn all_mistakes_are_told_at_once_also_where_the_script_never_comes() {
        let text = "#!/usr/bin/env zinit\nif false {\n    zinit_lst();\n    zinit_is_running();\n}\n\
            fn f(s) { s.exce(\"true\").dir() }\nlet g = |x| wiat(x);\nf(1, 2);\nhost::tpc(\"a\", 1);\n\
            import \"zinit/wait\" as w;\nw::wait_up(\"web\");\nw::wait_upp(\"web\", 1);\nshell::x();";
        let told = told(text);
        for (line, word) in [
            (3, "did you mean `zinit_list`?"),
            (4, "`zinit_is_running` takes 1 parameter, and is given 0"),
            (6, "did you mean `exec`?"),
            (6, "`dir` takes 1 parameter, and is given 0"),
            (7, "there is no function `wiat`"),
            (8, "`f` takes 1 parameter, and is given 2"),
            (9, "did you mean `host::tcp`?"),
            (11, "`w::wait_up` takes 2 parameters"),
            (12, "did you mean `w::wait_up`?"),
            (13, "there is no module `shell`"),
        ] {
            let at = format!("{line}:");
            let is_told = told.iter().any(|it| it.starts_with(&at) && it.contains(word));
            assert!(is_told, "{line} {word}: {told:#?}");
        }
        assert_eq!(told.len(), 10, "{told:#?}");
    }

    #[test]
    fn what_does_not_compile_or_imports_nothing_is_told_where_it_stands() {
        assert_eq!(
            told("let x = 1;\nlet = 2;"),
            ["2:5: syntax error: expecting name of a variable"]
        );
        let said = told("import \"zinit/wiat\" as w;\nw::anything();");
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with("1:8: there is no file"), "{said:?}");
        assert!(said[0].ends_with("(did you mean `zinit/wait`?)"), "{said:?}");
    }

    #[test]
    fn what_may_be_fine_is_not_told() {
        for text in [
            "let f = |x| x; f.call(1); call(f, 1); let m = #{ twice: |x| x * 2 }; m.twice(2);",
            "fn f(a) { this + a } let x = 1; x.f(2); let g = Fn(\"f\"); x.call(g, 1);",
            "fn map.total() { this.a } let m = #{ a: 1 }; m.total();",
            "let x = eval(\"fn later() { 1 }\"); later();",
            "let path = \"zinit/\" + \"wait\"; import path as w; w::whatever(1);",
            "import \"zinit/wait\" as w; print(w::wait_up(\"a\", 1)); debug(1);",
            "new_service(\"a\").exec(\"b\").oneshot().register(); args.len(); args[0].to_upper();",
            "[1, 2].map(|x| x + 1).filter(|x| x > 1).len(); \"a\".len; (1..3).contains(2);",
            "let n = 5; n.to_string(); n.abs(); abs(n); 1.0.floor(); sleep(0); exit(0);",
            "try { throw 1 } catch (e) { print(e) } switch 1 { 1 => type_of(1), _ => 1.type_of() }",
            "let t = timestamp(); t.elapsed(); let f = open_file(\"a\"); f.read_string();",
            "host::tcp(\"a:1\", 5); parse_int(\"5\"); range(0, 3); blob(3).len();",
        ] {
            assert_eq!(told(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn all_scripts_that_come_with_the_program_are_fine() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        let dirs = ["rhaiexamples", "stdlib", "stdlib/zinit", "stdlib/xinit"];
        let policies: Vec<&str> = zinit_stdlib::POLICY.iter().map(|it| it.path).collect();
        let files: Vec<PathBuf> = dirs
            .iter()
            .flat_map(|dir| fs::read_dir(root.join(dir)).expect("it is there"))
            .map(|it| it.expect("an entry").path())
            .filter(|it| it.extension().is_some_and(|it| it == "rhai"))
            // What decides says the words of a policy.
            .filter(|it| !policies.iter().any(|policy| it.ends_with(policy)))
            .collect();
        assert!(files.len() > 12, "{files:?}");
        let found: Vec<Refusal> =
            with_engine(|engine| files.iter().flat_map(|it| look_through(engine, it)).collect());
        assert_eq!(found.iter().map(|it| &it.message).collect::<Vec<_>>(), Vec::<&String>::new());
    }
}
