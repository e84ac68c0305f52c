//! What a stage occupies while it runs, and what a run has: processors, memory and GPUs as amounts.

/// What a stage occupies while it runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// Slots of `--jobs`.
    pub cpus: usize,
    /// Bytes.
    pub memory: u64,
    pub gpus: usize,
    /// Seconds that it takes at most. Executors pass it on; a stage in this process is not cut off.
    pub time: Option<u64>,
}

impl Needs {
    /// One slot: what a stage occupies that says nothing else.
    pub const CPU: Self = Self { cpus: 1, memory: 0, gpus: 0, time: None };
    /// The device chosen by `--device`: one GPU and no slot, or one slot if that device is the CPU.
    pub const DEVICE: Self = Self { cpus: 0, gpus: 1, ..Self::CPU };
}

/// The amounts that a pipeline file sets for a stage, in place of its kind's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    pub cpus: Option<usize>,
    pub memory: Option<u64>,
    pub gpus: Option<usize>,
    pub time: Option<u64>,
}

impl Asked {
    /// The kind's amounts with those of the file in their place.
    pub fn over(&self, kind: Needs) -> Needs {
        Needs {
            cpus: self.cpus.unwrap_or(kind.cpus),
            memory: self.memory.unwrap_or(kind.memory),
            gpus: self.gpus.unwrap_or(kind.gpus),
            time: self.time.or(kind.time),
        }
    }

    /// Each key that the file sets, with its value as the file would write it.
    pub fn written(&self) -> Vec<(&'static str, serde_json::Value)> {
        let all = [
            ("cpus", self.cpus.map(Into::into)),
            ("memory", self.memory.map(|bytes| size(bytes).into())),
            ("gpus", self.gpus.map(Into::into)),
            ("time", self.time.map(|seconds| span(seconds).into())),
        ];
        all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

/// What a run has for all stages together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Slots of `--jobs`.
    pub cpus: usize,
    /// Bytes; None if the amount is unknown, which limits nothing.
    pub memory: Option<u64>,
    /// GPUs that stages may occupy; 0 if `--device` is the CPU.
    pub gpus: usize,
}

impl Machine {
    /// What a stage occupies here. A stage that computes on no GPU takes at least one slot.
    pub fn taken_by(&self, needs: Needs) -> Needs {
        let gpus = if self.gpus == 0 { 0 } else { needs.gpus };
        let cpus = if gpus == 0 { needs.cpus.max(1) } else { needs.cpus };
        Needs { cpus, gpus, ..needs }
    }

    /// The key of each amount that this machine does not have, with `4 cpus, but this run has 2`.
    pub fn lacking(&self, needs: Needs) -> Vec<(&'static str, String)> {
        let Needs { cpus, memory, gpus, .. } = self.taken_by(needs);
        let mut all = Vec::new();
        if cpus > self.cpus {
            all.push(("cpus", format!("{cpus} cpus, but this run has {}", self.cpus)));
        }
        if let Some(most) = self.memory.filter(|most| memory > *most) {
            all.push(("memory", format!("{} of memory, but this machine has {}", size(memory), roughly(most))));
        }
        if gpus > self.gpus {
            all.push(("gpus", format!("{gpus} GPUs, but this run has {}", self.gpus)));
        }
        all
    }
}

const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1000),
    ("B", 1),
];

const SPANS: [(&str, u64); 4] = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];

/// Read `8 GiB`, `512MB` or `1.5 GiB` as bytes; the unit must be given, in any case of its letters.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic())?);
    let (_, factor) = SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    let bytes = number.trim().parse::<f64>().ok()? * *factor as f64;
    (bytes.is_finite() && (1.0..9e18).contains(&bytes)).then_some(bytes as u64)
}

/// Read `2h`, `90m` or `1h 30m` as seconds.
pub fn parse_span(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    let mut seconds = 0u64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(end);
        let after = after.trim_start();
        let (_, factor) = SPANS.iter().find(|(name, _)| after.starts_with(name))?;
        seconds = seconds.checked_add(number.parse::<u64>().ok()?.checked_mul(*factor)?)?;
        rest = after[1..].trim_start();
    }
    (seconds > 0).then_some(seconds)
}

/// Bytes as a pipeline file writes them: exactly, in the largest unit that has no remainder.
fn size(bytes: u64) -> String {
    let (unit, factor) = SIZES.iter().find(|(_, factor)| bytes.is_multiple_of(*factor)).unwrap_or(&("B", 1));
    format!("{} {unit}", bytes / factor)
}

/// Bytes with one decimal: a machine's memory is no round number.
fn roughly(bytes: u64) -> String {
    let (unit, factor) = [SIZES[0], SIZES[2], SIZES[4]].into_iter().find(|(_, f)| bytes >= *f).unwrap_or(("B", 1));
    format!("{:.1} {unit}", bytes as f64 / factor as f64)
}

/// Seconds as a pipeline file writes them: `1h 30m`.
fn span(mut seconds: u64) -> String {
    let mut parts = Vec::new();
    for (unit, factor) in SPANS {
        if seconds >= factor {
            parts.push(format!("{}{unit}", seconds / factor));
            seconds %= factor;
        }
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_spans_are_read_and_written_back() {
        for (text, bytes) in [("8 GiB", 8 << 30), ("512MB", 512_000_000), ("3 kB", 3000), ("17 B", 17)] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
            assert_eq!(parse_size(&size(bytes)), Some(bytes), "{text}");
        }
        assert_eq!(parse_size("1.5 gib"), Some(3 << 29));
        for text in ["", "8", "GiB", "8 GiBs", "-1 GB", "0 GB", "1e300 GB", "8,5 GB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
        for (text, seconds, back) in [("2h", 7200, "2h"), ("90m", 5400, "1h 30m"), ("1d 5 s", 86_405, "1d 5s")] {
            assert_eq!((parse_span(text), span(seconds).as_str()), (Some(seconds), back));
        }
        for text in ["", "2", "h", "0s", "2 weeks", "2hours", "99999999999999999999d"] {
            assert_eq!(parse_span(text), None, "{text}");
        }
    }

    #[test]
    fn without_gpus_a_device_stage_takes_a_slot() {
        let machine = |gpus| Machine { cpus: 2, memory: Some(1 << 30), gpus };
        assert_eq!(machine(0).taken_by(Needs::DEVICE), Needs::CPU);
        assert_eq!(machine(1).taken_by(Needs::DEVICE), Needs::DEVICE);
        let large = Needs { cpus: 3, memory: 3 << 29, gpus: 2, time: None };
        let lacking: Vec<String> = machine(1).lacking(large).into_iter().map(|(_, what)| what).collect();
        assert_eq!(
            lacking,
            [
                "3 cpus, but this run has 2",
                "1536 MiB of memory, but this machine has 1.0 GiB",
                "2 GPUs, but this run has 1"
            ]
        );
    }
}
