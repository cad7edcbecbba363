//! Regular expressions that look at lines.

/// The regular expression of a `ready_log`, ready to look at lines; or why it is none, as half a
/// sentence that says where. One that would need much memory is none either.
///
/// # Errors
/// What is wrong with the text, and at which character.
///
/// ```
/// use zinit_host::spec::line_regex;
/// assert!(line_regex("^listening on [0-9]+").expect("it is one").is_match("listening on 80"));
/// assert_eq!(line_regex("ready (").expect_err("it is none"), "unclosed group, at character 7");
/// ```
pub fn line_regex(pattern: &str) -> Result<regex::Regex, String> {
    let built = regex::RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
        other => first_fault(&other.to_string()),
    })
}

/// Compiled, a regular expression may be this large.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// What the parser of regular expressions says in a block of lines: the pattern, a caret, the fault.
fn first_fault(told: &str) -> String {
    let what = told.lines().find_map(|it| it.strip_prefix("error: ")).unwrap_or("it is malformed");
    let caret = told.lines().find_map(|it| {
        let marks = it.trim_start();
        let only = !marks.is_empty() && marks.bytes().all(|it| it == b'^');
        // The pattern is indented by four.
        only.then(|| (it.len() - marks.len()).saturating_sub(3))
    });
    match caret {
        // A pattern of several lines is shown with their numbers, and marked elsewhere.
        Some(at) if told.lines().count() == 4 => format!("{what}, at character {at}"),
        _ => what.to_owned(),
    }
}
