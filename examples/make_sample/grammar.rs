//! The invented tweets: a small grammar in which the meaning, not single words, decides the label.
//!
//! A tweet says something about a topic. Its label is the author's own, final opinion: negation flips
//! it (`not rude`), intensity raises it (`so rude`), and of two opinions the main clause counts
//! (`although A, B`; `A, but B`; `B, even though A`; `they say A, I say B`). The same words therefore
//! stand under every label, and counting words is not enough.

/// SplitMix64: eight lines that give the same numbers on every machine and in every version.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// True with a probability of `percent` in a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    pub fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

/// The author's opinion, in the order of the label ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    ExtremelyNegative,
    Negative,
    Neutral,
    Positive,
    ExtremelyPositive,
}

impl Label {
    pub const ALL: [Label; 5] =
        [Label::ExtremelyNegative, Label::Negative, Label::Neutral, Label::Positive, Label::ExtremelyPositive];

    /// As the Kaggle file spells it.
    pub fn name(self) -> &'static str {
        match self {
            Label::ExtremelyNegative => "Extremely Negative",
            Label::Negative => "Negative",
            Label::Neutral => "Neutral",
            Label::Positive => "Positive",
            Label::ExtremelyPositive => "Extremely Positive",
        }
    }

    /// Drawn with the shares of the real training file: 13, 24, 19, 28 and 16 in a hundred.
    pub fn draw(random: &mut Random) -> Label {
        match random.below(100) {
            0..13 => Label::ExtremelyNegative,
            13..37 => Label::Negative,
            37..56 => Label::Neutral,
            56..84 => Label::Positive,
            _ => Label::ExtremelyPositive,
        }
    }

    /// One of the four labels that carry an opinion.
    fn draw_opinion(random: &mut Random) -> Label {
        [Label::ExtremelyNegative, Label::Negative, Label::Positive, Label::ExtremelyPositive][random.below(4)]
    }
}

/// Which topic–opinion pairs may be used: a quarter of them is kept for the test file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairs {
    Training,
    All,
}

const TOPICS: &[&str] = &[
    "the supermarket",
    "the online shop",
    "the delivery service",
    "the price of rice",
    "the queue outside",
    "our local grocer",
    "the booking page",
    "the food bank",
    "the pharmacy",
    "the store app",
    "the farm shop",
    "the lockdown plan",
];

const GOOD: &[&str] = &["good", "helpful", "kind", "friendly", "useful", "clean", "fair", "reliable", "safe", "honest"];

const BAD: &[&str] = &["bad", "rude", "slow", "messy", "unfair", "useless", "dirty", "chaotic", "greedy", "stressful"];

const SUPERB: &[&str] = &["amazing", "fantastic", "brilliant", "wonderful", "excellent"];

const AWFUL: &[&str] = &["awful", "terrible", "horrible", "disgusting", "shameful"];

const VERY: &[&str] = &["so", "really", "extremely", "incredibly"];
const RATHER: &[&str] = &["fairly", "quite", "a bit", "rather"];
const NOT: &[&str] = &["not", "never", "hardly", "far from", "not really"];
const VERB: &[&str] = &["is", "was", "seems", "looks"];
const TAIL: &[&str] =
    &["today", "this week", "in our town", "this morning", "on monday", "right now", "again", "lately"];
const OTHERS: &[&str] = &["my neighbour", "my sister", "a friend of mine", "the radio host", "my boss", "the paper"];
const SAYS: &[&str] = &["says", "thinks", "claims", "told me"];
const FACTS: &[&str] = &[
    "the store opens at {n}",
    "they list {n} kinds of pasta",
    "there are {n} people in line",
    "the report has {n} pages",
    "you need a ticket from desk {n}",
    "bus {n} stops near the market",
    "one basket has room for {n} items",
    "the survey asked {n} shoppers",
    "oil prices and food prices are in the news",
    "covid-19 changes how people shop for food",
];

/// A label and a text that means it, in plain Unicode, lines divided by `\n`.
pub fn tweet(label: Label, pairs: Pairs, random: &mut Random) -> String {
    let mut text = if label == Label::Neutral { neutral(pairs, random) } else { opinion(label, pairs, random) };
    if random.chance(15) {
        let fact = fact(random);
        let gap = [". ", ".\n", "… ", " – ", " & "][random.below(5)];
        text = if random.chance(50) { format!("{fact}{gap}{text}") } else { format!("{text}{gap}{fact}") };
    }
    capital(&text)
}

/// A text with one final opinion, and perhaps another that does not count.
fn opinion(label: Label, pairs: Pairs, random: &mut Random) -> String {
    let other = Label::draw_opinion(random);
    match random.below(100) {
        0..24 => clause(label, pairs, random),
        24..30 => format!("{} and {}", clause(label, pairs, random), clause(label, pairs, random)),
        30..48 => {
            let but = random.pick(&[", but ", ", yet ", ". However, ", " but "]);
            format!("{}{but}{}", clause(other, pairs, random), clause(label, pairs, random))
        }
        48..62 => format!("although {}, {}", clause(other, pairs, random), clause(label, pairs, random)),
        62..76 => {
            let though = random.pick(&[", even though ", " even though ", ", although "]);
            format!("{}{though}{}", clause(label, pairs, random), clause(other, pairs, random))
        }
        _ => {
            let (topic, view) = topic_and_view(other, pairs, random);
            let says = hearsay(random);
            let mine = random.pick(&["I find it", "for me it’s", "I’d call it"]);
            let own = phrase_for(topic, label, pairs, random);
            format!("{says} {topic} is {view}, {mine} {own}")
        }
    }
}

/// A text without an opinion of the author's.
fn neutral(pairs: Pairs, random: &mut Random) -> String {
    let about = Label::draw_opinion(random);
    let (topic, view) = topic_and_view(about, pairs, random);
    match random.below(100) {
        0..42 => format!("{}{}{}", fact(random), random.pick(&[". ", ".\n", ", "]), fact(random)),
        42..62 => {
            let asks = random.pick(&["does anyone know if", "can someone tell me if", "I wonder if"]);
            format!("{asks} {topic} is {view} {}?", random.pick(TAIL))
        }
        62..86 => {
            let says = hearsay(random);
            let shrug = random.pick(&["I don’t know", "I have no opinion", "we’ll see"]);
            format!("{says} {topic} is {view}, {shrug}")
        }
        _ => format!("if {topic} is {view} {} I’ll let you know", random.pick(TAIL)),
    }
}

/// `the bread shelf was not so bad today`.
fn clause(label: Label, pairs: Pairs, random: &mut Random) -> String {
    let (topic, view) = topic_and_view(label, pairs, random);
    let opening = if random.chance(20) { random.pick(&["I think ", "honestly, ", "I’m sure "]) } else { "" };
    let tail = if random.chance(55) { format!(" {}", random.pick(TAIL)) } else { String::new() };
    format!("{opening}{topic} {} {view}{tail}", random.pick(VERB))
}

fn topic_and_view(label: Label, pairs: Pairs, random: &mut Random) -> (&'static str, String) {
    let topic = random.pick(TOPICS);
    (topic, phrase_for(topic, label, pairs, random))
}

/// An adjective with its modifiers that means `label` (which is not neutral).
fn phrase_for(topic: &str, label: Label, pairs: Pairs, random: &mut Random) -> String {
    let (same, same_strong, opposite, opposite_strong) = match label {
        Label::Positive | Label::ExtremelyPositive => (GOOD, SUPERB, BAD, AWFUL),
        _ => (BAD, AWFUL, GOOD, SUPERB),
    };
    let strong = matches!(label, Label::ExtremelyNegative | Label::ExtremelyPositive);
    match (strong, random.below(100)) {
        (true, 0..50) => format!("{} {}", random.pick(VERY), adjective(topic, same, pairs, random)),
        (true, 50..90) => adjective(topic, same_strong, pairs, random).to_owned(),
        (true, _) => format!("{} {}", random.pick(VERY), adjective(topic, same_strong, pairs, random)),
        (false, 0..35) => adjective(topic, same, pairs, random).to_owned(),
        (false, 35..57) => format!("{} {}", random.pick(RATHER), adjective(topic, same, pairs, random)),
        (false, 57..88) => format!("{} {}", random.pick(NOT), adjective(topic, opposite, pairs, random)),
        (false, _) => format!("{} {}", random.pick(NOT), adjective(topic, opposite_strong, pairs, random)),
    }
}

/// A word of the list that may stand with the topic in this file.
fn adjective(topic: &str, list: &[&'static str], pairs: Pairs, random: &mut Random) -> &'static str {
    loop {
        let word = random.pick(list);
        if pairs == Pairs::All || !kept_for_test(topic, word) {
            return word;
        }
    }
}

/// One topic–adjective pair in four never occurs in the training file (FNV-1a of both words).
fn kept_for_test(topic: &str, word: &str) -> bool {
    let hash = topic
        .bytes()
        .chain(word.bytes())
        .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
    (hash >> 32) % 4 == 0
}

fn hearsay(random: &mut Random) -> String {
    format!("{} {}", random.pick(OTHERS), random.pick(SAYS))
}

fn fact(random: &mut Random) -> String {
    random.pick(FACTS).replace("{n}", &(random.below(9) + 2).to_string())
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
