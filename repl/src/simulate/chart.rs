//! A report as text: a row for each service with time across, a legend, and a sentence at the end.

use std::fmt::Write as _;

use nu_ansi_term::Color;
use zinit_host::forecast::{Cell, Course, Report, Storm, time_of};

use crate::render::Paint;

/// So many services have a row.
const ROWS_MAX: usize = 20;

/// The widest that names may be.
const NAME_MAX: usize = 24;

/// What stands behind a timeline: availability and the worst recovery.
const FIGURES: usize = "  100.000%  18 min+".len();

/// Timelines are never narrower, whatever the terminal is.
const PARTS_MIN: usize = 8;

/// Into how many parts a timeline is divided that fits beside these names.
pub(super) fn parts<'a>(names: impl Iterator<Item = &'a str>, width: usize) -> usize {
    let name = names.map(str::len).max().unwrap_or(0).min(NAME_MAX);
    width.saturating_sub(name + 1 + FIGURES).max(PARTS_MIN)
}

/// The report.
pub(super) fn text(report: &Report, width: usize, paint: Paint) -> String {
    let mut text = String::new();
    let fits = report.services.iter().take(ROWS_MAX);
    let name = report.services.iter().map(|it| it.name.len()).max().unwrap_or(0).min(NAME_MAX);
    if let Some(first) = report.services.first() {
        text += &axis(report, name, first.timeline.len());
    }
    fits.for_each(|it| text += &row(it, name, paint));
    text += &others(report);
    text += &legend(width, paint);
    text += &remarks(report, paint);
    let _ = writeln!(text, "{}", summary(report));
    text
}

/// The times of day above the timelines, as many as there is room for.
fn axis(report: &Report, name: usize, parts: usize) -> String {
    let mut line = String::new();
    for quarter in 0..4 {
        let ms = report.span_ms * quarter / 4;
        let (time, at) = (time_of(ms), parts * usize::try_from(quarter).unwrap_or(0) / 4);
        let seconds = report.span_ms < 4 * 60_000;
        let time = if seconds { &time[..] } else { &time[..time.len() - 3] };
        let room = parts / 4 > time.len() || quarter == 0;
        if room && line.len() <= at {
            let _ = write!(line, "{:1$}{time}", "", at - line.len());
        }
    }
    let head = format!("{:name$} {line:parts$}  {:>8}  {:>7}", "", "avail.", "worst");
    format!("{}\n", head.trim_end())
}

fn row(it: &Course, width: usize, paint: Paint) -> String {
    let name = match it.name.len() {
        long if long > width => format!("{}…", &it.name[..width - 1]),
        _ => it.name.clone(),
    };
    let worst = it.worst.map_or_else(
        || "-".to_owned(),
        |it| format!("{}{}", lasted(it.ms), if it.recovered { "" } else { "+" }),
    );
    let figures = format!("{:>8}  {worst:>7}", percent(it.availability));
    format!("{name:width$} {}  {figures}\n", drawn(&it.timeline, paint))
}

/// A timeline in signs, those that are alike in one colour.
fn drawn(timeline: &str, paint: Paint) -> String {
    let mut text = String::new();
    let cells: Vec<Cell> = timeline.chars().filter_map(Cell::of_letter).collect();
    for run in cells.chunk_by(|one, other| one == other) {
        let (sign, colour, _) = sign(run[0]);
        text += &paint.on(colour.normal(), &sign.repeat(run.len()));
    }
    text
}

fn sign(cell: Cell) -> (&'static str, Color, &'static str) {
    match cell {
        Cell::Up => ("━", Color::Green, "up"),
        Cell::Break => ("┿", Color::LightGreen, "up but for a moment"),
        Cell::Starting => ("▒", Color::Yellow, "starting"),
        Cell::Backoff => ("░", Color::Purple, "backoff"),
        Cell::Blocked => ("╌", Color::Cyan, "blocked"),
        Cell::Down => ("×", Color::Red, "down"),
    }
}

/// How many there are besides, and how they are.
fn others(report: &Report) -> String {
    let more = report.services.get(ROWS_MAX..).unwrap_or_default();
    match more {
        [] => String::new(),
        [first, ..] if is_fine(first) => format!("... and {} more, all fine\n", more.len()),
        [first, ..] => {
            let least = percent(first.availability);
            format!("... and {} more, each available {least} or better\n", more.len())
        }
    }
}

/// Whether it was never lost once it was up, and came up.
fn is_fine(it: &Course) -> bool {
    it.worst.is_none() && ["Running", "Success"].contains(&it.state.as_str())
}

fn legend(width: usize, paint: Paint) -> String {
    let (mut text, mut used) = (String::new(), 0);
    for cell in Cell::ALL {
        let (sign, colour, what) = sign(cell);
        let long = sign.chars().count() + 1 + what.len();
        if used > 0 {
            let breaks = used + 2 + long > width;
            text += if breaks { "\n" } else { "  " };
            used = if breaks { 0 } else { used + 2 };
        }
        let _ = write!(text, "{} {what}", paint.on(colour.normal(), sign));
        used += long;
    }
    text + "\n"
}

/// What there is to say besides.
fn remarks(report: &Report, paint: Paint) -> String {
    let mut text = String::new();
    let warning = paint.on(Color::Yellow.bold(), "warning:");
    for it in &report.problems {
        let times =
            if it.times > 1 { format!(" ({} times)", grouped(it.times)) } else { String::new() };
        let _ = writeln!(text, "{warning} {}{times}", it.what);
    }
    for it in report.services.iter().filter(|it| it.availability == 0.0).take(ROWS_MAX) {
        let _ = writeln!(text, "{warning} `{}` was never up: {}", it.name, it.reason);
    }
    if let Some(at) = report.ended_ms {
        let _ = writeln!(
            text,
            "{warning} everything was down at {}, and the server ended",
            time_of(at)
        );
    }
    if !report.unused.is_empty() {
        let (some, more) = report.unused.split_at(report.unused.len().min(8));
        let more =
            if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        let _ = writeln!(text, "not started: {}{more}", some.join(", "));
    }
    if report.usual_faults {
        text += "no faults were named, so each service crashes about once a day\n";
    }
    text
}

/// The whole in a sentence.
fn summary(report: &Report) -> String {
    let fleet = match report.services.len() {
        1 => "1 service".to_owned(),
        more => format!("{} services", grouped(more as u64)),
    };
    let count = |number: u64, one: &str, more: &str| {
        format!("{} {}", grouped(number), if number == 1 { one } else { more })
    };
    let mut text = format!(
        "{} of {fleet}: {}, {}",
        lasted(report.span_ms),
        count(report.crashes, "crash", "crashes"),
        count(report.restarts, "restart", "restarts"),
    );
    if let Some(it) = report.services.first() {
        let _ = write!(text, ", worst availability {} ({})", percent(it.availability), it.name);
    }
    let breaks = report.services.iter().filter_map(|it| Some((it, it.worst?)));
    // Of equals the first, which was less available.
    if let Some((it, worst)) = breaks.rev().max_by_key(|(_, it)| (!it.recovered, it.ms)) {
        let _ = match worst.recovered {
            true => write!(text, ", worst recovery {} ({})", lasted(worst.ms), it.name),
            false => write!(text, ", {} not up again since {}", it.name, time_of(worst.at_ms)),
        };
    }
    text += &storms(report);
    text
}

fn storms(report: &Report) -> String {
    let told = |it: Storm| format!("{} in", grouped(it.launches as u64));
    match (report.storm_1s, report.storm_10s) {
        (Some(one), Some(ten)) => format!(
            ", most restarts at once {} 1 s at {} and {} 10 s at {}",
            told(one),
            time_of(one.at_ms),
            told(ten),
            time_of(ten.at_ms),
        ),
        _ => String::new(),
    }
}

/// A part as percents, never rounded up: what was lost for a moment was not there all the time.
fn percent(part: f64) -> String {
    if part >= 1.0 {
        return "100%".to_owned();
    }
    format!("{:.3}%", (part * 100_000.0).floor() / 1_000.0)
}

/// How long something took, as roughly as people say it.
fn lasted(ms: i64) -> String {
    match ms {
        ..1_000 => format!("{ms} ms"),
        1_000..10_000 => format!("{}.{} s", ms / 1_000, ms / 100 % 10),
        10_000..120_000 => format!("{} s", ms / 1_000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        _ => format!("{} h", ms / 3_600_000),
    }
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use zinit_host::forecast::{Break, Problem};

    use super::*;
    use crate::render::PLAIN;

    fn course(name: &str, availability: f64, worst: Option<i64>, timeline: &str) -> Course {
        let worst = worst.map(|ms| Break { at_ms: 7_200_000, ms, recovered: true });
        let (state, reason) = ("Running".to_owned(), "it is up".to_owned());
        let (name, timeline) = (name.to_owned(), timeline.to_owned());
        let (crashes, restarts) = (1, 1);
        Course { name, availability, down_ms: 0, crashes, restarts, worst, state, reason, timeline }
    }

    fn report(services: Vec<Course>) -> Report {
        let storm = Some(Storm { launches: 12, at_ms: 50_580_000 });
        Report {
            span_ms: 86_400_000,
            seed: 1,
            usual_faults: false,
            services,
            unused: Vec::new(),
            crashes: 2_391,
            restarts: 2_391,
            storm_1s: storm,
            storm_10s: storm,
            problems: Vec::new(),
            ended_ms: None,
        }
    }

    #[test]
    fn a_report_is_a_row_for_each_service_and_a_sentence() {
        let names = ["db", "web"];
        let parts = parts(names.into_iter(), 80);
        let db = format!("{}sbwd{}", "u".repeat(20), "i".repeat(parts - 24));
        let services = vec![
            course("db", 0.99305, Some(61_000), &db),
            course("web", 1.0, None, &"u".repeat(parts)),
        ];
        let text = text(&report(services), 80, PLAIN);
        let rows: Vec<&str> = text.lines().collect();
        assert!(rows.iter().take(4).all(|it| it.chars().count() <= 80), "{text}");
        assert!(rows[0].starts_with("    00:00         06:00"), "{text}");
        assert!(rows[1].starts_with("db  ━━━━━━━━━━━━━━━━━━━━▒░╌×┿┿┿"), "{text}");
        assert!(rows[1].ends_with("   99.305%     61 s"), "{text}");
        assert!(rows[2].ends_with("━      100%        -"), "{text}");
        assert_eq!(
            rows[3],
            "━ up  ┿ up but for a moment  ▒ starting  ░ backoff  ╌ blocked  × down"
        );
        assert_eq!(
            rows[4],
            "24 h of 2 services: 2,391 crashes, 2,391 restarts, worst availability 99.305% (db), \
             worst recovery 61 s (db), most restarts at once 12 in 1 s at 14:03:00 and 12 in 10 s at \
             14:03:00"
        );
    }

    #[test]
    fn a_narrow_terminal_has_short_timelines_and_a_legend_of_several_lines() {
        assert_eq!(parts(["a-service-with-a-very-long-name"].into_iter(), 40), PARTS_MIN);
        let text = legend(40, PLAIN);
        assert!(
            text.lines().count() > 1 && text.lines().all(|it| it.chars().count() <= 40),
            "{text}"
        );
    }

    #[test]
    fn many_services_are_shown_in_part() {
        let fleet =
            |worst| (0..25).map(move |it| course(&format!("s{it}"), 1.0, worst, "uuuuuuuu"));
        let fine = text(&report(fleet(None).collect()), 80, PLAIN);
        assert!(fine.contains("\n... and 5 more, all fine\n"), "{fine}");
        let lost = text(&report(fleet(Some(10)).collect()), 80, PLAIN);
        assert!(lost.contains("\n... and 5 more, each available 100% or better\n"), "{lost}");
    }

    #[test]
    fn what_went_wrong_is_told() {
        let mut report = report(vec![course("db", 0.0, None, "dddddddd")]);
        report.usual_faults = true;
        report.unused = vec!["old".to_owned()];
        report.problems = vec![Problem { what: "policy.rhai:1: no".to_owned(), times: 1_000 }];
        let text = text(&report, 80, PLAIN);
        assert!(text.contains("warning: policy.rhai:1: no (1,000 times)\n"), "{text}");
        assert!(text.contains("warning: `db` was never up: it is up\n"), "{text}");
        assert!(text.contains("not started: old\nno faults were named"), "{text}");
    }

    #[test]
    fn nothing_is_rounded_up_to_all_of_the_time() {
        assert_eq!(percent(0.999_999_9), "99.999%");
        assert_eq!(percent(1.0), "100%");
        let told = [10, 1_549, 61_000, 603_000, 64_800_000].map(lasted);
        assert_eq!(told, ["10 ms", "1.5 s", "61 s", "10 min", "18 h"]);
    }
}
