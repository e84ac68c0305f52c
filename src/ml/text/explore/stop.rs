//! Words that say nothing about what a text is about.

/// English function words, and what tweets are full of. Log-odds need no such list; a word cloud does.
const STOP: &str = " a about above after again against all also am amp an and any are aren't as at be because been before \
being below between both but by can can't cannot could couldn't did didn't do does doesn't doing don't down during each \
even few for from further get gets getting go going got had hadn't has hasn't have haven't having he he'd he'll he's her \
here here's hers herself him himself his how how's http https i i'd i'll i'm i've if in into is isn't it it's its itself \
just let let's like make many may me might more most much mustn't my myself need no nor not now of off on once one only or \
other ought our ours ourselves out over own re really rt s said same say says see shan't she she'd she'll she's should \
shouldn't so some still such t than that that's the their theirs them themselves then there there's these they they'd \
they'll they're they've this those through to too under until up us user very via want was wasn't way we we'd we'll we're \
we've well were weren't what what's when when's where where's which while who who's whom why why's will with without won't \
would wouldn't you you'd you'll you're you've your yours yourself yourselves ";

/// Whether a word, in lower case, is left out of the cloud. Single letters and numbers are; signs do not count.
pub(super) fn is_stop(word: &str) -> bool {
    let bare = word.trim_start_matches(['#', '@']);
    let is_short = bare.is_ascii() && bare.len() < 2;
    is_short || bare.bytes().all(|byte| byte.is_ascii_digit()) || STOP.contains(&format!(" {bare} "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn function_words_and_numbers_are_left_out() {
        for word in ["the", "@user", "don't", "19", "x", "rt"] {
            assert!(is_stop(word), "{word}");
        }
        for word in ["food", "covid-19", "我", "#stayhome", "th"] {
            assert!(!is_stop(word), "{word}");
        }
    }
}
