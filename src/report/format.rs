//! Formats numbers for people: durations, counts, bytes, rates.

use std::collections::BTreeMap;

/// `38ms`, `4.2s`, `42s`, `1m 50s`, `2h 05m`, `3d 4h`.
pub fn duration(seconds: f64) -> String {
    // Round before choosing the unit, so that 59.7 s is `1m 00s` and not `60s`.
    let ms = (seconds.max(0.0) * 1e3).round();
    if ms < 1.0 {
        return if seconds > 0.0 { "<1ms".into() } else { "0ms".into() };
    }
    if ms < 1e3 {
        return format!("{ms}ms");
    }
    let tenths = (seconds * 10.0).round();
    if tenths < 100.0 {
        return format!("{:.1}s", tenths / 10.0);
    }
    let s = seconds.round() as u64;
    let minutes = (seconds / 60.0).round() as u64;
    let hours = (seconds / 3600.0).round() as u64;
    if s < 60 {
        format!("{s}s")
    } else if s < 3600 {
        format!("{}m {:02}s", s / 60, s % 60)
    } else if minutes < 24 * 60 {
        format!("{}h {:02}m", minutes / 60, minutes % 60)
    } else {
        format!("{}d {}h", hours / 24, hours % 24)
    }
}

/// `41,157`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 stage`, `9 stages`.
pub fn plural(n: usize, noun: &str) -> String {
    let n = n as u64;
    if n == 1 { format!("1 {noun}") } else { format!("{} {noun}s", count(n)) }
}

/// `999 B`, `120.1 MB`; decimal units, as disks and model hubs use.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if n < 1000 {
        return format!("{n} B");
    }
    let mut value = n as f64 / 1e3;
    let mut unit = 0;
    // 999.95 would print as 1000.0.
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1e3;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `412/s`, `4.1/s`.
pub fn rate(per_second: f64) -> String {
    if !per_second.is_finite() || per_second < 0.0 {
        "?/s".into()
    } else if per_second < 9.95 {
        format!("{per_second:.1}/s")
    } else {
        format!("{}/s", count(per_second.round() as u64))
    }
}

/// `8%`.
pub fn percent(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

/// A share that distinguishes little from nothing: `0%`, `<0.1%`, `30.0%`, `>99.9%`, `100%`.
pub fn share(part: u64, whole: u64) -> String {
    let tenths = if whole == 0 { 0 } else { (part as f64 / whole as f64 * 1e3).round() as u64 };
    match (part, tenths) {
        (0, _) => "0%".into(),
        (part, _) if part == whole => "100%".into(),
        (_, 0) => "<0.1%".into(),
        (_, 1000) => ">99.9%".into(),
        _ => format!("{}.{}%", tenths / 10, tenths % 10),
    }
}

/// A bar for `share` in `width` columns, in eighths of a column; a positive share is always visible.
pub fn bar(share: f64, width: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share.clamp(0.0, 1.0) * 8.0 * width as f64).round() as usize;
    let eighths = if share > 0.0 { eighths.max(1) } else { 0 };
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

/// A number of unknown scale: `0.842`, `41,157`, `3.1e-4`.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        value.to_string()
    } else if value.fract() == 0.0 && size < 1e15 {
        let sign = if value < 0.0 { "-" } else { "" };
        format!("{sign}{}", count(size as u64))
    } else if size < 1e-3 {
        scientific(value)
    } else if size < 1e3 {
        format!("{value:.3}")
    } else {
        number(value.round())
    }
}

/// `3e-4`, `4.7e-5`; the usual notation of learning rates.
pub fn scientific(value: f64) -> String {
    let text = format!("{value:.1e}");
    text.replacen(".0e", "e", 1)
}

/// How many facts are shown beside a stage; `pipe history` and `pipe metrics` show all.
const FACTS: usize = 5;

/// What says most about a result: these facts come first.
const MATTER: [&str; 6] = ["validation", "macro-f1", "accuracy", "loss", "bytes", "latency-p50-ms"];

/// The facts that matter most of a stage or an evaluation, each with its name; the second value says whether there are more.
pub(super) fn facts(all: &BTreeMap<String, f64>) -> (Vec<String>, bool) {
    let first = MATTER.iter().filter_map(|name| all.get_key_value(*name));
    let others = all.iter().filter(|(name, _)| !MATTER.contains(&name.as_str()));
    let shown = first.chain(others).take(FACTS).map(|(name, value)| format!("{name} {}", fact(name, *value)));
    (shown.collect(), all.len() > FACTS)
}

/// A metric; its name determines the format: `bytes`, `seconds`, `samples-per-second`.
pub fn fact(name: &str, value: f64) -> String {
    if name.ends_with("per-second") {
        rate(value)
    } else if name == "seconds" || name.ends_with("-seconds") {
        duration(value)
    } else if (name == "bytes" || name.ends_with("-bytes")) && value >= 0.0 {
        bytes(value as u64)
    } else {
        number(value)
    }
}

/// A time in seconds since 1970 as UTC date and minute: `2026-01-31 09:05`.
pub fn moment(unix_seconds: f64) -> String {
    let minutes = (unix_seconds / 60.0).floor() as i64;
    let (day, minute) = (minutes.div_euclid(24 * 60), minutes.rem_euclid(24 * 60));
    // Days to a civil date. Years begin in March, so that the leap day comes last (Howard Hinnant).
    let z = day + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let date = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{date:02} {:02}:{:02}", minute / 60, minute % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_round_before_they_pick_a_unit() {
        let cases = [
            (0.0, "0ms"),
            (0.0002, "<1ms"),
            (0.0384, "38ms"),
            (0.9996, "1.0s"),
            (4.21, "4.2s"),
            (9.96, "10s"),
            (59.4, "59s"),
            (59.7, "1m 00s"),
            (110.0, "1m 50s"),
            (3599.6, "1h 00m"),
            (7500.0, "2h 05m"),
            (86_395.0, "1d 0h"),
            (273_600.0, "3d 4h"),
        ];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn counts_bytes_and_rates() {
        assert_eq!([0, 999, 1000, 41_157, 1_234_567].map(count), ["0", "999", "1,000", "41,157", "1,234,567"]);
        assert_eq!([plural(1, "stage"), plural(9, "stage")], ["1 stage", "9 stages"]);
        assert_eq!([0, 999, 1000, 999_960, 120_100_000].map(bytes), ["0 B", "999 B", "1.0 kB", "1.0 MB", "120.1 MB"]);
        assert_eq!([0.0, 4.12, 412.4, 12_345.0, f64::NAN].map(rate), ["0.0/s", "4.1/s", "412/s", "12,345/s", "?/s"]);
        assert_eq!(percent(0.084), "8%");
    }

    #[test]
    fn numbers_of_unknown_scale() {
        let cases = [
            (0.0, "0"),
            (0.84219, "0.842"),
            (3.0, "3"),
            (-2.0, "-2"),
            (41_157.0, "41,157"),
            (3.1e-4, "3.1e-4"),
            (1234.56, "1,235"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
        assert_eq!([3e-4, 4.7e-5, 1.0].map(scientific), ["3e-4", "4.7e-5", "1e0"]);
        assert_eq!(fact("model-bytes", 1e6), "1.0 MB");
        assert_eq!(fact("samples-per-second", 412.0), "412/s");
        assert_eq!(fact("latency-seconds", 0.038), "38ms");
        assert_eq!(fact("macro-f1", 0.842), "0.842");
    }

    #[test]
    fn shares_and_bars_tell_little_from_nothing() {
        let cases = [(0, "0%"), (1, "<0.1%"), (3000, "30.0%"), (3333, "33.3%"), (9999, ">99.9%"), (10_000, "100%")];
        for (part, text) in cases {
            assert_eq!(share(part, 10_000), text);
        }
        assert_eq!(share(0, 0), "0%");
        assert_eq!([0.0, 1e-9, 0.5, 0.55, 1.0, 7.0].map(|s| bar(s, 4)), ["", "▏", "██", "██▎", "████", "████"]);
    }

    #[test]
    fn moments_are_civil_dates() {
        assert_eq!(moment(0.0), "1970-01-01 00:00");
        assert_eq!(moment(951_782_400.0), "2000-02-29 00:00");
        assert_eq!(moment(1_769_850_300.0), "2026-01-31 09:05");
    }
}
