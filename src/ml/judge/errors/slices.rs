//! How good a classifier is on parts of the rows: a source, a length, texts with links.

use std::collections::BTreeMap;

use super::marks::{Mark, length};
use super::wilson::{at_most, wilson};
use crate::judge::significance::Interval;
use crate::text::data::corpus::Example;
use crate::text::day::{date, monday, month};

/// How many slices by length there are at most.
const LENGTHS: usize = 10;
/// Rows over more days than this are sliced by month, others by week.
const WEEKS: i32 = 92;
/// How unlikely a slice's accuracy must be for it to count as worse, over all slices together.
const LEVEL: f64 = 0.05;

/// A scored example.
#[derive(Debug, Clone, Copy)]
pub struct Judged<'a> {
    pub example: &'a Example,
    pub is_right: bool,
}

/// A part of the rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Slice {
    /// What the rows were divided by: `length`, `source`, `text`.
    pub by: &'static str,
    /// `with url`, `12–15 words`.
    pub name: String,
    pub rows: u64,
    pub right: u64,
    /// Wilson's 95 % interval of the accuracy.
    pub interval: Interval,
    /// The probability that so few or fewer of its rows are right if it is no worse than all rows are (binomial).
    pub chance: f64,
}

impl Slice {
    fn of(by: &'static str, name: String, [rows, right]: [u64; 2]) -> Self {
        Self { by, name, rows, right, interval: wilson(right, rows), chance: 1.0 }
    }

    /// Share of its rows that are predicted rightly.
    pub fn accuracy(&self) -> f64 {
        self.right as f64 / self.rows.max(1) as f64
    }
}

/// All slices of some rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Slices {
    pub whole: Slice,
    /// Those with rows, the surest to be worse than the whole first: the least likely by chance.
    pub slices: Vec<Slice>,
    /// Names of those without rows.
    pub empty: Vec<String>,
}

impl Slices {
    pub fn of(rows: &[Judged]) -> Self {
        let whole = Slice::of("all", "all rows".to_owned(), count(rows.iter()));
        let mut all: Vec<Slice> = Vec::new();
        all.extend(named(rows, "source", |row| Some(row.example.source.clone())));
        all.extend(lengths(rows));
        let mut empty = Vec::new();
        for mark in Mark::ALL {
            let name = format!("with {}", mark.name());
            match count(rows.iter().filter(|row| has(row.example, mark))) {
                [0, _] => empty.push(name),
                counted => all.push(Slice::of("text", name, counted)),
            }
        }
        all.extend(dates(rows));
        if rows.iter().any(|row| row.example.made.is_some()) {
            let name = |row: &Judged| if row.example.made.is_some() { "augmented" } else { "as read" };
            all.extend(named(rows, "origin", |row| Some(name(row).to_owned())));
        }
        for slice in &mut all {
            slice.chance = at_most(slice.right, slice.rows, whole.accuracy());
        }
        all.sort_by(|a, b| a.chance.total_cmp(&b.chance).then(a.accuracy().total_cmp(&b.accuracy())));
        Self { whole, slices: all, empty }
    }

    /// Accuracy of the slice minus that of all rows.
    pub fn difference(&self, slice: &Slice) -> f64 {
        slice.accuracy() - self.whole.accuracy()
    }

    /// How many times as often the slice is wrong as all rows are; None if nothing is wrong.
    pub fn lift(&self, slice: &Slice) -> Option<f64> {
        (self.whole.right < self.whole.rows).then(|| (1.0 - slice.accuracy()) / (1.0 - self.whole.accuracy()))
    }

    /// Whether it is worse than all rows are, and this is hardly chance: its probability times the number of slices is below
    /// 5 % (Bonferroni), because the worst of many slices looks bad by chance alone.
    pub fn is_surely_worse(&self, slice: &Slice) -> bool {
        slice.chance * (self.slices.len() as f64) < LEVEL
    }
}

/// Whether a text of the example has the mark.
pub fn has(example: &Example, mark: Mark) -> bool {
    mark.is_in(&example.text) || example.pair.as_deref().is_some_and(|pair| mark.is_in(pair))
}

/// The words of its texts.
pub fn words(example: &Example) -> usize {
    length(&example.text) + example.pair.as_deref().map_or(0, length)
}

/// How many rows there are, and how many are right.
fn count<'a>(rows: impl Iterator<Item = &'a Judged<'a>>) -> [u64; 2] {
    rows.fold([0, 0], |[rows, right], row| [rows + 1, right + u64::from(row.is_right)])
}

/// Slices by a name; none if all rows have the same, or none has one.
fn named(rows: &[Judged], by: &'static str, name: impl Fn(&Judged) -> Option<String>) -> Vec<Slice> {
    let mut counts: BTreeMap<String, [u64; 2]> = BTreeMap::new();
    for row in rows {
        let Some(name) = name(row) else { continue };
        let [all, right] = counts.entry(name).or_default();
        *all += 1;
        *right += u64::from(row.is_right);
    }
    if counts.len() < 2 {
        return Vec::new();
    }
    counts.into_iter().map(|(name, counted)| Slice::of(by, name, counted)).collect()
}

/// About equally many rows in each, from short to long; rows of the same length stay together.
fn lengths(rows: &[Judged]) -> Vec<Slice> {
    let mut sorted: Vec<(usize, bool)> = rows.iter().map(|row| (words(row.example), row.is_right)).collect();
    sorted.sort_unstable();
    let mut slices = Vec::new();
    let mut start = 0;
    for part in 1..=LENGTHS {
        let mut end = (sorted.len() * part).div_ceil(LENGTHS).max(start);
        while 0 < end && end < sorted.len() && sorted[end].0 == sorted[end - 1].0 {
            end += 1;
        }
        let Some(slice) = sorted.get(start..end).filter(|slice| !slice.is_empty()) else { continue };
        let name = match (slice[0].0, slice[slice.len() - 1].0) {
            (1, 1) => "1 word".to_owned(),
            (low, high) if low == high => format!("{low} words"),
            (low, high) => format!("{low}–{high} words"),
        };
        let right = slice.iter().filter(|(_, is_right)| *is_right).count() as u64;
        slices.push(Slice::of("length", name, [slice.len() as u64, right]));
        start = end;
    }
    if slices.len() < 2 { Vec::new() } else { slices }
}

/// By month or by week; rows without a date are a slice of their own if others have one.
fn dates(rows: &[Judged]) -> Vec<Slice> {
    let days = || rows.iter().filter_map(|row| row.example.day);
    let (Some(first), Some(last)) = (days().min(), days().max()) else { return Vec::new() };
    let by_month = last.saturating_sub(first) > WEEKS;
    named(rows, "date", |row| {
        Some(match row.example.day {
            None => "no date".to_owned(),
            Some(day) if by_month => month(day),
            Some(day) => format!("week of {}", date(monday(day))),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::data::corpus::Made;

    fn example(text: &str) -> Example {
        Example {
            id: text.to_owned(),
            text: text.to_owned(),
            pair: None,
            label: 0,
            source: "tweets".to_owned(),
            day: None,
            made: None,
        }
    }

    fn slices(examples: &[Example], is_right: impl Fn(usize) -> bool) -> Slices {
        let judged = |(at, example)| Judged { example, is_right: is_right(at) };
        Slices::of(&examples.iter().enumerate().map(judged).collect::<Vec<_>>())
    }

    #[test]
    fn the_slice_that_is_surest_to_be_worse_comes_first() {
        let mut examples = vec![example("plain words here"); 80];
        examples.extend(vec![example("see https://t.co/x now"); 20]);
        let found = slices(&examples, |at| if at < 80 { at >= 8 } else { at >= 95 });
        assert_eq!((found.whole.rows, found.whole.right), (100, 77));
        assert_eq!((found.slices[0].name.as_str(), found.slices[0].rows, found.slices[0].right), ("with url", 20, 5));
        assert!(found.is_surely_worse(&found.slices[0]));
        assert!((found.difference(&found.slices[0]) - (0.25 - 0.77)).abs() < 1e-12);
        assert!((found.lift(&found.slices[0]).unwrap() - 0.75 / 0.23).abs() < 1e-12);
        assert_eq!(found.empty, ["with mention", "with hashtag", "with emoji", "with negation", "with capitals"]);
        assert_eq!(slices(&examples, |_| true).lift(&found.slices[0]), None);
    }

    #[test]
    fn a_single_wrong_row_is_not_a_sure_slice() {
        let mut examples = vec![example("plain words here"); 99];
        examples.push(example("great 😀"));
        let found = slices(&examples, |at| at % 5 != 4);
        let emoji = found.slices.iter().find(|slice| slice.name == "with emoji").unwrap();
        assert_eq!((emoji.rows, emoji.right), (1, 0));
        assert!(emoji.chance > 0.15 && !found.is_surely_worse(emoji));
    }

    #[test]
    fn lengths_have_all_rows_once_and_equal_lengths_together() {
        for counts in [vec![3; 40], (0..100).map(|i| i % 17).collect(), vec![1, 1, 1, 1, 1, 1, 1, 1, 1, 9], vec![5]] {
            let texts: Vec<Example> = counts.iter().map(|n| example(&"word ".repeat(*n))).collect();
            let found = slices(&texts, |at| at % 2 == 0);
            let lengths: Vec<&Slice> = found.slices.iter().filter(|slice| slice.by == "length").collect();
            let mut names: Vec<&str> = lengths.iter().map(|slice| slice.name.as_str()).collect();
            names.dedup();
            assert_eq!(names.len(), lengths.len());
            assert!(lengths.is_empty() || lengths.iter().map(|s| s.rows).sum::<u64>() == counts.len() as u64);
            assert!(lengths.len() <= LENGTHS && lengths.len() != 1, "{counts:?} {names:?}");
        }
        assert_eq!(slices(&[], |_| true).slices, []);
    }

    #[test]
    fn dates_are_weeks_in_a_short_time_and_months_in_a_long_one() {
        let on = |day| Example { day: Some(day), ..example("a b") };
        let names = |examples: &[Example]| -> Vec<String> {
            let mut names: Vec<String> = slices(examples, |_| true).slices.into_iter().map(|s| s.name).collect();
            names.retain(|name| name.contains("20") || name == "no date");
            names.sort();
            names
        };
        let short = [on(18_337), on(18_340), on(18_344), example("a b")];
        assert_eq!(names(&short), ["no date", "week of 2020-03-16", "week of 2020-03-23"]);
        assert_eq!(names(&[on(18_337), on(18_500)]), ["2020-03", "2020-08"]);
    }

    #[test]
    fn rows_that_were_made_are_apart() {
        let made = Some(Made { origin: "train:1".into(), operation: "swap".into() });
        let found = slices(&[example("a b"), Example { made, ..example("b a") }], |at| at == 0);
        let shown: Vec<_> =
            found.slices.iter().filter(|s| s.by == "origin").map(|s| (s.name.as_str(), s.right)).collect();
        assert_eq!(shown, [("augmented", 0), ("as read", 1)]);
    }
}
