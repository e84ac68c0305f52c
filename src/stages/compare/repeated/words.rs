//! What the pairs can show, in a sentence.

use super::change::{Change, Metric};
use super::method::{Method, Repeated};
use pipe_ml::judge::repeated::{Differences, detectable, pairs_needed, smallest_p};

/// The level of the tests.
const LEVEL: f64 = 0.05;

/// One paragraph for each variant that is compared with the baseline.
pub(super) fn sentences(all: &Repeated) -> String {
    let of = |method: &Method| method.change.as_ref().map(|change| paragraph(all, method, change));
    all.methods.iter().filter_map(of).collect::<Vec<_>>().concat()
}

fn paragraph(all: &Repeated, method: &Method, change: &Change) -> String {
    let (variant, baseline, over) = (&method.variant, &all.baseline, &all.over);
    let Some(paired) = &change.paired else {
        return format!(
            "- `{variant}`: no run has the `{over}` of a run of `{baseline}`, so there are no pairs to test; the change is the \
             difference of the means.\n"
        );
    };
    let pairs = paired.accuracy.differences.spread.runs;
    let alone = match change.alone {
        0 => String::new(),
        1 => " One run has no partner and does not count here.".to_owned(),
        more => format!(" {more} runs have no partner and do not count here."),
    };
    if pairs == 1 {
        return format!(
            "- `{variant}`: one pair says nothing about other runs; the interval is for other rows only. `repeat = 5` in the \
             stages that train gives five.{alone}\n"
        );
    }
    let floor = format!("{pairs} pairs cannot go below {} in the sign-flip test.", short(smallest_p(pairs)));
    let metrics = [("accuracy", &paired.accuracy), ("macro F1", &paired.macro_f1)];
    let shown = metrics.map(|(name, Metric { differences, .. })| format!("{name}: {}.", shown(differences, pairs)));
    format!("- `{variant}`: {floor}{alone} Of the {}\n", shown.join(" Of the "))
}

/// `5 pairs can show 1.7 sd; here 0.9 sd: undecided; 12 pairs would show it`
fn shown(differences: &Differences, pairs: usize) -> String {
    let spread = &differences.spread;
    let (Some(effect), Some(p), Some(least)) = (differences.effect(), differences.t_p, detectable(pairs)) else {
        return match spread.mean == 0.0 {
            true => "no pair differs".into(),
            false => format!("all pairs differ by {:+.4}, so there is no spread to measure it by", spread.mean),
        };
    };
    let here = format!("{pairs} pairs can show {least:.1} sd; here {:.1} sd", effect.abs());
    if p < LEVEL {
        return format!("{here}: {}", if effect > 0.0 { "better" } else { "worse" });
    }
    let enough = match pairs_needed(effect) {
        Some(pairs) => format!("{pairs} pairs would show it"),
        None => "not even 1,000 pairs would show it".into(),
    };
    format!("{here}: undecided; {enough}")
}

/// A probability without zeros at its end.
fn short(p: f64) -> String {
    if p < 1e-4 { format!("{p:.0e}") } else { format!("{p:.4}").trim_end_matches('0').to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(pairs: &[(f64, f64)]) -> String {
        shown(&Differences::of(pairs).unwrap(), pairs.len())
    }

    #[test]
    fn the_sentence_says_what_the_pairs_can_show() {
        let all = |changes: [f64; 5]| changes.map(|change| (0.8, 0.8 + change));
        assert_eq!(says(&all([0.010, 0.012, 0.008, 0.011, 0.009])), "5 pairs can show 1.7 sd; here 6.3 sd: better");
        assert_eq!(says(&all([-0.010, -0.012, -0.008, -0.011, -0.009])), "5 pairs can show 1.7 sd; here 6.3 sd: worse");
        assert_eq!(
            says(&all([0.01, -0.002, 0.008, -0.004, 0.006])),
            "5 pairs can show 1.7 sd; here 0.6 sd: undecided; 26 pairs would show it"
        );
        assert_eq!(
            says(&all([0.01, -0.01, 0.008, -0.008, 0.0])),
            "5 pairs can show 1.7 sd; here 0.0 sd: undecided; not even 1,000 pairs would show it"
        );
        assert_eq!(says(&[(0.5, 0.5); 3]), "no pair differs");
        assert_eq!(
            says(&[(0.5, 0.75), (0.25, 0.5)]),
            "all pairs differ by +0.2500, so there is no spread to measure it by"
        );
        assert_eq!([smallest_p(5), smallest_p(2), smallest_p(20)].map(short), ["0.0625", "0.5", "2e-6"]);
    }
}
