//! What it takes to find a file, by the rung of the ladder that finds it.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::meter::as_figure;
use crate::nodes::Nodes;
use crate::owner::Looked;
use crate::say;
use crate::small::owner;
use crate::table::Row;

/// More than enough for files this small.
const ROOM: u64 = 256 << 20;

pub(crate) async fn measure(lookups: u32) -> Result<Vec<Row>> {
    let nodes = Nodes::start(ROOM).await?;
    say(&format!("{lookups} look-ups by hints, {lookups} without"))?;
    let (told, _) = owner(&nodes, lookups, lookups).await?;
    Ok(rows(told.looked))
}

fn rows(looked: Vec<Looked>) -> Vec<Row> {
    let mut by_rung: BTreeMap<String, Vec<Looked>> = BTreeMap::new();
    for one in looked {
        by_rung.entry(one.by.clone()).or_default().push(one);
    }
    by_rung.into_iter().flat_map(|(rung, looked)| rung_rows(&rung, looked)).collect()
}

fn rung_rows(rung: &str, mut looked: Vec<Looked>) -> Vec<Row> {
    looked.sort_by(|one, other| one.micros.total_cmp(&other.micros));
    let count = looked.len();
    let middle = looked.get(count / 2).map_or(0.0, |one| one.micros);
    let name = format!("look-up by {rung} (of {count} the median)");
    let mut rows = vec![Row::new(name, middle, "µs")];
    let mean = |of: fn(&Looked) -> Option<u32>| {
        let told: Vec<_> = looked.iter().filter_map(of).map(f64::from).collect();
        (!told.is_empty()).then(|| told.iter().sum::<f64>() / as_figure(told.len() as u64))
    };
    let row =
        |what: &str, mean: Option<f64>| Some(Row::new(format!("look-up by {rung}"), mean?, what));
    rows.extend(row("messages", mean(|one| one.messages)));
    rows.extend(row("round trips", mean(|one| one.round_trips)));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked(by: &str, micros: f64, messages: Option<u32>) -> Looked {
        Looked { by: by.to_owned(), micros, messages, round_trips: messages }
    }

    #[test]
    fn each_rung_tells_its_median_and_its_means() {
        let told = vec![
            looked("hints", 300.0, Some(2)),
            looked("nowhere", 9.0, None),
            looked("hints", 100.0, Some(3)),
            looked("hints", 200.0, Some(4)),
        ];
        let expected = vec![
            Row::new("look-up by hints (of 3 the median)", 200.0, "µs"),
            Row::new("look-up by hints", 3.0, "messages"),
            Row::new("look-up by hints", 3.0, "round trips"),
            Row::new("look-up by nowhere (of 1 the median)", 9.0, "µs"),
        ];
        assert_eq!(rows(told), expected);
    }
}
