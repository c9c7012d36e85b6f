//! `infra`: one YAML file per environment becomes running machines, a database, a balanced HTTPS front and configured
//! software, and goes away again without a trace.
//!
//! The modules form layers; imports point down, and `tests/layers.rs` holds the table.

pub mod clock;
pub mod config;
pub mod error;
pub mod event;
pub mod graph;
pub mod name;
pub mod resource;
pub mod secret;
pub mod yaml;
pub mod cloud;
pub mod provider;
pub mod identity;
pub mod state;
pub mod apply;
pub mod plan;
pub mod files;
pub mod template;
pub mod remote;
pub mod modules;
pub mod playbook;
pub mod cli;
pub mod configure;
pub mod ui;
