//! Matches module names against targets and patterns, and lists them for messages.

/// Whether a target is the whole name of a module or the part after a dot, as in PEFT.
pub(crate) fn is_end(target: &str, module: &str) -> bool {
    module.strip_suffix(target).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Like [`is_end`], with `*` for any characters, including dots.
pub(crate) fn matches(pattern: &str, module: &str) -> bool {
    let mut pieces = pattern.split('*');
    let (Some(first), Some(last)) = (pieces.next(), pieces.next_back()) else { return is_end(pattern, module) };
    let fits = |name: &str| {
        let Some(rest) = name.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else { return false };
        // Matching each piece as early as possible leaves the most text for the next pieces.
        pieces.clone().try_fold(rest, |rest, piece| rest.split_once(piece).map(|(_, rest)| rest)).is_some()
    };
    let starts = std::iter::once(0).chain(module.match_indices('.').map(|(at, _)| at + 1));
    starts.into_iter().any(|start| fits(&module[start..]))
}

/// Lists module names with layer numbers replaced by `number`, each name once.
pub(crate) fn kinds<'a>(modules: impl IntoIterator<Item = &'a str>, number: &str) -> String {
    let mut kinds: Vec<String> = Vec::new();
    for module in modules {
        let parts = module.split('.').map(|part| if part.parse::<usize>().is_ok() { number } else { part });
        let kind = parts.collect::<Vec<_>>().join(".");
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_from_any_dot_to_the_end() {
        let query = "roberta.encoder.layer.11.attention.self.query";
        for yes in ["query", "self.query", query, "layer.*.query", "layer.1*.self.query", "*query", "*", "r*r.l*y"] {
            assert!(matches(yes, query), "{yes}");
        }
        for no in ["uery", "quer", "layer.*.key", "layer.2*.query", "ayer.*.query", "query*.query", "self", "", "a*.b*"]
        {
            assert!(!matches(no, query), "{no}");
        }
        assert!(matches("layer.*", query) && !matches("layer", query));
        assert!(!matches("query*query", "x.query"), "a piece is not used twice");
    }

    #[test]
    fn a_list_has_one_name_for_all_layers() {
        let modules = ["a.layer.0.x", "a.layer.0.y", "a.layer.1.x", "a.layer.1.y", "classifier"];
        assert_eq!(kinds(modules, "*"), "a.layer.*.x, a.layer.*.y, classifier");
    }
}
