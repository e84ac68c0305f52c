//! When texts were written: rows a day, and labels by day, week or month.

use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDate};
use serde::{Deserialize, Serialize};

use crate::text::data::read::date::iso;

/// With more days than this, labels over time are by week; with more weeks than this, by month; then by year.
const MOST_PERIODS: i32 = 60;
/// 1970-01-01 was a Thursday, so the Monday of its week is this day.
const MONDAY: i32 = -3;

/// Rows by day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Days {
    /// `YYYY-MM-DD`.
    pub first: String,
    pub last: String,
    pub rows: u64,
    /// Rows without a date.
    pub undated: u64,
    /// Days with rows: days since 1970-01-01 and rows, in order.
    pub days: Vec<(i32, u64)>,
    /// `day`, `week` (from Monday), `month` or `year`: the length of a period.
    pub by: String,
    /// Labels over time, in order; periods without rows are among them.
    pub periods: Vec<Period>,
}

/// The rows of a day, a week, a month or a year.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Period {
    /// Its first day, `YYYY-MM-DD`.
    pub from: String,
    /// Rows by label, in the order of the labels.
    pub labels: Vec<u64>,
}

impl Days {
    /// None if no row has a date.
    pub(super) fn of(rows: impl Iterator<Item = (Option<i32>, u32)>, labels: usize) -> Option<Self> {
        let mut undated = 0;
        let mut days: BTreeMap<i32, Vec<u64>> = BTreeMap::new();
        for (day, label) in rows {
            match day {
                Some(day) => days.entry(day).or_insert_with(|| vec![0; labels])[label as usize] += 1,
                None => undated += 1,
            }
        }
        let (first, last) = (*days.keys().next()?, *days.keys().next_back()?);
        let span = last.saturating_sub(first);
        let (by, start): (_, fn(i32) -> i32) = match span {
            0..MOST_PERIODS => ("day", |day| day),
            _ if span < 7 * MOST_PERIODS => ("week", |day| day - (day - MONDAY).rem_euclid(7)),
            _ if span < 30 * MOST_PERIODS => ("month", |day| begin(day, |date| date.with_day(1))),
            _ => ("year", |day| begin(day, |date| NaiveDate::from_ymd_opt(date.year(), 1, 1))),
        };
        let mut periods: BTreeMap<i32, Vec<u64>> = BTreeMap::new();
        // A year with a wrong digit must not make a million empty periods.
        if by != "year" {
            (first..=last).for_each(|day| {
                periods.entry(start(day)).or_insert_with(|| vec![0; labels]);
            });
        }
        for (day, counts) in &days {
            let sum = periods.entry(start(*day)).or_insert_with(|| vec![0; labels]);
            sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        let days: Vec<(i32, u64)> = days.into_iter().map(|(day, counts)| (day, counts.iter().sum())).collect();
        Some(Days {
            first: iso(first),
            last: iso(last),
            rows: days.iter().map(|(_, rows)| rows).sum(),
            undated,
            days,
            by: by.to_owned(),
            periods: periods.into_iter().map(|(from, labels)| Period { from: iso(from), labels }).collect(),
        })
    }
}

/// The first day of the month or year of a day.
fn begin(day: i32, first: impl Fn(NaiveDate) -> Option<NaiveDate>) -> i32 {
    let epoch = NaiveDate::default();
    let date = epoch.checked_add_signed(chrono::TimeDelta::days(day.into())).and_then(first);
    date.map_or(day, |date| (date - epoch).num_days() as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(days: &[i32]) -> Days {
        Days::of(days.iter().map(|day| (Some(*day), 0)), 1).unwrap()
    }

    #[test]
    fn the_span_decides_whether_periods_are_days_weeks_months_or_years() {
        let short = days(&[18_337, 18_339]);
        assert_eq!((short.by.as_str(), short.periods.len()), ("day", 3));
        assert_eq!(short.periods[1], Period { from: "2020-03-17".to_owned(), labels: vec![0] });
        // 2020-03-16 was a Monday.
        let weeks = days(&[18_337, 18_337 + 6, 18_337 + 70]);
        assert_eq!((weeks.by.as_str(), weeks.periods.len()), ("week", 11));
        assert_eq!((weeks.periods[0].from.as_str(), weeks.periods[0].labels[0]), ("2020-03-16", 2));
        let months = days(&[18_337, 18_337 + 500]);
        assert_eq!((months.by.as_str(), months.periods[0].from.as_str()), ("month", "2020-03-01"));
        assert_eq!(months.periods.len(), 17);
        let years = days(&[0, 30_000, i32::MAX / 4]);
        assert_eq!((years.by.as_str(), years.periods.len()), ("year", 3));
        assert_eq!(years.periods[1].from, "2052-01-01");
    }

    #[test]
    fn rows_without_dates_are_counted_and_no_dates_are_none() {
        let rows = [(Some(5), 1), (None, 0), (Some(5), 0)];
        let found = Days::of(rows.into_iter(), 2).unwrap();
        assert_eq!((found.rows, found.undated, &found.days[..]), (2, 1, &[(5, 2)][..]));
        assert_eq!(found.periods[0].labels, [1, 1]);
        assert!(Days::of([(None, 0)].into_iter(), 1).is_none());
    }
}
