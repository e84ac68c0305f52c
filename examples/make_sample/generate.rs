//! The sample's two CSV files, byte for byte, with the quirks of the real COVID-19 tweets.

#[path = "grammar.rs"]
mod grammar;

use grammar::{Label, Pairs, Random, tweet};

/// Rows of the training file: small enough to train on in a minute, large enough to learn negation from.
pub const TRAIN_ROWS: usize = 4_000;
pub const TEST_ROWS: usize = 600;

/// An arbitrary choice; another seed gives another sample of the same kind.
const SEED: u64 = 2020;
/// Percentage of training rows whose label is replaced by a neighbouring one, as annotators do.
const LABEL_NOISE: u64 = 4;

const HEADER: &[u8] = b"UserName,ScreenName,Location,TweetAt,OriginalTweet,Sentiment\r\n";

const PLACES: &[&str] = &[
    "London",
    "Leeds, England",
    "New York, NY",
    "Toronto",
    "Sydney, Australia",
    "Dublin",
    "Nairobi",
    "Mumbai, India",
    "São Paulo",
    "Zürich",
    "United States",
    "UK",
    "Texas, USA",
    "Lagos",
    "Manchester",
    "Vancouver, BC",
    "Earth",
];
const HANDLES: &[&str] = &[
    "@shop_helper",
    "@CityFoodBank",
    "@grocer4u",
    "@NewsAtNine",
    "@mayor_office",
    "@FreshCart",
    "@DailyBasket",
    "@health_info",
    "@sam_w_81",
    "@BigStoreCare",
];
const HASHTAGS: &[&str] = &[
    "#coronavirus",
    "#COVID19",
    "#covid_19",
    "#supermarket",
    "#groceries",
    "#StayHome",
    "#lockdown",
    "#shopping",
    "#onlineshopping",
    "#foodsupply",
    "#retail",
    "#socialdistancing",
];

/// One tweet before it is written to the file.
#[derive(Clone)]
struct Tweet {
    text: String,
    label: Label,
}

/// The content of `train.csv` and `test.csv`.
pub fn sample() -> (Vec<u8>, Vec<u8>) {
    let mut random = Random::new(SEED);
    let test: Vec<Tweet> = (0..TEST_ROWS).map(|_| draw(Pairs::All, &mut random)).collect();
    let mut train: Vec<Tweet> = (0..TRAIN_ROWS).map(|_| draw(Pairs::Training, &mut random)).collect();
    for tweet in &mut train {
        if random.chance(LABEL_NOISE) {
            tweet.label = neighbour(tweet.label, &mut random);
        }
    }
    // Rows that cleaning has to find: six duplicates, one contradicting pair, two test rows.
    for copy in 0..6 {
        train[500 + 400 * copy] = again(plain(&train[40 + 70 * copy..]), &mut random);
    }
    let original = plain(&train[3100..]).clone();
    train[3500] = again(&original, &mut random);
    train[3500].label = neighbour(original.label, &mut random);
    train[1234] = again(plain(&test[12..]), &mut random);
    train[2345] = again(plain(&test[345..]), &mut random);
    (file(&train, TEST_ROWS, 16, '-', &mut random), file(&test, 0, 2, '-', &mut random))
}

fn draw(pairs: Pairs, random: &mut Random) -> Tweet {
    let label = Label::draw(random);
    let mut text = tweet(label, pairs, random);
    if random.chance(10) {
        text = format!("{} {text}", random.pick(HANDLES));
    }
    if random.chance(12) {
        text.push_str([" ??", "!", " ????", "!!"][random.below(4)]);
    }
    if random.chance(28) {
        let gap = if random.chance(30) { "\n" } else { " " };
        text = format!("{text}{gap}{}", random.pick(HASHTAGS));
        if random.chance(40) {
            text = format!("{text} {}", random.pick(HASHTAGS));
        }
    }
    if random.chance(6) {
        text = format!("“{text}”");
    }
    if random.chance(15) {
        let gap = if random.chance(25) { "\n\n" } else { " " };
        text = format!("{text}{gap}{}", link(random));
    }
    Tweet { text, label }
}

/// The first tweet whose punctuation has a single spelling, so that its copies are equal.
fn plain(tweets: &[Tweet]) -> &Tweet {
    tweets.iter().find(|tweet| !tweet.text.contains(['’', '“', '”'])).unwrap_or(&tweets[0])
}

/// The same tweet with another short link: a duplicate after links are removed.
fn again(tweet: &Tweet, random: &mut Random) -> Tweet {
    let text = tweet.text.split("https://").next().unwrap_or_default().trim_end();
    Tweet { text: format!("{text} {}", link(random)), label: tweet.label }
}

fn link(random: &mut Random) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz0123456789";
    let name: String = (0..10).map(|_| char::from(LETTERS[random.below(LETTERS.len())])).collect();
    format!("https://t.co/{name}")
}

fn neighbour(label: Label, random: &mut Random) -> Label {
    let at = label as usize;
    let next = if at == 0 || (at < 4 && random.chance(50)) { at + 1 } else { at - 1 };
    Label::ALL[next]
}

/// The rows as CSV, dates rising from day `first` of March.
fn file(tweets: &[Tweet], users_before: usize, first: usize, dash: char, random: &mut Random) -> Vec<u8> {
    let mut out = HEADER.to_vec();
    let days = if users_before == 0 { 15 } else { 30 };
    for (row, tweet) in tweets.iter().enumerate() {
        let user = users_before + row + 1;
        let day = first + row * days / tweets.len();
        let (day, month) = if day > 31 { (day - 31, 4) } else { (day, 3) };
        let place = match random.below(100) {
            0..21 => "",
            21 => "na",
            _ => random.pick(PLACES),
        };
        let mut text = encode(&tweet.text, random);
        match row % 1000 {
            // A character truncated at the end, as in four places of the real file.
            321 => text.push(0xC2),
            // A bare carriage return before the closing quote.
            77 | 654 => text.push(b'\r'),
            _ => {}
        }
        out.extend(format!("{user},{},", user + 44_952).bytes());
        field(place.as_bytes(), &mut out);
        out.extend(format!(",{day:02}{dash}{month:02}{dash}2020,").bytes());
        field(&text, &mut out);
        out.extend(format!(",{}\r\n", tweet.label.name()).bytes());
    }
    out
}

/// Typographic characters as the C1 control characters that the real file has, line ends as CR CR LF.
fn encode(text: &str, random: &mut Random) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            '’' if random.chance(30) => out.push(b'\''),
            '’' => out.extend([0xC2, 0x92]),
            '“' | '”' if text.len().is_multiple_of(2) => out.push(b'"'),
            '“' => out.extend([0xC2, 0x93]),
            '”' => out.extend([0xC2, 0x94]),
            '…' => out.extend([0xC2, 0x85]),
            '–' => out.extend([0xC2, 0x96]),
            '&' => out.extend(b"&amp;"),
            '\n' => out.extend(b"\r\r\n"),
            other => out.extend(other.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    out
}

/// A CSV field, quoted only if necessary.
fn field(bytes: &[u8], out: &mut Vec<u8>) {
    if !bytes.iter().any(|byte| b",\"\r\n".contains(byte)) {
        out.extend(bytes);
        return;
    }
    out.push(b'"');
    for &byte in bytes {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}
