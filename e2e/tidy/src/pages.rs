//! The pages of the documentation that are made from the code.

/// A page and where it lies.
#[derive(Debug)]
pub struct Page {
    /// From the repository's root.
    pub path: &'static str,
    /// What it must say.
    pub text: String,
}

/// Every generated page.
#[must_use]
pub fn all() -> Vec<Page> {
    let metrics = format!(
        "# Metrics\n\n\
         <!-- Generated from `core/telemetry/src/metrics.rs` by `make pages`; a test compares the two. -->\n\n{}",
        defs_telemetry::markdown()
    );
    vec![
        Page { path: "docs/settings.md", text: defs_core::settings::markdown() },
        Page { path: "docs/metrics.md", text: metrics },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::root;

    #[test]
    fn generated_pages_say_what_the_code_says() {
        for page in all() {
            let written = std::fs::read_to_string(root().join(page.path)).unwrap_or_default();
            assert!(written == page.text, "{} is out of date: run `make pages`", page.path);
        }
    }
}
