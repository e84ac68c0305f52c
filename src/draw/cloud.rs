//! A word cloud: the more frequent a word, the larger; placed on a spiral, without overlaps.

use unicode_width::UnicodeWidthStr;

use super::area::{Area, At};
use super::bars::{Head, legend, rows};
use super::style::{COLORS, WIDTH};
use super::svg::{MARGIN, Svg, cut};

/// Font sizes of the most frequent word and of the least frequent one.
const LARGEST: f64 = 46.0;
const SMALLEST: f64 = 11.0;
/// Height of the field; the spiral is as much wider than tall.
const TALL: f64 = 300.0;
/// Width of a character and height of a line, by font size, on the wide side: fonts differ.
const CHARACTER: f64 = 0.72;
const LINE: f64 = 1.08;
/// Pixels between turns of the spiral, and how finely it is followed.
const TURN: f64 = 3.0;
const STEP: f64 = 3.5;
/// The most characters of a word.
const LONGEST: usize = 24;

/// A word.
#[derive(Debug, Clone)]
pub(crate) struct Word {
    pub text: String,
    pub count: u64,
    /// The series that gives it its colour.
    pub series: Option<usize>,
}

/// A word with its place.
struct Placed<'a> {
    word: &'a Word,
    text: String,
    size: f64,
    area: Area,
}

/// Draw words, the most frequent first; those that find no place are left out.
pub(crate) fn cloud(head: &Head, words: &[Word]) -> String {
    let top = 56.0 + rows(head.series).last().map_or(0.0, |(row, _)| 20.0 * (*row as f64 + 1.0));
    let placed = place(words, Area { left: 8.0, top, right: WIDTH - 8.0, bottom: top + TALL });
    // The field is as tall as its words, so that few words leave no empty page.
    let first = placed.iter().map(|word| word.area.top).fold(top + TALL, f64::min);
    let last = placed.iter().map(|word| word.area.bottom).fold(first + 10.0, f64::max);
    let up = first - top;
    let mut svg = Svg::new(head.title, (WIDTH, last - up + 12.0), (".plain{fill:#5d6b7e}", ".plain{fill:#a3afbf}"));
    svg.subtitle(head.subtitle);
    legend(&mut svg, head.series, 52.0);
    for Placed { word, text, size, area } in &placed {
        let class = word.series.map_or("plain".to_owned(), |series| format!("c{}", series % COLORS));
        // The base line is at about three quarters of the height.
        let at = ((area.left + area.right) / 2.0, area.top - up + 0.79 * area.tall());
        svg.text_with(&class, at, ("middle", text), &format!(" font-size=\"{size:.1}\" font-weight=\"600\""));
    }
    if placed.is_empty() {
        svg.text("faint", (MARGIN, top + 8.0), ("start", "no words"));
    }
    svg.finish()
}

fn place(words: &[Word], field: Area) -> Vec<Placed<'_>> {
    let most = words.iter().map(|word| word.count).max().unwrap_or(1).max(1) as f64;
    let middle = ((field.left + field.right) / 2.0, (field.top + field.bottom) / 2.0);
    let flat = field.tall() / field.wide();
    let mut placed: Vec<Placed> = Vec::new();
    for word in words {
        let text = cut(&word.text, LONGEST);
        // The area of a word goes with its count.
        let wanted = (LARGEST * (word.count as f64 / most).sqrt()).max(SMALLEST);
        let per_size = CHARACTER * text.width() as f64;
        let size = wanted.min((field.wide() - 20.0) / per_size.max(1.0));
        let (wide, tall) = (per_size * size / 2.0, LINE * size / 2.0);
        let fits = |center: &At| {
            let area = Area::around(*center, wide, tall);
            let inside = area.left >= field.left && area.right <= field.right;
            inside
                && area.top >= field.top
                && area.bottom <= field.bottom
                && placed.iter().all(|other| area.overlap(&other.area) == 0.0)
        };
        if let Some(center) = spiral(middle, flat, field.wide()).find(fits) {
            placed.push(Placed { word, text, size, area: Area::around(center, wide, tall) });
        }
    }
    placed
}

/// The points of a spiral, until it is as wide as the field.
fn spiral((x, y): At, flat: f64, wide: f64) -> impl Iterator<Item = At> {
    let mut angle = 0.0_f64;
    std::iter::from_fn(move || {
        let radius = TURN * angle / std::f64::consts::TAU;
        let point = (x + radius * angle.cos(), y + flat * radius * angle.sin());
        // Steps of the same length: the angle grows slower the farther out.
        angle += STEP / radius.max(STEP);
        (radius < wide).then_some(point)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str, count: u64) -> Word {
        Word { text: text.to_owned(), count, series: None }
    }

    #[test]
    fn words_do_not_overlap_and_stay_inside() {
        let field = Area { left: 8.0, top: 56.0, right: WIDTH - 8.0, bottom: 56.0 + TALL };
        let words: Vec<Word> = (0..120).map(|at| word(&"abcdefghij"[..2 + at % 9], 2000 / (at as u64 + 1))).collect();
        let placed = place(&words, field);
        assert!(placed.len() > 80, "{}", placed.len());
        for (at, one) in placed.iter().enumerate() {
            assert!(placed[at + 1..].iter().all(|other| one.area.overlap(&other.area) == 0.0));
            assert!(one.area.left >= field.left && one.area.bottom <= field.bottom);
        }
        let svg = |words: &[Word]| cloud(&Head { title: "t", subtitle: "", series: &[] }, words);
        assert_eq!(svg(&words), svg(&words));
    }

    #[test]
    fn no_words_and_endless_words_are_drawn() {
        let svg = |words: &[Word]| cloud(&Head { title: "t", subtitle: "", series: &[] }, words);
        assert!(svg(&[]).contains("no words"));
        assert!(svg(&[word(&"x".repeat(200), 3)]).contains("xxx…"));
        assert!(!svg(&[word("مرحبا", 0)]).contains("NaN"));
    }
}
