//! A calendar as a heat map: weeks as columns, days of the week as rows, darker the more.

use std::collections::BTreeMap;

use super::area::Area;
use super::style::{STEPS, WIDTH, scaled};
use super::svg::{MARGIN, Svg};
use pipe_ml::text::day::{civil, date};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// The days whose names are shown, from Monday.
const WEEKDAYS: [(usize, &str); 4] = [(0, "Mon"), (2, "Wed"), (4, "Fri"), (6, "Sun")];
/// 1970-01-01 was a Thursday: the Monday of its week.
const MONDAY: i32 = -3;
/// Where the first column of weeks begins, and the largest cell.
const LEFT: f64 = 50.0;
const LARGEST: f64 = 26.0;
/// The most weeks in a line; beyond, each year has a line of its own.
const MOST_WEEKS: i32 = 54;
/// The most years; of more, the last are shown.
const MOST_YEARS: usize = 12;
/// If the most are so many times the middle day, the colours are on a logarithmic scale.
const UNEVEN: f64 = 8.0;

/// Some weeks in one line.
struct Line {
    title: String,
    /// Days since 1970-01-01, both included.
    first: i32,
    last: i32,
}

/// Draw how much there is on each day; `days` are days since 1970-01-01 with a count above 0, in order, at least one.
pub(crate) fn calendar(title: &str, days: &[(i32, u64)], unit: &str) -> String {
    let counts: BTreeMap<i32, u64> = days.iter().copied().collect();
    let (lines, left_out) = lines(&counts);
    let widest = lines.iter().map(|line| weeks(line.first, line.last)).max().unwrap_or(1);
    let cell = ((WIDTH - LEFT - MARGIN) / f64::from(widest)).min(LARGEST);
    let tall = 7.0 * cell + 20.0;
    let gap = 14.0;
    let top = 60.0;
    let legend = top + lines.len() as f64 * (tall + gap) + 6.0;
    let own = (".none{fill:#f4f5f7}.day{font-size:10px}", ".none{fill:#171e28}");
    let mut svg = Svg::new(title, (WIDTH, legend + 34.0), own);
    let shade = Shade::of(&counts);
    svg.subtitle(&subtitle(&counts, left_out, unit));
    for (at, line) in lines.iter().enumerate() {
        draw(&mut svg, line, (top + at as f64 * (tall + gap), cell), &|day| {
            let count = counts.get(&day).copied().unwrap_or(0);
            (count, if count == 0 { "none".to_owned() } else { scaled(shade.share(count)).0 })
        });
    }
    shade.legend(&mut svg, legend, unit);
    svg.finish()
}

fn subtitle(counts: &BTreeMap<i32, u64>, left_out: usize, unit: &str) -> String {
    let (first, last) = (counts.keys().next().copied().unwrap_or(0), counts.keys().next_back().copied().unwrap_or(0));
    let total: u64 = counts.values().sum();
    let noun = if counts.len() == 1 { "day" } else { "days" };
    let more = if left_out > 0 { format!("; the last {MOST_YEARS} years") } else { String::new() };
    format!("{} {unit} on {} {noun}, {} to {}{more}", grouped(total), counts.len(), date(first), date(last))
}

/// One line for up to a year; otherwise one for each calendar year with days in it. Also how many years are left out.
fn lines(counts: &BTreeMap<i32, u64>) -> (Vec<Line>, usize) {
    let (Some(&first), Some(&last)) = (counts.keys().next(), counts.keys().next_back()) else { return (Vec::new(), 0) };
    if last.saturating_sub(first) < 7 * MOST_WEEKS && weeks(first, last) <= MOST_WEEKS {
        return (vec![Line { title: String::new(), first, last }], 0);
    }
    let mut years: Vec<i32> = counts.keys().map(|day| civil(*day).0 as i32).collect();
    years.dedup();
    let left_out = years.len().saturating_sub(MOST_YEARS);
    let line = |year: &i32| {
        let first = days_to(*year);
        Line { title: year.to_string(), first, last: days_to(year + 1) - 1 }
    };
    (years[left_out..].iter().map(line).collect(), left_out)
}

fn draw(svg: &mut Svg, line: &Line, (top, cell): (f64, f64), of: &dyn Fn(i32) -> (u64, String)) {
    let start = line.first - (line.first - MONDAY).rem_euclid(7);
    let below = top + 16.0;
    let small = " font-size=\"10\"";
    if !line.title.is_empty() {
        svg.text_with("strong", (MARGIN - 4.0, top + 9.0), ("start", &line.title), " font-size=\"11\"");
    }
    let shown = if cell < 12.0 { &WEEKDAYS[..3] } else { &WEEKDAYS[..] };
    for (row, name) in shown {
        svg.text_with("faint", (LEFT - 6.0, below + (*row as f64 + 0.5) * cell + 3.5), ("end", name), small);
    }
    let mut free = 0.0;
    for day in line.first..=line.last {
        let (week, row) = ((day - start) / 7, (day - start) % 7);
        let (left, top) = (LEFT + f64::from(week) * cell, below + f64::from(row) * cell);
        let (year, month, of_month) = civil(day);
        // A month is named where it begins; the one that is cut at the start only if the next leaves it room.
        let room = f64::from((31 - of_month) / 7) * cell > 24.0;
        if (of_month == 1 || (day == line.first && room)) && left >= free {
            let with_year = line.title.is_empty() && (day == line.first || month == 1);
            let name = MONTHS[month as usize - 1];
            let name = if with_year { format!("{name} {year}") } else { name.to_owned() };
            svg.text_with("faint", (left, below - 5.0), ("start", &name), small);
            free = left + 5.4 * name.len() as f64 + 2.0;
        }
        let (count, class) = of(day);
        let gap = if cell < 12.0 { 1.0 } else { 2.0 };
        let area = Area { left, top, right: left + cell - gap, bottom: top + cell - gap };
        svg.rect(&class, area, &format!("{}: {}", date(day), grouped(count)));
    }
}

/// Which colour a count has.
struct Shade {
    most: f64,
    is_log: bool,
}

impl Shade {
    fn of(counts: &BTreeMap<i32, u64>) -> Self {
        let mut sorted: Vec<u64> = counts.values().copied().collect();
        sorted.sort_unstable();
        let most = sorted.last().copied().unwrap_or(1) as f64;
        Shade { most, is_log: most > UNEVEN * sorted.get(sorted.len() / 2).copied().unwrap_or(1) as f64 }
    }

    fn share(&self, count: u64) -> f64 {
        let count = count as f64;
        // The lightest colour is so light that it only begins at one.
        if self.is_log { (1.0 + count).ln() / (1.0 + self.most).ln() } else { count / self.most }
    }

    /// The count at which a colour begins.
    fn from(&self, step: usize) -> u64 {
        let share = step as f64 / STEPS as f64;
        let count = if self.is_log { (share * (1.0 + self.most).ln()).exp() - 1.0 } else { share * self.most };
        (count.ceil() as u64).max(1)
    }

    fn legend(&self, svg: &mut Svg, top: f64, unit: &str) {
        let scale = if self.is_log { ", logarithmic" } else { "" };
        let (cell, tall) = (16.0, 12.0);
        let text = |svg: &mut Svg, x: f64, anchor: &str, text: &str| {
            svg.text_with("faint", (x, top + 10.0), (anchor, text), " font-size=\"11\"");
        };
        let least = grouped(self.from(0));
        let mut left = MARGIN + 6.4 * least.len() as f64 + 6.0;
        text(svg, left - 6.0, "end", &least);
        // With few different counts some colours are not used.
        let steps = (0..STEPS).filter(|step| *step == 0 || self.from(*step) > self.from(step - 1));
        for step in steps {
            let area = Area { left, top, right: left + cell - 2.0, bottom: top + tall };
            svg.rect(&format!("q{step}"), area, &format!("from {}", grouped(self.from(step))));
            left += cell;
        }
        text(svg, left + 4.0, "start", &format!("{} {unit} a day{scale}", grouped(self.most as u64)));
    }
}

fn weeks(first: i32, last: i32) -> i32 {
    (last - (first - (first - MONDAY).rem_euclid(7))) / 7 + 1
}

/// The first day of a year.
fn days_to(year: i32) -> i32 {
    let before = i64::from(year) - 1;
    (365 * before + before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400) - 719_162) as i32
}

/// `41,157`.
fn grouped(number: u64) -> String {
    pipe_ml::compute::numbers::thousands(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        assert_eq!((date(0), date(18_337), date(-1)), ("1970-01-01".into(), "2020-03-16".into(), "1969-12-31".into()));
        for year in [1900, 1970, 2000, 2024, 2100] {
            assert_eq!(civil(days_to(year)), (i64::from(year), 1, 1));
            assert_eq!(civil(days_to(year) - 1), (i64::from(year) - 1, 12, 31));
        }
    }

    #[test]
    fn each_day_is_one_square_and_several_years_have_a_line_each() {
        let short = calendar("Tweets a day", &[(18_337, 5), (18_340, 1)], "tweets");
        assert!(
            short.contains("<title>2020-03-16: 5</title>") && short.contains("<title>2020-03-18: 0</title>"),
            "{short}"
        );
        assert!(
            short.contains("6 tweets on 2 days, 2020-03-16 to 2020-03-19") && short.contains("Mar 2020"),
            "{short}"
        );
        let long = calendar("Tweets a day", &[(10_000, 5), (18_340, 1), (18_900, 1)], "tweets");
        assert_eq!(long.matches("class=\"strong\"").count(), 3, "1997, 2020 and 2021");
        let days: Vec<(i32, u64)> = (0..30).map(|year| (365 * year, 1)).collect();
        assert!(calendar("t", &days, "rows").contains("; the last 12 years"));
    }
}
