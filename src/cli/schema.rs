//! `infra schema`: the JSON Schema of environment files.

use clap::Args;

use crate::{config, error::Result, ui::Ui};

/// Print the JSON Schema of environment files, for editors
#[derive(Args, Debug)]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn run(&self, ui: &Ui) -> Result<u8> {
        ui.json(&config::schema());
        Ok(0)
    }
}
