//! The reference, made from the table of methods.

use super::args::Param;
use super::methods::{METHODS, Method};

/// The reference, in Markdown.
pub fn reference() -> String {
    METHODS.iter().map(described).collect::<Vec<_>>().join("\n")
}

fn described(method: &Method) -> String {
    let names = method.params.iter().map(Param::usage).collect::<Vec<_>>().join(", ");
    let params = method.params.iter().map(|it| format!("- `{}`: {}\n", it.name, it.doc));
    let Method { name, doc, result, .. } = method;
    format!(
        "### `{name}` [{names}]\n\n{doc}\n\n{}- answers: {result}\n",
        params.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_names_every_method() {
        let text = reference();
        assert!(METHODS.iter().all(|it| text.contains(it.name)));
        assert!(text.contains("### `service.kill` [name, signal = \"SIGTERM\"]"), "{text}");
    }
}
