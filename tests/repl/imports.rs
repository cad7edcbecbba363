//! Files of one's own that are imported.

use crate::alone;

#[test]
fn what_is_imported_is_there_in_later_texts_and_after_errors() {
    let (home, screen) = alone();
    home.write("lib.rhai", "fn deep(n) { n * 2 }\n");
    assert_eq!(screen.runs("import \"lib\" as lib"), "");
    assert_eq!(screen.runs("lib::deep(21)"), "=> 42");
    assert!(screen.runs("throw \"oh\"").contains("oh"));
    assert!(screen.runs("let = 1").contains("syntax error"));
    assert_eq!(screen.runs("lib::deep(22)"), "=> 44");
    screen.enters("fn far(n) {").shows("   ...").enters("import \"lib\" as it;");
    screen.enters("it::deep(n)").enters("}").prompts();
    assert_eq!(screen.runs("far(23)"), "=> 46");
}

#[test]
fn an_import_that_fails_spoils_nothing() {
    let (home, screen) = alone();
    home.write("broken.rhai", "fn f() { 1 }\nlet x = ;\n");
    for name in ["absent", "broken"] {
        let said = screen.runs(&format!("import \"{name}\" as it"));
        assert!(said.contains("error") && said.contains(name), "{said}");
        assert_eq!(screen.runs("40 + 2"), "=> 42", "after {name}");
    }
    home.write("absent.rhai", "fn f() { 42 }\n");
    assert_eq!(screen.runs("import \"absent\" as it; it::f()"), "=> 42", "it is there now");
}

#[test]
fn a_loaded_script_imports_what_is_beside_it() {
    let (home, screen) = alone();
    home.write("deep/near.rhai", "fn deep(n) { n * 2 }\n");
    home.write("deep/it.rhai", "import \"near\" as near;\nlet x = near::deep(21);\n");
    assert_eq!(screen.runs("/load deep/it.rhai"), "");
    assert_eq!(screen.runs("x"), "=> 42");
    assert_eq!(screen.runs("near::deep(22)"), "=> 44");
    assert_eq!(screen.runs("44 + 4"), "=> 48");
}
