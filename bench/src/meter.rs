//! How much was done, in what time, with how much processor time. Work is done in laps
//! until the dose is reached; what happens between laps is not counted.

use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

use crate::process;

/// Bytes of a GiB.
pub(crate) const GIB: f64 = 1_073_741_824.0;

/// What some work took.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Spent {
    /// Bytes, or operations.
    pub(crate) amount: f64,
    /// Seconds.
    pub(crate) wall: f64,
    /// Processor seconds, of all threads.
    pub(crate) cpu: f64,
}

impl Spent {
    /// Bytes or operations a second.
    pub(crate) fn speed(&self) -> f64 {
        self.amount / self.wall.max(1e-9)
    }

    /// Processor seconds for each byte or operation.
    pub(crate) fn cpu_each(&self) -> f64 {
        self.cpu / self.amount.max(1.0)
    }
}

/// Measures one part.
#[derive(Debug)]
pub(crate) struct Meter {
    dose: Duration,
    spent: Spent,
}

/// A lap that has begun.
#[derive(Debug)]
pub(crate) struct Lap {
    began: Instant,
    cpu: f64,
}

impl Meter {
    pub(crate) fn new(dose: Duration) -> Self {
        Self { dose, spent: Spent::default() }
    }

    /// Whether another lap is wanted.
    pub(crate) fn goes_on(&self) -> bool {
        self.spent.wall < self.dose.as_secs_f64()
    }

    pub(crate) fn begin() -> Result<Lap> {
        let cpu = process::own_cpu()?;
        Ok(Lap { began: Instant::now(), cpu })
    }

    pub(crate) fn end(&mut self, lap: &Lap, amount: usize) -> Result<()> {
        self.spent.wall += lap.began.elapsed().as_secs_f64();
        self.spent.cpu += process::own_cpu()? - lap.cpu;
        self.spent.amount += as_figure(amount as u64);
        Ok(())
    }

    pub(crate) fn spent(&self) -> Spent {
        self.spent
    }
}

/// Runs `lap`, which answers what it did, until the dose is reached.
pub(crate) fn measure(dose: Duration, mut lap: impl FnMut() -> usize) -> Result<Spent> {
    measure_ready(dose, || (), |()| lap())
}

/// As [`measure`], with something that is made ready before each lap and isn't counted.
pub(crate) fn measure_ready<T>(
    dose: Duration,
    mut ready: impl FnMut() -> T,
    mut lap: impl FnMut(T) -> usize,
) -> Result<Spent> {
    // The first one meets cold caches and memory that isn't mapped yet.
    lap(ready());
    let mut meter = Meter::new(dose);
    while meter.goes_on() {
        let what = ready();
        let begun = Meter::begin()?;
        let amount = lap(what);
        meter.end(&begun, amount)?;
    }
    Ok(meter.spent())
}

/// A count as a figure for people.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub(crate) fn as_figure(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laps_are_added_until_the_dose_is_reached() {
        let mut laps = 0_u32;
        let dose = Duration::from_millis(5);
        let spent = measure(dose, || {
            laps += 1;
            std::hint::black_box(vec![1_u8; 1 << 16]).len()
        })
        .unwrap();
        // The first one warms up.
        assert_eq!(spent.amount.to_bits(), (f64::from(laps - 1) * 65_536.0).to_bits());
        assert!(spent.wall >= 0.005 && spent.cpu >= 0.0, "{spent:?}");
    }
}
