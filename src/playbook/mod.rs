//! Playbooks in Ansible's format: plays, roles, handlers, variables, facts, loops. Decides order and batches; modules decide
//! what must change, transports carry it. May import `modules`, `remote`, `template`, `config`, `files` and the vocabulary.

mod actions;
mod argument_specs;
mod arguments;
mod ask;
mod batch;
pub mod check;
mod circles;
mod connection;
mod facts;
mod host;
mod inventory;
mod literal;
mod load;
mod lockstep;
mod loops;
mod model;
mod notified;
mod order;
mod patterns;
mod roster;
mod run;
mod sources;
mod vars;
mod web;

pub use self::{
    actions::{NO_EFFECT, arguments},
    ask::Asker,
    circles::Written,
    connection::{Reach, VARIABLES, check_variable, check_variables},
    inventory::Inventory,
    load::{Beside, Loader, SearchPath, Use, Words, keywords},
    model::{Entry, Play, Task},
    notified::Notified,
    patterns::{match_hosts, reached, unknown_patterns, unmatched},
    run::{Connections, HostTally, Options, Recap, run},
    vars::{HostMemory, MAGIC_VARIABLES, TaskScope, World},
};
