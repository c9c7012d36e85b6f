//! Playbooks in Ansible's format: plays, roles, handlers, variables, facts, loops. Decides order and batches; modules decide
//! what must change, transports carry it. May import `modules`, `remote`, `template`, `config`, `files` and the vocabulary.

mod actions;
mod argument_specs;
mod arguments;
mod ask;
mod batch;
mod calls;
pub mod check;
mod circles;
mod connection;
mod directives;
mod facts;
mod host;
mod inventory;
mod literal;
mod load;
mod lockstep;
mod loop_kinds;
mod loops;
mod model;
mod notified;
mod order;
mod patterns;
mod questions;
mod recap;
mod roster;
mod run;
mod shared;
mod sources;
mod support;
mod task_end;
mod vars;
mod web;
mod world;

pub use self::{
    ask::Asker,
    calls::calls,
    circles::Written,
    connection::{
        BECOME_METHODS, CONNECTIONS, ConnectionKind, Connections, Reach, VARIABLES, check_variable, check_variables,
    },
    directives::{META, MetaWord},
    inventory::Inventory,
    load::{Loader, STRATEGIES, SearchPath, Strategy, keywords},
    loop_kinds::{LOOPS, LoopKind},
    model::{Beside, Entry, Play, Symbols, Task, Use},
    notified::Notified,
    patterns::{match_hosts, reached, unknown_patterns, unmatched},
    recap::{HostTally, Recap},
    run::run,
    shared::Options,
    vars::{MAGIC_VARIABLES, TaskScope},
    world::{HostMemory, World},
};
