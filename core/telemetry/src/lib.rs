//! What is measured, under which names, and the registry behind it. Each metric is
//! declared once: name, unit and help stand beside the field that counts.

pub mod declared;
pub mod label;
pub mod measure;
pub mod metrics;
#[cfg(test)]
mod tests;

use std::fmt::{self, Write};

pub use label::{Ask, By};
pub use measure::{Count, Level, Seconds};
pub use metrics::{NodeMetrics, PeerMetrics};

/// All metrics that a process exposes.
#[derive(Default)]
pub struct Registry(prometheus_client::registry::Registry);

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
        if prometheus_client::encoding::text::encode(&mut text, &self.0).is_err() {
            // Writing to a string never fails; should it, half a page is better than none.
            text.push_str("# cut short\n");
        }
        text
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
        let label = declared.label.unwrap_or_default();
        let line = format!(
            "| `{}` | `{prometheus}` | {kind} | `{}` | {label} | {} |",
            declared.name, declared.unit, declared.help
        );
        // Writing to a string never fails.
        writeln!(page, "{line}").ok();
    }
    page
}
