//! The shape of the repository as a test: who may depend on whom, where secrets may be
//! named, that pages which are made from the code are up to date, and that the tests which
//! pages name are there, and that dashboards ask for metrics that are there.

#[cfg(test)]
mod dashboards;
mod diagrams;
pub mod pages;
#[cfg(test)]
mod repository;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod text;
#[cfg(test)]
mod walls;
