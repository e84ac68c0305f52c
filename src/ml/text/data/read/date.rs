//! Dates as sources write them.

use chrono::format::{Item, Parsed, StrftimeItems, parse};
use chrono::{DateTime, Datelike, NaiveDate};

use crate::text::data::declare::spec::Source;

/// 1970-01-01 in days since the year 1.
const EPOCH: i32 = 719_163;
/// As Twitter's API writes them: `Wed Oct 10 20:19:24 +0000 2018`.
const TWITTER: &str = "%a %b %d %H:%M:%S %z %Y";

/// How the dates of a source are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dating<'a> {
    /// As a `strftime` format says.
    Format(&'a str),
    /// Day, month and year, with any separator: the COVID-19 tweets.
    DayFirst,
    /// In one of the forms that are understood without being told.
    Usual,
}

impl<'a> Dating<'a> {
    pub(crate) fn of(source: &'a Source) -> Self {
        match &source.date_format {
            Some(format) => Dating::Format(format),
            None if source.is_covid19() && source.date.is_none() => Dating::DayFirst,
            None => Dating::Usual,
        }
    }

    /// The day, in days since 1970-01-01: the one that is written, in whatever time zone.
    pub(crate) fn day(self, text: &str) -> Option<i32> {
        let text = text.trim();
        let date = match self {
            Dating::Format(format) => by_format(text, format),
            Dating::DayFirst => day_first(text),
            Dating::Usual => usual(text),
        }?;
        Some(date.num_days_from_ce() - EPOCH)
    }

    /// What was expected, for messages.
    pub(crate) fn expected(self) -> String {
        match self {
            Dating::Format(format) => format!("`{format}`"),
            Dating::DayFirst => "DD-MM-YYYY".to_owned(),
            Dating::Usual => "ISO 8601, RFC 2822, Twitter's form or epoch seconds".to_owned(),
        }
    }
}

/// A day since 1970-01-01 as `YYYY-MM-DD`.
pub fn iso(day: i32) -> String {
    let date = day.checked_add(EPOCH).and_then(NaiveDate::from_num_days_from_ce_opt);
    date.map_or_else(|| format!("day {day}"), |date| date.to_string())
}

/// Why a format cannot give days, if so.
pub(crate) fn mistake(format: &str) -> Option<&'static str> {
    if StrftimeItems::new(format).any(|item| item == Item::Error) {
        return Some("it has a letter after `%` that strftime does not know");
    }
    let known = DateTime::from_timestamp(1_539_202_764, 0)?;
    let written = known.format(format).to_string();
    let back = by_format(&written, format);
    (back != Some(known.date_naive())).then_some("it does not tell year, month and day")
}

fn by_format(text: &str, format: &str) -> Option<NaiveDate> {
    let mut parsed = Parsed::new();
    parse(&mut parsed, text, StrftimeItems::new(format)).ok()?;
    parsed.to_naive_date().or_else(|_| parsed.to_naive_datetime_with_offset(0).map(|time| time.date())).ok()
}

fn day_first(text: &str) -> Option<NaiveDate> {
    let mut parts = text.split(['-', '.', '/']).map(|part| part.parse::<u32>().ok());
    let (day, month, year) = (parts.next()??, parts.next()??, parts.next()??);
    let is_year = (1000..=9999).contains(&year) && parts.next().is_none();
    if is_year { NaiveDate::from_ymd_opt(year as i32, month, day) } else { None }
}

fn usual(text: &str) -> Option<NaiveDate> {
    let twitter = || DateTime::parse_from_str(text, TWITTER).ok().map(|time| time.date_naive());
    let rfc_2822 = || DateTime::parse_from_rfc2822(text).ok().map(|time| time.date_naive());
    iso_8601(text).or_else(|| epoch(text)).or_else(twitter).or_else(rfc_2822)
}

/// `2020-03-16`, also with a time after it; `2020/03/16`; `20200316`.
fn iso_8601(text: &str) -> Option<NaiveDate> {
    if text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return NaiveDate::parse_from_str(text, "%Y%m%d").ok();
    }
    let (date, rest) = text.split_at_checked(10)?;
    let mut rest = rest.bytes();
    let is_over = match rest.next() {
        None => true,
        Some(b'T' | b't' | b' ') => rest.next().is_some_and(|byte| byte.is_ascii_digit()),
        Some(_) => false,
    };
    let digits = date.bytes().enumerate().all(|(at, byte)| byte.is_ascii_digit() || at == 4 || at == 7);
    let form = match date.as_bytes() {
        [_, _, _, _, b'-', _, _, b'-', _, _] => "%Y-%m-%d",
        [_, _, _, _, b'/', _, _, b'/', _, _] => "%Y/%m/%d",
        _ => return None,
    };
    if is_over && digits { NaiveDate::parse_from_str(date, form).ok() } else { None }
}

/// Seconds since 1970-01-01, with or without a fraction; from 12 digits on, milliseconds.
fn epoch(text: &str) -> Option<NaiveDate> {
    let whole = text
        .split_once('.')
        .map_or(text, |(whole, fraction)| if fraction.bytes().all(|byte| byte.is_ascii_digit()) { whole } else { "" });
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    if !(9..=14).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: i64 = whole.parse().ok()?;
    let seconds = if digits.len() >= 12 { number.div_euclid(1000) } else { number };
    Some(DateTime::from_timestamp(seconds, 0)?.date_naive())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_forms_are_recognised_and_others_are_not() {
        // 2018-10-10 is day 17,814.
        for text in [
            "2018-10-10",
            "2018-10-10T20:19:24Z",
            "2018-10-10 20:19:24.123+02:00",
            "2018/10/10",
            "20181010",
            "Wed Oct 10 20:19:24 +0000 2018",
            "Wed, 10 Oct 2018 20:19:24 +0000",
            "10 Oct 2018 20:19:24 GMT",
            "1539202764",
            "1539202764.5",
            "1539202764123",
            " 2018-10-10 ",
        ] {
            assert_eq!(Dating::Usual.day(text), Some(17_814), "{text}");
        }
        for text in
            ["", "10-10-2018", "2018-13-10", "2018-02-30", "yesterday", "42", "2018-10-10x", "٢٠١٨-١٠-١٠", "1e9"]
        {
            assert_eq!(Dating::Usual.day(text), None, "{text}");
        }
        assert_eq!(iso(17_814), "2018-10-10");
        assert_eq!((iso(0), iso(-1)), ("1970-01-01".to_owned(), "1969-12-31".to_owned()));
    }

    #[test]
    fn tweets_of_the_covid_file_begin_with_the_day() {
        assert_eq!(Dating::DayFirst.day("16-03-2020"), Some(18_337));
        assert_eq!(Dating::DayFirst.day("16.3.2020"), Some(18_337));
        for text in ["03-16-2020", "2020-03-16", "31-02-2020", "16-03-20", "16-03-2020-1"] {
            assert_eq!(Dating::DayFirst.day(text), None, "{text}");
        }
    }

    #[test]
    fn a_format_reads_what_it_says_and_must_say_a_day() {
        let day = |format, text| Dating::Format(format).day(text);
        assert_eq!(day("%m/%d/%y %H:%M", "10/10/18 23:59"), Some(17_814));
        assert_eq!(day("%s", "1539202764"), Some(17_814));
        assert_eq!(day("%d %B %Y", "10 october 2018"), Some(17_814));
        assert_eq!(day("%d %B %Y", "10 october 2018, Vienna"), None);
        assert_eq!(mistake("%d.%m.%Y"), None);
        assert_eq!(mistake("%Y-%j"), None);
        assert_eq!(mistake("%d.%m"), Some("it does not tell year, month and day"));
        assert_eq!(mistake("%Q"), Some("it has a letter after `%` that strftime does not know"));
    }
}
