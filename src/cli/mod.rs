//! The command line: one file each command, with its arguments and the wiring of what it does. Decides nothing itself.

mod accounts;
mod apply;
mod completions;
mod configured;
mod cost;
mod destroy;
mod doctor;
mod extend;
mod gc;
mod history;
mod import;
mod inventory;
mod life;
mod ls;
mod output;
mod ownership;
mod plan;
mod pool;
mod preflight;
mod refresh;
mod run;
mod schema;
mod session;
mod ssh;
mod ssh_config;
mod state;
mod trace;
mod validate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{error::Result, secret::Redactor, ui::Ui};

/// One YAML file per environment becomes running machines, a database, an HTTPS front and configured software.
#[derive(Debug, Parser)]
#[command(name = "infra", version, about, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// Print events and results as JSON, one object a line
    #[arg(long, global = true)]
    json: bool,
    /// Print without colours (also the variable `NO_COLOR`)
    #[arg(long, global = true)]
    no_color: bool,
    /// Show how the text of every changed file changes
    #[arg(long, global = true)]
    diff: bool,
    /// Write what was done as JUnit's XML: a suite for each resource and machine
    #[arg(long, global = true, value_name = "FILE")]
    junit: Option<std::path::PathBuf>,
    /// How long the command may take, as `90s` or `1h`: then nothing new is begun, and calls are not tried again
    #[arg(long, global = true, value_name = "TIME", value_parser = crate::config::duration)]
    timeout: Option<std::time::Duration>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Apply(apply::Apply),
    Destroy(destroy::Destroy),
    Plan(plan::Plan),
    Cost(cost::Cost),
    Validate(validate::Validate),
    Ls(ls::Ls),
    State(state::StateCommand),
    Refresh(refresh::Refresh),
    Import(import::Import),
    Extend(extend::Extend),
    Pool(pool::Pool),
    Gc(gc::Gc),
    History(history::History),
    Output(output::Output),
    Ssh(ssh::Ssh),
    SshConfig(ssh_config::SshConfig),
    Run(run::Run),
    Inventory(inventory::Inventory),
    Graph(trace::Graph),
    Trace(trace::TraceCommand),
    Schema(schema::Schema),
    Doctor(doctor::Doctor),
    Completions(completions::Completions),
}

impl Command {
    async fn run(&self, ui: &Ui, redactor: &Redactor, diff: bool) -> Result<u8> {
        match self {
            Self::Apply(command) => Box::pin(command.run(ui, redactor, diff)).await,
            Self::Destroy(command) => command.run(ui, redactor).await,
            Self::Plan(command) => command.run(ui, redactor).await,
            Self::Cost(command) => command.run(ui).await,
            Self::Validate(command) => command.run(ui).await,
            Self::Ls(command) => command.run(ui).await,
            Self::State(command) => command.run(ui, redactor).await,
            Self::Refresh(command) => command.run(ui, redactor).await,
            Self::Import(command) => command.run(ui, redactor).await,
            Self::Pool(command) => command.run(ui, redactor).await,
            Self::Graph(command) => command.run(ui, redactor).await,
            Self::Trace(command) => command.run(ui).await,
            Self::Extend(command) => command.run(ui, redactor).await,
            Self::Gc(command) => command.run(ui).await,
            Self::History(command) => command.run(ui).await,
            Self::Output(command) => command.run(ui, redactor).await,
            Self::Ssh(command) => command.run(redactor).await,
            Self::SshConfig(command) => command.run(ui, redactor).await,
            Self::Run(command) => command.run(ui, redactor, diff).await,
            Self::Inventory(command) => command.run(ui, redactor).await,
            Self::Schema(command) => command.run(ui),
            Self::Doctor(command) => command.run(ui, redactor).await,
            Self::Completions(command) => command.run(ui),
        }
    }
}

/// Reads the command line, runs the command, prints its error and gives the exit code: 0 done, 1 failed, 2 wrong use,
/// 130 interrupted, 143 terminated.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let redactor = Redactor::default();
    let ui = Ui::new(cli.json, cli.no_color, cli.diff, redactor.clone()).with_junit(cli.junit.clone());
    // Exactly one provider of cryptography in the program: a second one would be a panic at the first connection.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            ui.error(&error.into());
            return ExitCode::FAILURE;
        }
    };
    if let Some(time) = cli.timeout {
        runtime.block_on(async { crate::cloud::retry::limit(time) });
    }
    let result = runtime.block_on(cli.command.run(&ui, &redactor, cli.diff));
    // What still runs in the background, such as a read of standard input, must not hold up the end.
    runtime.shutdown_background();
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            ui.error(&error);
            match error.exit_code() {
                130 => ExitCode::from(session::stopped_code()),
                code => ExitCode::from(code),
            }
        }
    }
}
