//! Dates as days since 1970-01-01.

/// The year, the month and the day of the month, in the Gregorian calendar.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
pub fn civil(day: i32) -> (i64, u32, u32) {
    let shifted = i64::from(day) + 719_468; // Days since 0000-03-01.
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month as u32, day as u32)
}

/// `2020-03-16`
pub fn date(day: i32) -> String {
    let (year, month, day) = civil(day);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `2020-03`
pub fn month(day: i32) -> String {
    let (year, month, _) = civil(day);
    format!("{year:04}-{month:02}")
}

/// The Monday of its week: 1970-01-01 was a Thursday.
pub fn monday(day: i32) -> i32 {
    day.saturating_sub(day.saturating_add(3).rem_euclid(7))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        let known = [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (18_337, "2020-03-16"),
            (18_321, "2020-02-29"),
            (-719_468, "0000-03-01"),
        ];
        for (day, text) in known {
            assert_eq!(date(day), text);
        }
        assert_eq!(month(18_337), "2020-03");
        // 2020-03-16 was a Monday.
        for day in 18_337..18_344 {
            assert_eq!(monday(day), 18_337);
        }
        assert_eq!(monday(18_336), 18_330);
        assert!(monday(i32::MIN) <= 0 && !date(i32::MAX).is_empty());
    }
}
