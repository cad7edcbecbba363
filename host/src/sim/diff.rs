//! Timelines against each other: what was expected and what was told, line by line.

/// How many lines around a difference are shown.
const AROUND: usize = 3;

/// The most lines that are compared in every way; longer texts are compared from both ends only.
const LINES_MAX: usize = 2_000;

/// The text without the indentation that all of its lines have, and without empty lines around it.
pub(super) fn dedent(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let full = |it: &&&str| !it.is_empty();
    let indent = |it: &&str| it.len() - it.trim_start().len();
    let least = lines.iter().filter(full).map(indent).min().unwrap_or(0);
    let cut: Vec<&str> = lines.iter().map(|it| it.get(least..).unwrap_or("")).collect();
    cut.join("\n").trim_matches('\n').to_owned()
}

/// The lines that differ, `-` expected and `+` told, with a few lines around them.
pub(super) fn difference(wanted: &str, got: &str) -> String {
    let lines = compared(&wanted.lines().collect::<Vec<_>>(), &got.lines().collect::<Vec<_>>());
    let differs: Vec<usize> = (0..lines.len()).filter(|it| lines[*it].0 != ' ').collect();
    let near = |at: usize| differs.iter().any(|it| it.abs_diff(at) <= AROUND);
    let mut shown = Vec::new();
    let mut cut = false;
    for (at, (mark, line)) in lines.iter().enumerate() {
        if near(at) {
            shown.push(format!("{mark} {line}").trim_end().to_owned());
            cut = false;
        } else if !std::mem::replace(&mut cut, true) {
            shown.push("  ...".to_owned());
        }
    }
    shown.join("\n")
}

/// All lines of both, each with its mark.
fn compared<'a>(wanted: &[&'a str], got: &[&'a str]) -> Vec<(char, &'a str)> {
    let alike = wanted.iter().zip(got).take_while(|(one, other)| one == other).count();
    let (rest, told) = (&wanted[alike..], &got[alike..]);
    let mut lines: Vec<_> = wanted[..alike].iter().map(|it| (' ', *it)).collect();
    if rest.len() > LINES_MAX || told.len() > LINES_MAX {
        lines.extend(rest.iter().map(|it| ('-', *it)));
        lines.extend(told.iter().map(|it| ('+', *it)));
        return lines;
    }
    let common = common(rest, told);
    let (mut one, mut other) = (0, 0);
    while one < rest.len() || other < told.len() {
        if one < rest.len() && other < told.len() && rest[one] == told[other] {
            lines.push((' ', rest[one]));
            (one, other) = (one + 1, other + 1);
        } else if other >= told.len()
            || one < rest.len() && common[one + 1][other] >= common[one][other + 1]
        {
            lines.push(('-', rest[one]));
            one += 1;
        } else {
            lines.push(('+', told[other]));
            other += 1;
        }
    }
    lines
}

/// How many lines of both are the same from each pair of lines on.
fn common(one: &[&str], other: &[&str]) -> Vec<Vec<u32>> {
    let mut table = vec![vec![0; other.len() + 1]; one.len() + 1];
    for i in (0..one.len()).rev() {
        for j in (0..other.len()).rev() {
            table[i][j] = if one[i] == other[j] {
                table[i + 1][j + 1] + 1
            } else {
                table[i + 1][j].max(table[i][j + 1])
            };
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_inside_of_a_test_is_the_same_as_what_is_told() {
        assert_eq!(dedent("\n      0 boot\n        launch db\n    "), "0 boot\n  launch db");
        assert_eq!(dedent(""), "");
    }

    #[test]
    fn lines_that_differ_are_shown_with_those_around_them() {
        let wanted = "1\n2\n3\n4\n5\n6\n7";
        let got = "1\n2\n3\n4\nfive\n6\n7\n8";
        assert_eq!(difference(wanted, got), "  ...\n  2\n  3\n  4\n- 5\n+ five\n  6\n  7\n+ 8");
    }
}
