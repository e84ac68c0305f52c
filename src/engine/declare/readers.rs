//! Parameters that take their value from the stages that read a stage's outputs.

use super::drawn::Drawn;
use crate::contract::kind::FromReaders;
use crate::text::diagnostic::{Diagnostic, Place};
use crate::text::value::{Item, Node, Value};

/// A parameter of a reader.
struct Given {
    /// `train.base`.
    name: String,
    value: String,
}

/// Put the readers' values in the place of the words that ask for them.
pub(crate) fn take_from_readers(drawn: &mut [Drawn], problems: &mut Vec<Diagnostic>) {
    for at in 0..drawn.len() {
        for rule in drawn[at].kind.from_readers {
            let Some(place) = asked(&drawn[at], rule) else { continue };
            match taken(drawn, at, rule) {
                Ok(value) => {
                    if let Some(item) = drawn[at].parameters.0.iter_mut().find(|item| item.key == rule.key) {
                        item.value.node = Node::String(value);
                    }
                }
                Err(problem) => problems.push(problem.at(&place)),
            }
        }
    }
}

/// The place of the word, if a stage has it.
fn asked(stage: &Drawn, rule: &FromReaders) -> Option<Place> {
    let value = &stage.parameters.get(rule.key)?.value;
    (value.as_str() == Some(rule.word)).then(|| value.place.clone())
}

/// The one value that all readers have.
fn taken(drawn: &[Drawn], at: usize, rule: &FromReaders) -> Result<String, Diagnostic> {
    let (stage, key) = (&drawn[at].name, rule.key);
    let given = given(drawn, at, rule);
    let Some(first) = given.first() else {
        let keys: Vec<String> = rule.of.iter().map(|(_, key)| format!("`{key}`")).collect();
        return Err(Diagnostic::new(format!(
            "`{key}` of stage `{stage}` is \"{}\", but no stage that reads `{stage}` has a parameter {}",
            rule.word,
            keys.join(" or ")
        ))
        .label("nothing to take it from")
        .help(format!("write the value of `{key}` itself")));
    };
    if given.iter().all(|other| other.value == first.value) {
        return Ok(first.value.clone());
    }
    let all: Vec<String> = given.iter().map(|given| format!("`{}` is \"{}\"", given.name, given.value)).collect();
    Err(Diagnostic::new(format!(
        "`{key}` of stage `{stage}` is \"{}\", but the stages that read `{stage}` disagree",
        rule.word
    ))
    .label(all.join(", "))
    .help(format!("use one stage for each, such as a second one like `{stage}`, or write the value of `{key}` itself")))
}

fn given(drawn: &[Drawn], at: usize, rule: &FromReaders) -> Vec<Given> {
    let mut all = Vec::new();
    for reader in drawn {
        for (port, key) in rule.of {
            let mut plugs = reader.plugs.iter().filter(|plug| plug.port.name == *port);
            if !plugs.any(|plug| plug.sources.iter().any(|source| source.stage == at)) {
                continue;
            }
            let axis = reader.axes.iter().filter(|(axis, _)| axis == key).flat_map(|(_, values)| values);
            let own = reader.parameters.get(key).map(|Item { value, .. }| value);
            let values = own.into_iter().chain(axis).filter_map(Value::as_str);
            all.extend(values.map(|value| Given { name: format!("{}.{key}", reader.name), value: value.to_owned() }));
        }
    }
    all
}
