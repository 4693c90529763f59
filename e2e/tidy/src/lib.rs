//! The shape of the repository as a test: who may depend on whom, where secrets may be
//! named, and that pages which are made from the code are up to date.

pub mod pages;
#[cfg(test)]
mod repository;
#[cfg(test)]
mod text;
#[cfg(test)]
mod walls;
