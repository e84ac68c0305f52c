//! What all pictures look like: colours that follow the reader's light or dark setting, and sizes.

/// The usual width of a picture in pixels: on a screen of 400, a text of 12 is still ten pixels high.
pub(crate) const WIDTH: f64 = 480.0;
/// Pixels that a character of the usual text (12 px) takes, on the wide side.
pub(crate) const CHARACTER: f64 = 7.0;
/// How many colours there are for series; further ones repeat.
pub(crate) const COLORS: usize = 8;
/// How many steps the scale from little to much has.
pub(crate) const STEPS: usize = 9;

const LIGHT: &str = "\
.page{fill:#ffffff}text{fill:#1f2733}.faint{fill:#5d6b7e}.grid{stroke:#e3e8ef}.frame{stroke:#9aa6b6;fill:none}.strong{font-weight:600}
.level{stroke:#5d6b7e;stroke-dasharray:5 4;fill:none}.whisker{stroke:#1f2733;stroke-width:1.5}.curve{fill:none;stroke-width:2;stroke-linejoin:round}
.behind{fill:#ffffff;fill-opacity:.8}text.on{fill:#ffffff}.hollow{fill:#ffffff;stroke-width:1.5}.halo{stroke:#ffffff;stroke-width:1.5}
.thin{stroke-width:1.3;stroke-opacity:.85}.thick{stroke-width:2.6}.soft{fill-opacity:.6}.plain{stroke:none}
.d1{stroke-dasharray:6 3}.d2{stroke-dasharray:2 3}.d3{stroke-dasharray:8 3 2 3}";
const DARK: &str = "\
.page{fill:#12171f}text{fill:#e6ebf2}.faint{fill:#a3afbf}.grid{stroke:#2a3340}.frame{stroke:#5d6b7e}
.level{stroke:#a3afbf}.whisker{stroke:#e6ebf2}.behind{fill:#12171f}text.on{fill:#12171f}.hollow{fill:#12171f}.halo{stroke:#12171f}";

/// Colours of series that also people with a colour deficiency tell apart, on white and on dark: fill `c0`…, stroke `s0`….
const SERIES: [(&str, &str); COLORS] = [
    ("#2f6fde", "#5b93f5"),
    ("#d9480f", "#ff9f5a"),
    ("#1b8a6b", "#3fc49c"),
    ("#8a4fbf", "#bd8cf0"),
    ("#b58900", "#e0bb3d"),
    ("#c2336b", "#f27aa8"),
    ("#4a7a8c", "#86b8cb"),
    ("#6b7280", "#a3afbf"),
];
/// From little to much: fill `q0`…, stroke `p0`…. Both ends keep off the page's colour.
const SCALE: [(&str, &str); STEPS] = [
    ("#eef3fb", "#1b2432"),
    ("#dbe6f7", "#1f3150"),
    ("#c0d4f1", "#24406e"),
    ("#9dbde9", "#2b528f"),
    ("#76a2df", "#3566b0"),
    ("#4f85d2", "#4a80cf"),
    ("#336ac0", "#6c9be3"),
    ("#2252a3", "#97bcf2"),
    ("#173d80", "#c6dbfb"),
];

/// The style sheet that all pictures share, with a picture's own classes for light and for dark.
pub(crate) fn style(light: &str, dark: &str) -> String {
    let of = |pick: fn(&(&'static str, &'static str)) -> &'static str| -> String {
        let series =
            SERIES.iter().enumerate().map(|(i, color)| format!(".c{i}{{fill:{0}}}.s{i}{{stroke:{0}}}", pick(color)));
        let scale =
            SCALE.iter().enumerate().map(|(i, color)| format!(".q{i}{{fill:{0}}}.p{i}{{stroke:{0}}}", pick(color)));
        series.chain(scale).collect()
    };
    let (bright, dim) = (of(|color| color.0), of(|color| color.1));
    format!("{LIGHT}\n{bright}\n{light}\n@media(prefers-color-scheme:dark){{{DARK}\n{dim}\n{dark}}}")
}

/// The class of a share from 0 to 1 on the scale from little to much, and the class of a text on it.
pub(crate) fn scaled(share: f64) -> (String, &'static str) {
    let step = ((share.clamp(0.0, 1.0) * STEPS as f64) as usize).min(STEPS - 1);
    (format!("q{step}"), if step > STEPS / 2 { "on" } else { "" })
}

/// The class that sets the series `at` apart from those of the same colour: nothing for the first [`COLORS`], dashes after them.
pub(crate) fn dashes(at: usize) -> &'static str {
    ["", "d1", "d2", "d3"][(at / COLORS) % 4]
}
