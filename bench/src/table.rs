//! The one table of figures: Markdown whose columns line up, so that people and documents
//! read the same.

/// What a figure ought to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Wanted {
    AtLeast(f64),
    AtMost(f64),
    /// At least this share of its ceiling.
    Share(f64),
}

/// One figure.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    figure: String,
    value: f64,
    unit: String,
    cpu: Option<f64>,
    ceiling: Option<f64>,
    wanted: Option<Wanted>,
}

const HEADINGS: [&str; 8] =
    ["figure", "value", "unit", "CPU s/GiB", "ceiling", "share", "wanted", ""];

impl Row {
    pub(crate) fn new(figure: impl Into<String>, value: f64, unit: impl Into<String>) -> Self {
        let (figure, unit) = (figure.into(), unit.into());
        Self { figure, value, unit, cpu: None, ceiling: None, wanted: None }
    }

    /// Processor seconds for each GiB.
    pub(crate) fn cpu(self, cpu: f64) -> Self {
        Self { cpu: Some(cpu), ..self }
    }

    pub(crate) fn ceiling(self, ceiling: Option<f64>) -> Self {
        Self { ceiling, ..self }
    }

    pub(crate) fn wanted(self, wanted: Wanted) -> Self {
        Self { wanted: Some(wanted), ..self }
    }

    fn share(&self) -> Option<f64> {
        self.ceiling.map(|ceiling| self.value / ceiling.max(f64::MIN_POSITIVE))
    }

    /// Whether it is as wanted, where that can be said.
    fn is_met(&self) -> Option<bool> {
        Some(match self.wanted? {
            Wanted::AtLeast(least) => self.value >= least,
            Wanted::AtMost(most) => self.value <= most,
            Wanted::Share(least) => self.share()? >= least,
        })
    }

    fn cells(&self) -> [String; 8] {
        let wanted = match self.wanted {
            None => String::new(),
            Some(Wanted::AtLeast(least)) => format!("≥ {}", number(least)),
            Some(Wanted::AtMost(most)) => format!("≤ {}", number(most)),
            Some(Wanted::Share(least)) => format!("≥ {:.0} %", least * 100.0),
        };
        let verdict = match self.is_met() {
            None => "",
            Some(true) => "met",
            Some(false) => "short",
        };
        [
            self.figure.clone(),
            number(self.value),
            self.unit.clone(),
            self.cpu.map(number).unwrap_or_default(),
            self.ceiling.map(number).unwrap_or_default(),
            self.share().map(|share| format!("{:.0} %", share * 100.0)).unwrap_or_default(),
            wanted,
            verdict.to_owned(),
        ]
    }
}

/// Three digits that count, and no exponent.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        small if small >= 0.1 || small == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// The whole table.
pub(crate) fn render(rows: &[Row]) -> String {
    let mut lines = vec![HEADINGS.map(str::to_owned)];
    lines.extend(rows.iter().map(Row::cells));
    let widths: Vec<usize> = (0..HEADINGS.len())
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut rendered: Vec<_> = lines.iter().map(|line| rendered_line(line, &widths)).collect();
    rendered.insert(1, rule(&widths));
    rendered.concat()
}

fn rendered_line(line: &[String], widths: &[usize]) -> String {
    let cell = |(column, (cell, width)): (usize, (&String, &usize))| {
        let room = " ".repeat(width - cell.chars().count());
        if is_number(column) { format!(" {room}{cell} |") } else { format!(" {cell}{room} |") }
    };
    let cells = line.iter().zip(widths).enumerate().map(cell);
    format!("|{}\n", cells.collect::<String>())
}

fn is_number(column: usize) -> bool {
    matches!(column, 1 | 3 | 4 | 5)
}

fn rule(widths: &[usize]) -> String {
    let cell = |(column, width): (usize, &usize)| {
        let end = if is_number(column) { ':' } else { '-' };
        format!("{}{end}|", "-".repeat(width + 1))
    };
    format!("|{}\n", widths.iter().enumerate().map(cell).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_judged_by_what_is_wanted_of_it() {
        let row = Row::new("upload", 120.0, "MB/s").ceiling(Some(200.0));
        assert_eq!(row.is_met(), None);
        assert_eq!(row.clone().wanted(Wanted::Share(0.6)).is_met(), Some(true));
        assert_eq!(row.clone().wanted(Wanted::Share(0.61)).is_met(), Some(false));
        assert_eq!(row.clone().wanted(Wanted::AtLeast(121.0)).is_met(), Some(false));
        assert_eq!(row.clone().wanted(Wanted::AtMost(120.0)).is_met(), Some(true));
        // Without a ceiling nothing can be said of a share.
        assert_eq!(row.ceiling(None).wanted(Wanted::Share(0.6)).is_met(), None);
    }

    #[test]
    fn numbers_show_three_digits_that_count() {
        let shown = [1234.5, 12.34, 1.234, 0.0123, 0.0].map(number);
        assert_eq!(shown, ["1234", "12.3", "1.23", "0.012", "0.00"]);
    }

    #[test]
    fn the_table_lines_up_and_is_markdown() {
        let rows = [
            Row::new("up", 120.0, "MB/s").cpu(7.5).ceiling(Some(200.0)).wanted(Wanted::Share(0.6)),
            Row::new("memory of a node", 300.0, "MiB").wanted(Wanted::AtMost(256.0)),
        ];
        let expected = "\
| figure           | value | unit | CPU s/GiB | ceiling | share | wanted |       |
|------------------|------:|------|----------:|--------:|------:|--------|-------|
| up               |   120 | MB/s |      7.50 |     200 |  60 % | ≥ 60 % | met   |
| memory of a node |   300 | MiB  |           |         |       | ≤ 256  | short |
";
        assert_eq!(render(&rows), expected);
    }
}
