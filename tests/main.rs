//! The one test binary: a second one would be linked again.

mod cli;
mod e2e;
mod faults;
mod layers;
mod original;
mod properties;
mod schema;
mod sizes;
mod support;
mod trips;
