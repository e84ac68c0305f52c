//! The id of a run.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// Identifies a run among all runs of all machines; ids sort by the time when their runs started.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct RunId(String);

impl RunId {
    /// A new id: the current time in UTC to the millisecond, and a random number, as in `20261128-195703.120-5d3c9a1f`.
    pub fn now() -> Self {
        Self::at(SystemTime::now(), random())
    }

    /// The id with this text, such as the name of a log file; None if no run has such an id.
    pub fn parse(text: &str) -> Option<Self> {
        let sample = b"00000000-000000.000-xxxxxxxx";
        let fits = |(byte, sample): (u8, &u8)| match sample {
            b'0' => byte.is_ascii_digit(),
            b'x' => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            other => byte == *other,
        };
        let is_id = text.len() == sample.len() && text.bytes().zip(sample).all(fits);
        is_id.then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn at(time: SystemTime, random: u32) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (year, month, day) = civil(since.as_secs() / 86_400);
        let (second, millis) = (since.as_secs() % 86_400, since.subsec_millis());
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        Self(format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}.{millis:03}-{random:08x}"))
    }
}

impl TryFrom<String> for RunId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("`{text}` is not the id of a run"))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Each process, and each call in it, gets another number: the standard library seeds its hash tables with it.
fn random() -> u32 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.finish() as u32
}

/// The year, month and day of a number of days since 1970. Years begin in March, so that the leap day comes last (Howard
/// Hinnant).
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ids_sort_by_time_and_differ() {
        let at = |millis| RunId::at(SystemTime::UNIX_EPOCH + Duration::from_millis(millis), 0xbeef);
        assert_eq!(at(1_796_068_623_007).as_str(), "20261130-195703.007-0000beef");
        assert_eq!(at(951_782_400_000).as_str(), "20000229-000000.000-0000beef");
        assert!(at(999) < at(1000) && at(1_796_068_623_007) < at(1_796_068_623_008));
        let ids: std::collections::BTreeSet<RunId> = (0..100).map(|_| RunId::now()).collect();
        assert_eq!(ids.len(), 100);
        for id in ids {
            assert_eq!(RunId::parse(id.as_str()), Some(id));
        }
        for wrong in ["", "../../etc/passwd", "20261128-195703.007-0000BEEF", "20261128-195703.007-0000beefx"] {
            assert_eq!(RunId::parse(wrong), None, "{wrong}");
        }
    }
}
