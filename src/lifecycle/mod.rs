//! The life of an environment: what apply, destroy, plan, run, import, refresh, extend, pool and gc do, for command lines and
//! servers alike. Nothing here prints, asks, reads the command line or keeps anything for the whole process; several
//! environments may be worked on at once.
//!
//! A command opens a [`Site`], and if it writes it does so in [`Site::locked`]: there it makes a plan, shows it to those who
//! decide, and carries it out. May import everything but `ui` and `cli`.

pub mod accounts;
mod apply;
mod by_label;
mod destroy;
mod gc;
mod import;
mod lifetime;
mod locked;
mod owner;
mod ownership;
mod playbooks;
pub mod pool;
pub mod preflight;
mod recorder;
mod refresh;
pub mod rename;
mod review;
mod run;
mod saved_plan;
mod site;
mod stop;
pub mod stores;
mod target;

pub use self::{
    apply::{Applied, ApplyOptions, Proposal, apply, propose},
    by_label::{Labelled, Removal, Removed},
    destroy::{DestroyOptions, destroy, propose_destroy},
    gc::Sweeper,
    import::{Imported, import, import_labelled},
    lifetime::{Extended, Lifetime, extend},
    playbooks::{Playbooks, Work},
    refresh::{Refreshed, refresh},
    review::{Goal, PlanOptions, Preview},
    run::run,
    saved_plan::SavedPlan,
    site::{Secrets, Site, edit},
    stop::{Reason, Stop},
    target::Target,
};
