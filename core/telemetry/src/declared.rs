//! A metric as it is declared.

use std::fmt;

use prometheus_client::registry::Unit;

/// What a metric's number does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Is counted by size.
    Histogram,
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        })
    }
}

/// A metric's name and what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Declared {
    /// Dotted, as in OpenTelemetry: `defs.shard.stored`.
    pub name: &'static str,
    /// In UCUM: `By`, `s` or what is counted, as in `{shard}`.
    pub unit: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// What the number does.
    pub kind: Kind,
    /// By what it is split.
    pub labels: &'static [&'static str],
}

impl Declared {
    /// The name under which Prometheus shows it.
    #[must_use]
    pub fn prometheus(&self) -> String {
        let total = if self.kind == Kind::Counter { "_total" } else { "" };
        match self.prometheus_unit() {
            Some(unit) => format!("{}_{}{total}", self.bare(), unit.as_str()),
            None => format!("{}{total}", self.bare()),
        }
    }

    /// The names that a query may use: a histogram is shown under three.
    #[must_use]
    pub fn series(&self) -> Vec<String> {
        let name = self.prometheus();
        match self.kind {
            Kind::Counter | Kind::Gauge => vec![name],
            Kind::Histogram => {
                ["bucket", "sum", "count"].map(|part| format!("{name}_{part}")).to_vec()
            }
        }
    }

    /// The name without unit and suffix, which the registry adds.
    pub(crate) fn bare(&self) -> String {
        self.name.replace('.', "_")
    }

    pub(crate) fn prometheus_unit(&self) -> Option<Unit> {
        match self.unit {
            "By" => Some(Unit::Bytes),
            "s" => Some(Unit::Seconds),
            _ => None,
        }
    }
}
