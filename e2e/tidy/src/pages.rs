//! The pages of the documentation and the CRDs, which are made from the code, whole or in part.

use std::io;
use std::path::Path;

use crate::diagrams;

/// Where the states of pairs, nodes and tasks are drawn, between words written by hand.
const ARCHITECTURE: &str = "docs/architecture.md";

/// A page and where it lies.
#[derive(Debug)]
pub struct Page {
    /// From the repository's root.
    pub path: String,
    /// What it must say.
    pub text: String,
}

/// Every page of the repository at `root` that the code has a say in.
pub fn all(root: &Path) -> io::Result<Vec<Page>> {
    let metrics = format!(
        "# Metrics\n\n\
         <!-- Generated from `core/telemetry/src/metrics.rs` by `make pages`; a test compares the two. -->\n\n{}",
        defs_telemetry::markdown()
    );
    let traces = format!(
        "# Traces\n\n\
         <!-- Generated from `core/telemetry/src/spans.rs` by `make pages`; a test compares the two. -->\n\n{}",
        defs_telemetry::spans::markdown()
    );
    let architecture = std::fs::read_to_string(root.join(ARCHITECTURE))?;
    let architecture = diagrams::drawn(&architecture)
        .map_err(|missing| io::Error::other(format!("{ARCHITECTURE}: {missing}")))?;
    let page = |path: &str, text: String| Page { path: path.to_owned(), text };
    let crds = defs_crds::manifests().map_err(io::Error::other)?;
    let crds = crds.into_iter().map(|crd| Page { path: crd.path, text: crd.text });
    let pages = [
        page("docs/settings.md", defs_core::settings::markdown()),
        page("docs/metrics.md", metrics),
        page("docs/traces.md", traces),
        page("docs/crds.md", defs_crds::page::fields()),
        page("docs/reasons.md", defs_crds::page::reasons()),
        page(ARCHITECTURE, architecture),
    ];
    Ok(pages.into_iter().chain(crds).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::root;

    #[test]
    fn generated_pages_say_what_the_code_says() {
        for page in all(root()).unwrap() {
            let written = std::fs::read_to_string(root().join(&page.path)).unwrap_or_default();
            assert!(written == page.text, "{} is out of date: run `make pages`", page.path);
        }
    }
}
