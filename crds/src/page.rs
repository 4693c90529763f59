//! The reference of the custom resources and of their reasons, as pages of the documentation.

mod fields;
mod reasons;

pub use fields::markdown as fields;
pub use reasons::markdown as reasons;
