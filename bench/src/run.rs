//! The whole measurement, in the order of its table.

use std::fs;
use std::io::Write as _;

use anyhow::{Context as _, Result};
use defs_core::geometry::Geometry;
use defs_core::size::Size;

use crate::args::{Args, Dose, What};
use crate::ceiling::{Ceiling, Part, Parts, Shape};
use crate::machine::Machine;
use crate::meter::{GIB, Spent};
use crate::nodes::NODES;
use crate::table::{Row, render};
use crate::{healing, large, lookups, parts, small, warm};

/// What each way could come to; `None` where the parts were not measured.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ceilings {
    pub(crate) upload: Option<Ceiling>,
    pub(crate) download: Option<Ceiling>,
    pub(crate) degraded: Option<Ceiling>,
}

impl Ceilings {
    fn of(shape: Shape, parts: &Parts, machine: &Machine) -> Self {
        Self {
            upload: shape.upload().ceiling(parts, machine.cores),
            download: shape.download().ceiling(parts, machine.cores),
            degraded: shape.degraded().ceiling(parts, machine.cores),
        }
    }
}

pub(crate) async fn run(args: &Args) -> Result<()> {
    let machine = Machine::look()?;
    let rows = match args.large_file {
        Some(size) => large::measure_memory(size).await?,
        None => figures(args, args.dose(), &machine).await?,
    };
    let text = format!("{machine}\n\n{}", render(&rows));
    if let Some(path) = &args.markdown {
        fs::write(path, &text).with_context(|| format!("failed to write {}", path.display()))?;
    }
    writeln!(std::io::stdout(), "\n{text}")?;
    Ok(())
}

async fn figures(args: &Args, dose: Dose, machine: &Machine) -> Result<Vec<Row>> {
    let shape = Shape { geometry: Geometry::new(10, 4)?, slice: Size::mib(16).0, nodes: NODES };
    // Held to the end.
    let _ballast = if args.quick { None } else { Some(warm::memory(&std::env::temp_dir())?) };
    let mut rows = Vec::new();
    let mut ceilings = Ceilings::default();
    if args.wants(What::Parts) {
        let parts = parts::measure(dose.part, shape, &std::env::temp_dir()).await?;
        ceilings = Ceilings::of(shape, &parts, machine);
        rows.extend(parts.iter().map(|(part, spent)| part_row(*part, spent)));
        rows.extend(ceiling_rows(&ceilings));
    }
    if args.wants(What::Large) {
        rows.extend(large::measure(dose, &ceilings, machine).await?);
    }
    if args.wants(What::Small) {
        rows.extend(small::measure(dose.files, machine).await?);
    }
    if args.wants(What::Lookups) {
        rows.extend(lookups::measure(dose.lookups).await?);
    }
    if args.wants(What::Healing) {
        // Its waits are for processes of their own: nothing else runs in this one.
        rows.extend(tokio::task::block_in_place(|| healing::measure(dose.size))?);
    }
    Ok(rows)
}

fn part_row(part: Part, spent: &Spent) -> Row {
    if part.is_counted() {
        return Row::new(part.name(), spent.speed(), "a second, one core");
    }
    Row::new(part.name(), spent.speed() / 1e6, "MB/s").cpu(spent.cpu_each() * GIB)
}

fn ceiling_rows(ceilings: &Ceilings) -> Vec<Row> {
    let ways = [
        ("ceiling, upload", ceilings.upload),
        ("ceiling, download", ceilings.download),
        ("ceiling, download without a pair", ceilings.degraded),
    ];
    let row = |(name, ceiling): (&str, Option<Ceiling>)| {
        let ceiling = ceiling?;
        let by = if ceiling.by_disk { "the disk" } else { "processors" };
        let name = format!("{name}, by {by}");
        Some(Row::new(name, ceiling.speed / 1e6, "MB/s").cpu(ceiling.cpu))
    };
    ways.into_iter().filter_map(row).collect()
}
