//! `infra plan`: what an apply would do.

use std::path::PathBuf;

use clap::Args;

use super::{
    arguments::{EnvironmentArgs, SelectionArgs},
    context::Context,
    cost,
};
use crate::{
    error::Result,
    lifecycle::{Goal, PlanOptions, Playbooks, Preview, SavedPlan, Site},
    plan,
    ui::{self, Mode, Ui},
};

/// Show what an apply would create, change, replace and destroy, and which machines it would configure
#[derive(Args, Debug)]
pub(super) struct Plan {
    #[command(flatten)]
    environment: EnvironmentArgs,
    #[command(flatten)]
    selection: SelectionArgs,
    /// Write the plan to a file that `infra apply FILE` carries out
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Exit with 2 when resources would change
    #[arg(long)]
    detailed_exitcode: bool,
    /// Ask the provider what exists; `--refresh=false` believes the state
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    refresh: bool,
    /// Plan the destruction
    #[arg(long)]
    destroy: bool,
    /// Plan for an apply that may delete or replace what holds data
    #[arg(long)]
    allow_data_loss: bool,
}

impl Plan {
    pub(super) async fn run(&self, context: &Context) -> Result<u8> {
        let (ui, target) = (&context.ui, self.environment.target()?);
        let mut site = context.review(&target).await?;
        let playbooks = if self.destroy { Playbooks::of(&site)? } else { Playbooks::for_apply(&site)? };
        ui.warnings(&playbooks.warnings);
        if let Some(path) = &self.out {
            SavedPlan::check_writable(path)?;
        }
        if let Some(warning) = site.late_ttl().filter(|_| !self.destroy) {
            context.warn(warning);
        }
        let goal = if self.destroy { Goal::Absent } else { Goal::Present(&playbooks) };
        let options = PlanOptions { selection: self.selection.selection(), allow_data_loss: self.allow_data_loss };
        let Preview { plan, refusal } = site.preview(&goal, &options, self.refresh).await?;
        self.print(ui, &site, &plan)?;
        if let Some(error) = refusal {
            let command = if self.destroy { "destroy" } else { "apply" };
            ui.say(&format!("`infra {command}` would be refused: {}", error.message()));
            for hint in error.hints() {
                ui.say(&format!("hint: {hint}"));
            }
        }
        let changes = !plan.is_empty();
        if let Some(path) = &self.out {
            SavedPlan::write(&site, &target, options.selection, plan, path)?;
            ui.say(&format!("\nsaved: `infra apply {}` carries it out", path.display()));
        }
        Ok(if self.detailed_exitcode && changes { 2 } else { 0 })
    }

    fn print(&self, ui: &Ui, site: &Site, plan: &plan::Plan) -> Result<()> {
        let cost = || cost::estimate(&site.environment, site.provider.as_ref(), None);
        if ui.mode() == Mode::Json {
            let mut value = ui::plan_json(plan);
            if !self.destroy {
                value["cost"] = serde_json::to_value(cost()?)?;
            }
            value["event"] = "plan".into();
            ui.event(&value);
            return Ok(());
        }
        ui.result(&ui::plan_text(ui, plan));
        if !self.destroy
            && let Some(summary) = cost()?.summary()
        {
            ui.result(&format!("cost:      {summary}\n"));
        }
        Ok(())
    }
}
