//! `defs ls` and `defs rm`.

use anyhow::Result;
use serde_json::json;

use super::Context;
use super::put::finish;
use crate::open;
use crate::say::{bytes, table};

pub(super) async fn list(context: &Context, prefix: Option<&str>) -> Result<()> {
    let client = open::offline(&context.args, &context.home).await?;
    let entries = client.list().await?;
    let wanted: Vec<_> =
        entries.iter().filter(|entry| entry.name.starts_with(prefix.unwrap_or(""))).collect();
    let mut rows = Vec::new();
    for entry in &wanted {
        if context.say.json() {
            let event = json!({
                "event": "file", "name": entry.name, "length": entry.length,
                "mode": entry.mode.to_string(), "putAtMs": entry.put_at.0,
                "file": entry.ticket.file.full(), "digest": entry.digest.full(),
            });
            context.say.event(&event, String::new);
        }
        rows.push(vec![
            entry.name.clone(),
            bytes(entry.length),
            entry.mode.to_string(),
            date(entry.put_at.0 / 1000),
        ]);
    }
    if !context.say.json() {
        context.say.event(&json!({}), || table(&["NAME", "SIZE", "MODE", "PUT (UTC)"], &rows));
    }
    Ok(())
}

pub(super) async fn remove(context: &Context, names: &[String]) -> Result<()> {
    let opened = open::open(&context.args, &context.home).await?;
    let mut failed = Vec::new();
    for name in names {
        match opened.client.remove(name).await {
            Ok(removed) => {
                let event = json!({
                    "event": "removed", "name": name, "stripes": removed.stripes,
                    "notTold": removed.not_told,
                });
                context.say.event(&event, || format!("{name} removed"));
            }
            Err(error) => failed.push(error.into()),
        }
    }
    opened.client.close().await;
    finish(context, failed)
}

/// A date as people write it, from seconds since 1970 (after Hinnant's
/// `civil_from_days`).
fn date(seconds: u64) -> String {
    let days = seconds / 86_400 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (seconds % 86_400 / 3600, seconds % 3600 / 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right_around_leap_days_and_years() {
        assert_eq!(date(0), "1970-01-01 00:00");
        assert_eq!(date(951_782_399), "2000-02-28 23:59");
        assert_eq!(date(951_782_400), "2000-02-29 00:00");
        assert_eq!(date(1_798_761_599), "2026-12-31 23:59");
    }
}
