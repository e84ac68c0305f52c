//! The pictures of a corpus.

use crate::draw::bars::{Bar, Head, Range, bars, ranges, shares};
use crate::draw::calendar::calendar;
use crate::draw::cloud::{Word, cloud};
use crate::draw::columns::{Column, Histogram, histogram, over_time};
use crate::draw::style::COLORS;
use pipe_ml::compute::numbers::thousands;
use pipe_ml::text::explore::{Days, Lengths, Look, Measured};

/// The most labels or sources with a row of their own.
const MOST_BARS: usize = 30;
/// Typical words in the picture: a label, and all labels.
const WORDS: usize = 10;
const WORD_LABELS: usize = 8;

/// A picture and its file.
pub(super) struct Picture {
    pub file: &'static str,
    pub svg: String,
}

/// All pictures for which there is something to show.
pub(super) fn all(seen: &Look) -> Vec<Picture> {
    let mut all = Vec::new();
    let mut add = |file, svg: Option<String>| all.extend(svg.map(|svg| Picture { file, svg }));
    add("labels.svg", Some(labels(seen)));
    add("calendar.svg", seen.days.as_ref().map(|days| calendar("Texts by day", &days.days, "texts")));
    add("labels-over-time.svg", seen.days.as_ref().map(|days| labels_over_time(seen, days)));
    for measured in &seen.lengths {
        let is_words = measured.unit == "words";
        add(if is_words { "words-per-text.svg" } else { "tokens-per-text.svg" }, Some(lengths(seen, measured)));
    }
    if let Some(measured) = seen.lengths.last() {
        let title = format!("Length by label, in {}", measured.unit);
        add("length-by-label.svg", Some(length_by(&title, &seen.labels, &measured.by_label)));
        if seen.sources.len() > 1 {
            let names: Vec<String> = seen.sources.iter().map(|source| source.name.clone()).collect();
            let title = format!("Length by source, in {}", measured.unit);
            add("sources.svg", Some(sources(seen)));
            add("length-by-source.svg", Some(length_by(&title, &names, &measured.by_source)));
        }
    }
    add("typical-words.svg", typical(seen));
    add("word-cloud.svg", Some(word_cloud(seen)));
    all
}

/// The labels that have a colour of their own, by number, and the names of the series. If there are more labels than
/// colours, the largest have one and the others share the last.
fn series(seen: &Look) -> (Vec<usize>, Vec<String>) {
    if seen.labels.len() <= COLORS {
        return ((0..seen.labels.len()).collect(), seen.labels.clone());
    }
    let total = |label: usize| seen.splits.iter().map(|split| split.labels[label]).sum::<u64>();
    let mut order: Vec<usize> = (0..seen.labels.len()).collect();
    order.sort_by_key(|label| (std::cmp::Reverse(total(*label)), *label));
    let mut of = vec![COLORS - 1; seen.labels.len()];
    order.iter().take(COLORS - 1).enumerate().for_each(|(at, label)| of[*label] = at);
    let mut names: Vec<String> = order.iter().take(COLORS - 1).map(|label| seen.labels[*label].clone()).collect();
    names.push(format!("{} others", seen.labels.len() - names.len()));
    (of, names)
}

/// The counts of labels, added up by series.
fn added(counts: &[u64], of: &[usize], series: usize) -> Vec<f64> {
    let mut sums = vec![0.0; series];
    counts.iter().zip(of).for_each(|(count, series)| sums[*series] += *count as f64);
    sums
}

/// Rows by label; the parts of a bar are the splits.
fn labels(seen: &Look) -> String {
    let splits: Vec<String> =
        seen.splits.iter().filter(|split| split.rows > 0).map(|split| split.name.clone()).collect();
    let bar = |(label, name): (usize, &String)| {
        let parts: Vec<f64> =
            seen.splits.iter().filter(|split| split.rows > 0).map(|split| split.labels[label] as f64).collect();
        let sum = parts.iter().sum::<f64>();
        let share = if seen.rows > 0 { 100.0 * sum / seen.rows as f64 } else { 0.0 };
        Bar { name: name.clone(), text: format!("{} · {share:.1} %", thousands(sum as u64)), parts }
    };
    let mut all: Vec<Bar> = seen.labels.iter().enumerate().map(bar).collect();
    let sum = |bar: &Bar| bar.parts.iter().sum::<f64>();
    let mut subtitle = format!("{} texts", thousands(seen.rows));
    if all.len() > MOST_BARS {
        all.sort_by(|one, other| sum(other).total_cmp(&sum(one)));
        subtitle += &format!(" · the largest {MOST_BARS} of {} labels", all.len());
        all.truncate(MOST_BARS);
    }
    bars(&Head { title: "Labels", subtitle: &subtitle, series: &splits }, &[(String::new(), all)])
}

fn labels_over_time(seen: &Look, days: &Days) -> String {
    let (of, names) = series(seen);
    let name = |from: &str| match days.by.as_str() {
        "year" => from.chars().take(from.len() - 6).collect(),
        "month" => from.chars().take(from.len() - 3).collect(),
        _ => from.to_owned(),
    };
    let column = |period: &pipe_ml::text::explore::Period| Column {
        name: name(&period.from),
        parts: added(&period.labels, &of, names.len()),
    };
    let columns: Vec<Column> = days.periods.iter().map(column).collect();
    let subtitle = format!("above: texts by {}; below: shares of the labels", days.by);
    over_time(&Head { title: "Labels over time", subtitle: &subtitle, series: &names }, &columns, "texts")
}

fn lengths(seen: &Look, measured: &Measured) -> String {
    let all = &measured.all;
    let title = if measured.unit == "words" { "Words per text" } else { "Tokens per text" };
    let subtitle =
        format!("mean {:.1} · median {} · p95 {} · p99 {} · max {}", all.mean, all.median, all.p95, all.p99, all.max);
    let mark = |cut: &pipe_ml::text::explore::Cut| match Some(cut.at) == seen.max_length && measured.unit == "tokens" {
        true => (cut.at as f64, format!("max-length {}", cut.at)),
        false => (cut.at as f64, cut.at.to_string()),
    };
    let marks: Vec<(f64, String)> = all.cut.iter().map(mark).collect();
    let values = Histogram {
        width: measured.histogram.width,
        counts: &measured.histogram.rows,
        marks: &marks,
        count: "texts",
        scale: &measured.unit,
    };
    histogram(&Head { title, subtitle: &subtitle, series: &[] }, &values)
}

fn length_by(title: &str, names: &[String], lengths: &[Lengths]) -> String {
    let mut order: Vec<usize> = (0..names.len()).filter(|at| lengths[*at].rows > 0).collect();
    if order.len() > MOST_BARS {
        order.sort_by_key(|at| (std::cmp::Reverse(lengths[*at].rows), *at));
        order.truncate(MOST_BARS);
    }
    let range = |at: &usize| {
        let of = &lengths[*at];
        let at_percentiles = [of.p5, of.p25, of.median, of.p75, of.p95].map(|length| length as f64);
        Range { name: names[*at].clone(), at: at_percentiles }
    };
    let all: Vec<Range> = order.iter().map(range).collect();
    let subtitle = "bar: the middle half · white: median · line: 5th to 95th percentile";
    ranges(&Head { title, subtitle, series: &[] }, &all)
}

fn sources(seen: &Look) -> String {
    let (of, names) = series(seen);
    let bar = |source: &pipe_ml::text::explore::SourceRows| Bar {
        name: source.name.clone(),
        parts: added(&source.labels, &of, names.len()),
        text: thousands(source.rows),
    };
    let all: Vec<Bar> = seen.sources.iter().take(MOST_BARS).map(bar).collect();
    let subtitle = match seen.sources.len() {
        many if many > MOST_BARS => format!("shares, and texts in all · {MOST_BARS} of {many} sources"),
        _ => "shares, and texts in all".to_owned(),
    };
    shares(&Head { title: "Labels by source", subtitle: &subtitle, series: &names }, all)
}

/// None if no label has a typical word.
fn typical(seen: &Look) -> Option<String> {
    let mut wanted: Vec<usize> =
        (0..seen.typical.len()).filter(|label| !seen.typical[*label].words.is_empty()).collect();
    let many = wanted.len();
    if many > WORD_LABELS {
        wanted.sort_by_key(|label| (std::cmp::Reverse(seen.typical[*label].total), *label));
        wanted.truncate(WORD_LABELS);
    }
    let group = |label: &usize| {
        let typical = &seen.typical[*label];
        let bar = |word: &pipe_ml::text::explore::TypicalWord| {
            // The colour of a label is that of its series.
            let mut parts = vec![0.0; label % COLORS + 1];
            parts[label % COLORS] = word.z;
            Bar { name: word.word.clone(), parts, text: format!("{:.1}", word.z) }
        };
        (typical.label.clone(), typical.words.iter().take(WORDS).map(bar).collect())
    };
    let groups: Vec<(String, Vec<Bar>)> = wanted.iter().map(group).collect();
    let subtitle = match many {
        0 => return None,
        many if many > WORD_LABELS => format!("z score of the log-odds · the {WORD_LABELS} largest of {many} labels"),
        _ => "z score of the log-odds against the other labels".to_owned(),
    };
    Some(bars(&Head { title: "Typical words", subtitle: &subtitle, series: &[] }, &groups))
}

fn word_cloud(seen: &Look) -> String {
    let colored = (2..=COLORS).contains(&seen.labels.len());
    let word = |word: &pipe_ml::text::explore::CloudWord| Word {
        text: word.word.clone(),
        count: word.count,
        series: word.label.filter(|_| colored),
    };
    let words: Vec<Word> = seen.cloud.iter().map(word).collect();
    let names = if colored { &seen.labels[..] } else { &[] };
    let subtitle = match colored {
        true => "size: how often · colour: the label of which it is typical, if any",
        false => "size: how often",
    };
    cloud(&Head { title: "Frequent words", subtitle, series: names }, &words)
}
