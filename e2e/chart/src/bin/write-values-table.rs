//! Writes the table of values into the chart's README: `make pages` calls it.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let root = Path::new(".");
    std::fs::write(
        root.join(defs_chart_tests::values::README),
        defs_chart_tests::values::readme(root)?,
    )
}
