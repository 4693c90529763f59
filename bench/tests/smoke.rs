//! The program runs, measures every part in a tiny dose, and prints and writes its table.
#![cfg(test)]

use std::process::Command;

#[test]
fn the_parts_are_measured_and_give_three_ceilings() {
    let folder = tempfile::tempdir().unwrap();
    let written = folder.path().join("table.md");
    let output = Command::new(env!("CARGO_BIN_EXE_defs-bench"))
        .args(["--only", "parts", "--part-ms", "1", "--markdown"])
        .arg(&written)
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let table = std::fs::read_to_string(&written).unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains(table.trim()));
    for way in ["ceiling, upload", "ceiling, download", "ceiling, download without a pair"] {
        assert!(table.contains(way), "{way} is missing:\n{table}");
    }
    // Nothing but the table is left.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
