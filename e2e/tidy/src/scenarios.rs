//! That the page of scenarios and settings names tests that are there, and every setting.

use std::collections::BTreeSet;

use crate::repository::{modules, root};

const PAGE: &str = "docs/scenarios.md";

/// What a test that is not there yet is called on the page.
const LATER: &[&str] = &["with healing", "with sharing", "missing"];

/// The rows of the page's tables: their first cell, and what stands in the last between
/// backquotes.
fn rows() -> Vec<(String, String)> {
    let page = std::fs::read_to_string(root().join(PAGE)).unwrap();
    let cells = |line: &str| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        Some(((*cells.first()?).to_owned(), (*cells.last()?).to_owned()))
    };
    let table = page.lines().filter(|line| line.starts_with('|') && !line.starts_with("|---"));
    table.filter_map(cells).collect()
}

/// The texts between backquotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The names of all functions of the workspace: a test is one of them.
fn functions() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (_, said) in modules() {
        for after in said.split("fn ").skip(1) {
            let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
            names.insert(after.chars().take_while(|letter| is_part(*letter)).collect());
        }
    }
    names
}

#[test]
fn every_test_that_the_scenarios_name_is_there() {
    let (rows, functions) = (rows(), functions());
    let named: Vec<_> = rows.iter().flat_map(|(_, tests)| quoted(tests)).collect();
    assert!(named.len() > 50, "the tables of {PAGE} were not read: {named:?}");
    let absent: Vec<_> = named.iter().filter(|name| !functions.contains(**name)).collect();
    assert!(absent.is_empty(), "{PAGE} names tests that are not there: {absent:#?}");
}

#[test]
fn every_row_names_a_test_or_says_when_it_comes() {
    let head = |first: &str| ["scenario", "setting", "refused"].contains(&first);
    let silent: Vec<_> = rows()
        .into_iter()
        .filter(|(first, tests)| {
            let later = LATER.iter().any(|word| tests.contains(word));
            !head(first) && quoted(tests).next().is_none() && !later
        })
        .collect();
    assert!(silent.is_empty(), "{PAGE}: {silent:#?}");
}

#[test]
fn every_setting_has_its_row() {
    let rows = rows();
    let missing: Vec<_> = defs_core::settings::table()
        .iter()
        .filter(|setting| !rows.iter().any(|(first, _)| *first == format!("`{}`", setting.name)))
        .collect();
    assert!(missing.is_empty(), "{PAGE} says of no test that shows the effect of {missing:?}");
}
