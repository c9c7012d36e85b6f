//! `infra cost`: what an environment costs, as far as prices are known.

use std::path::PathBuf;

use clap::Args;

use super::{arguments::EnvironmentArgs, context::Context};
use crate::{
    config::Environment,
    cost::{Estimate, PriceList},
    error::Result,
    provider::{self, Provider},
    ui::{self, Mode},
};

/// Estimate what an environment costs in an hour and in a month
///
/// Prices come from the file that is built in, under `prices.yaml` beside `envs/` and the file that is named; what has no price
/// is shown as unknown. A price file has a section for each provider: `currency`, `date`, `source`, and `regions` with prices by
/// name (`instance/t3.small: 0.024`); the region `*` is for all others. Disks are priced by the GB and the month, all else by
/// the hour.
#[derive(Args, Debug)]
pub(super) struct Cost {
    #[command(flatten)]
    environment: EnvironmentArgs,
    /// A file of prices that win over all others
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
}

/// What an environment costs at its provider.
pub(super) fn estimate(
    environment: &Environment, provider: &dyn Provider, prices: Option<&std::path::Path>,
) -> Result<Estimate> {
    let list = PriceList::load(&environment.project, prices)?;
    Ok(list.estimate(provider.name(), provider.bill(&provider.resources(environment))))
}

impl Cost {
    pub(super) async fn run(&self, context: &Context) -> Result<u8> {
        let ui = &context.ui;
        let environment = self.environment.target()?.environment().await?;
        ui.warnings(&environment.warnings);
        let provider = provider::open(&environment)?;
        let estimate = estimate(&environment, provider.as_ref(), self.prices.as_deref())?;
        if ui.mode() == Mode::Json {
            let mut value = serde_json::to_value(&estimate)?;
            value["hourly"] = estimate.hourly().into();
            value["unknown"] = estimate.unknown().into();
            ui.json(&value);
            return Ok(0);
        }
        let Some(summary) = estimate.summary() else {
            ui.result(&format!("`{}` costs nothing: it runs on this machine\n", environment.name));
            return Ok(0);
        };
        let mut rows = vec![["resource", "what", "how much", "an hour", "a month"].map(str::to_owned).to_vec()];
        for line in &estimate.lines {
            let money =
                |amount: Option<f64>| amount.map_or_else(|| "unknown".to_owned(), |amount| format!("{amount:.4}"));
            let month = line.monthly().map_or_else(|| "unknown".to_owned(), |amount| format!("{amount:.2}"));
            let item = &line.item;
            rows.push(vec![
                item.address.to_string(),
                item.name.clone(),
                item.quantity.to_string(),
                money(line.hourly),
                month,
            ]);
        }
        ui.result(&ui::table(&rows));
        ui.result(&format!("\n{summary}\n"));
        if let Some(source) = &estimate.source {
            ui.result(&format!("prices: {source}\n"));
        }
        if let Some(example) = estimate.missing_prices(provider.name()) {
            ui.result(&format!(
                "\nadd what is unknown to `prices.yaml` beside `envs/`, or give a file with `--prices`:\n{example}"
            ));
        }
        Ok(0)
    }
}
