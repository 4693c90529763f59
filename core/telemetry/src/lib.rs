//! What is measured and traced, under which names, and the registry behind it. Each metric is
//! declared once: name, unit and help stand beside the field that counts; each span stands in
//! [`spans`]. How both leave the process is not decided here.

pub mod declared;
pub mod label;
pub mod measure;
pub mod metrics;
pub mod reading;
pub mod spans;
#[cfg(test)]
mod tests;
pub mod trace;

use std::fmt::{self, Write};

pub use label::{Ask, By};
pub use measure::{Count, Level, Seconds};
pub use metrics::{ClientMetrics, ExportMetrics, NodeMetrics, OperatorMetrics, PeerMetrics};
pub use reading::Reading;

/// All metrics that a process exposes.
#[derive(Default)]
pub struct Registry {
    page: prometheus_client::registry::Registry,
    readers: Vec<Reader>,
}

/// Reads one metric.
type Reader = Box<dyn Fn() -> Reading + Send + Sync>;

impl Registry {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Every metric as Prometheus (OpenMetrics) text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        if prometheus_client::encoding::text::encode(&mut text, &self.page).is_err() {
            // Writing to a string never fails; should it, half a page is better than none.
            text.push_str("# cut short\n");
        }
        text
    }

    /// Every metric as values.
    #[must_use]
    pub fn read(&self) -> Vec<Reading> {
        self.readers.iter().map(|read| read()).collect()
    }

    /// The content type of [`Registry::encode`].
    pub const CONTENT_TYPE: &'static str =
        "application/openmetrics-text; version=1.0.0; charset=utf-8";
}

impl fmt::Debug for Registry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Registry")
    }
}

/// The table of all metrics as Markdown, for the documentation.
#[must_use]
pub fn markdown() -> String {
    let mut page = String::from(
        "| metric | in Prometheus | kind | unit | label | what it says |\n|---|---|---|---|---|---|\n",
    );
    for declared in metrics::all() {
        let prometheus = declared.prometheus();
        let kind = declared.kind;
        let label = declared.labels.join(", ");
        let line = format!(
            "| `{}` | `{prometheus}` | {kind} | `{}` | {label} | {} |",
            declared.name, declared.unit, declared.help
        );
        // Writing to a string never fails.
        writeln!(page, "{line}").ok();
    }
    page
}
