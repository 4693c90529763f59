//! What the figures were measured on.

use std::fmt;
use std::fs;

use anyhow::{Context as _, Result};

use crate::meter::as_figure;

/// This machine.
#[derive(Debug)]
pub(crate) struct Machine {
    processor: String,
    pub(crate) cores: f64,
    /// Whether it counts as a fast one: it has AVX-512.
    pub(crate) is_fast: bool,
    memory: String,
    kernel: String,
}

impl Machine {
    pub(crate) fn look() -> Result<Self> {
        let cpus = read("/proc/cpuinfo")?;
        let cores = std::thread::available_parallelism().context("failed to count the cores")?;
        Ok(Self {
            processor: field(&cpus, "model name"),
            cores: as_figure(cores.get() as u64),
            is_fast: field(&cpus, "flags").split_whitespace().any(|flag| flag == "avx512f"),
            memory: field(&read("/proc/meminfo")?, "MemTotal"),
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        })
    }
}

/// Bytes that processes and the file cache could take now.
pub(crate) fn available_memory() -> Result<u64> {
    let text = field(&read("/proc/meminfo")?, "MemAvailable");
    let kibibytes: u64 =
        text.trim_end_matches(" kB").parse().context("memory that is no number")?;
    Ok(kibibytes << 10)
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("failed to read {path}"))
}

/// What stands behind `name` and a colon, first of all lines.
fn field(text: &str, name: &str) -> String {
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    let value = pairs.find(|(known, _)| known.trim() == name).map(|(_, value)| value.trim());
    value.unwrap_or("unknown").to_owned()
}

impl fmt::Display for Machine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, cores, is_fast, memory, kernel } = self;
        let has = if *is_fast { "with" } else { "without" };
        write!(
            out,
            "Measured on {processor}, {cores} cores {has} AVX-512, {memory}, Linux {kernel}."
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_memory_left() {
        assert!(available_memory().unwrap() > 1 << 20);
    }

    #[test]
    fn the_first_line_of_a_name_counts() {
        let text = "processor\t: 0\nmodel name\t: A: fast one\nmodel name\t: other\n";
        assert_eq!(field(text, "model name"), "A: fast one");
        assert_eq!(field(text, "flags"), "unknown");
    }
}
