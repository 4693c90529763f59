//! The states of pairs, nodes and tasks, drawn into a page from the tables in core.

use defs_core::states::{NodeState, PairState, State, TaskState};
use std::fmt;

/// A page has no place for a diagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoPlace {
    marker: String,
}

impl fmt::Display for NoPlace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the line `{}` is missing", self.marker)
    }
}

/// `page` with each diagram between its markers as the tables are now.
pub(crate) fn drawn(page: &str) -> Result<String, NoPlace> {
    let diagrams = [
        ("pair", PairState::diagram()),
        ("node", NodeState::diagram()),
        ("task", TaskState::diagram()),
    ];
    diagrams.into_iter().try_fold(page.to_owned(), |page, (name, diagram)| {
        let between = format!("```mermaid\n{diagram}```\n");
        put_between(&page, &format!("states:{name}"), &between)
    })
}

/// Replaces what stands between `<!-- name -->` and `<!-- /name -->`.
fn put_between(page: &str, name: &str, text: &str) -> Result<String, NoPlace> {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->\n"));
    let missing = |marker: &str| NoPlace { marker: marker.trim_end().to_owned() };
    let (before, rest) = page.split_once(&begin).ok_or_else(|| missing(&begin))?;
    let (_, after) = rest.split_once(&end).ok_or_else(|| missing(&end))?;
    Ok(format!("{before}{begin}{text}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "Before\n<!-- a -->\nold\n<!-- /a -->\nafter\n";

    #[test]
    fn only_what_stands_between_the_markers_is_replaced() {
        let page = put_between(PAGE, "a", "new\n");
        assert_eq!(page.unwrap(), "Before\n<!-- a -->\nnew\n<!-- /a -->\nafter\n");
    }

    #[test]
    fn a_page_without_a_marker_is_refused_with_its_name() {
        let refused = put_between(PAGE, "b", "new\n").unwrap_err();
        assert_eq!(refused.to_string(), "the line `<!-- b -->` is missing");
        let unended = put_between("<!-- a -->\nold\n", "a", "new\n").unwrap_err();
        assert_eq!(unended.to_string(), "the line `<!-- /a -->` is missing");
    }

    #[test]
    fn a_move_that_the_tables_lack_does_not_survive_in_a_page() {
        let markers = ["pair", "node", "task"].map(|name| {
            format!("<!-- states:{name} -->\nDissolved --> Healthy\n<!-- /states:{name} -->\n")
        });
        let page = drawn(&markers.concat()).unwrap();
        assert!(!page.contains("Dissolved --> Healthy"), "{page}");
        assert!(page.contains("    Lost --> Dissolved\n```\n<!-- /states:pair -->\n"), "{page}");
    }
}
