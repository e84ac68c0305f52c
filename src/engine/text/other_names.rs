//! What other programs call a parameter: a file that uses their names is answered with ours.

use super::diagnostic::Diagnostic;
use super::value::Table;

/// A name that a kind does not know, and what to write instead.
#[derive(Debug, Clone, Copy)]
pub struct OtherName {
    pub theirs: &'static str,
    pub instead: Instead,
}

/// What to write instead of another program's parameter.
#[derive(Debug, Clone, Copy)]
pub enum Instead {
    /// The parameter that has the same values.
    Parameter(&'static str),
    /// A sentence: the value is another, or nothing needs to be written.
    Advice(&'static str),
}

impl OtherName {
    pub const fn of(theirs: &'static str, ours: &'static str) -> Self {
        Self { theirs, instead: Instead::Parameter(ours) }
    }

    pub const fn advice(theirs: &'static str, advice: &'static str) -> Self {
        Self { theirs, instead: Instead::Advice(advice) }
    }
}

/// Report the keys of a table that are another program's; a name of ours that is not among `known` answers nothing. Returns the table without them, or with our names for them, so
/// that a required parameter under another name is one mistake and its value is checked too.
pub fn answer(table: &Table, owner: &str, known: &[&str], names: &[OtherName]) -> (Table, Vec<Diagnostic>) {
    let (mut rest, mut problems) = (Table::default(), Vec::new());
    for item in &table.0 {
        let helps = |name: &&OtherName| match name.instead {
            Instead::Parameter(ours) => known.contains(&ours),
            Instead::Advice(_) => true,
        };
        let Some(name) = names.iter().filter(|name| name.theirs == item.key).find(helps) else {
            rest.0.push(item.clone());
            continue;
        };
        let problem = Diagnostic::new(format!("{owner} has no parameter `{}`", item.key)).at(&item.key_place);
        let problem = problem.label("another program's name");
        problems.push(match name.instead {
            Instead::Parameter(ours) => {
                if table.get(ours).is_none() && rest.get(ours).is_none() {
                    let mut item = item.clone();
                    item.key = ours.into();
                    rest.0.push(item);
                }
                problem.help(format!("write `{ours}`"))
            }
            Instead::Advice(advice) => problem.help(advice),
        });
    }
    (rest, problems)
}
