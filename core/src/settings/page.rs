//! The settings as a page of the documentation.

use super::table::{Setting, Side, table};

const HEAD: &str = "\
# Settings

<!-- Generated from `core/src/settings/table.rs` by `make pages`; a test compares the two. -->

A value is looked for in the flags, then in the environment, then in the settings file, and
what is said nowhere has its default. The settings file (`--config FILE`) is flat YAML: a
line for each setting, `name: value`; a list is a YAML list or one text with commas.

`defs-node` takes the flags of the tables as they are. `defs` takes each setting as
`--set NAME=VALUE`, and `defs put` knows four by a shorter name: `--mode`, `--data`,
`--parity` and `--durability`.

Sizes take `Ki`, `Mi`, `Gi`, `Ti` (powers of 1024) or `kB`, `MB`, `GB`, `TB` (powers of
1000); times take `ms`, `s`, `m` or `h`. A path that begins with `~/` is below the home
folder.
";

/// The page `docs/settings.md`.
#[must_use]
pub fn markdown() -> String {
    let mut page = HEAD.to_owned();
    for (side, title) in [
        (Side::Both, "For every process"),
        (Side::Client, "For the owner's side"),
        (Side::Node, "For storage nodes"),
    ] {
        page.push_str(&format!(
            "\n## {title}\n\n\
             | name | environment | flag | default | unit | allowed | what it does |\n\
             |---|---|---|---|---|---|---|\n"
        ));
        for setting in table().iter().filter(|setting| setting.side == side) {
            page.push_str(&line(setting));
        }
    }
    page
}

fn line(setting: &Setting) -> String {
    let default = match setting.default {
        "" => String::new(),
        default => format!("`{default}`"),
    };
    format!(
        "| `{}` | `{}` | `{}` | {default} | {} | {} | {} |\n",
        setting.name,
        setting.env(),
        flag(setting),
        setting.unit(),
        setting.bounds(),
        setting.effect
    )
}

/// How it is given on a command line: what only owners set, `defs` alone takes.
fn flag(setting: &Setting) -> String {
    match setting.side {
        Side::Client => format!("--set {}=", setting.name),
        Side::Node | Side::Both => format!("--{}", setting.flag),
    }
}
