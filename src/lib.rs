//! `infra`: one YAML file per environment becomes running machines, a database, a balanced HTTPS front and configured
//! software, and goes away again without a trace.
//!
//! The modules form layers; imports point down, and `tests/layers.rs` holds the table.

pub mod apply;
pub mod authorities;
pub mod cli;
pub mod clock;
pub mod cloud;
pub mod config;
pub mod configure;
pub mod cost;
pub mod encoding;
pub mod error;
pub mod event;
pub mod files;
pub mod graph;
pub mod identity;
pub mod lifecycle;
pub mod modules;
pub mod name;
pub mod plan;
pub mod playbook;
pub mod project;
pub mod provider;
pub mod remote;
pub mod resource;
pub mod secret;
pub mod state;
pub mod template;
pub mod trace;
pub mod ui;
pub mod yaml;
