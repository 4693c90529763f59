//! The chart of the operator (`charts/defs`) as helm renders it, held to what it promises; and the
//! table of its values, which is made from `values.yaml`.

pub mod values;

#[cfg(test)]
mod admission;
#[cfg(test)]
mod crds;
#[cfg(test)]
mod deployment;
#[cfg(test)]
mod helm;
#[cfg(test)]
mod metadata;
#[cfg(test)]
mod namespaces;
#[cfg(test)]
mod network;
#[cfg(test)]
mod objects;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod rights;
#[cfg(test)]
mod schemas;
#[cfg(test)]
mod security;
#[cfg(test)]
mod telemetry;
