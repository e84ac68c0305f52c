//! Which letters are beside each other on a QWERTY keyboard.

const NEIGHBOURS: [&str; 26] = [
    "qwsz", "vghn", "xdfv", "serfcx", "wsdr", "drtgvc", "ftyhbv", "gyujnb", "ujko", "huikmn", "jiolm", "kop", "njk",
    "bhjm", "iklp", "ol", "wa", "edft", "wedxza", "rfgy", "yhji", "cfgb", "qase", "zsdc", "tghu", "asx",
];

/// The letters beside a lower-case letter; none for other characters.
pub(super) fn neighbours(letter: char) -> &'static [u8] {
    let at = (letter as u32).wrapping_sub(u32::from(b'a')) as usize;
    NEIGHBOURS.get(at).map_or(&[], |letters| letters.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_letter_is_beside_itself_and_other_characters_have_no_neighbours() {
        for letter in 'a'..='z' {
            let beside = neighbours(letter);
            assert!(!beside.is_empty() && !beside.contains(&(letter as u8)), "{letter}");
            assert!(beside.iter().all(u8::is_ascii_lowercase), "{letter}");
        }
        assert!(neighbours('é').is_empty() && neighbours('A').is_empty() && neighbours('0').is_empty());
        assert!(neighbours('s').contains(&b'a') && neighbours('h').contains(&b'j'));
    }
}
