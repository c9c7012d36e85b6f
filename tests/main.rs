//! The one test binary: a second one would be linked again.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_types,
    reason = "a test may panic, print, and run the program"
)]

mod actions;
mod arguments;
mod aws;
mod aws_account;
mod aws_fields;
mod aws_front;
mod aws_groups;
mod aws_repair;
mod aws_states;
mod aws_upgrade;
mod canaries;
mod checkouts;
mod cli;
mod conformance;
mod contract;
mod data_loss;
mod docs;
mod e2e;
mod faults;
mod fields;
mod figures;
mod fuzz;
mod guards;
mod hostile;
mod hostile_data;
mod hostile_files;
mod keys;
mod keywords;
mod layers;
mod lifetimes;
mod lives;
mod modules;
mod mutations;
mod notifications;
mod original;
mod ownership;
mod pipelines;
mod plays;
mod properties;
mod reached;
mod roles;
mod schema;
mod semantics;
mod sizes;
mod ssh;
mod state;
mod stopping;
mod support;
mod surroundings;
mod tasks;
mod trips;
mod validate;
mod web;
mod writer;
mod yandex;
mod yandex_fields;
mod yandex_groups;
mod yandex_members;
mod yandex_names;
mod yandex_repair;
mod yandex_subnets;
