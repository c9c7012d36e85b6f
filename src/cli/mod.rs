//! The command line: one file each command, with its arguments, its questions and what it prints. What commands do is in
//! `lifecycle`.

mod apply;
mod arguments;
mod completions;
mod context;
mod cost;
mod destroy;
mod doctor;
mod extend;
mod gc;
mod history;
mod import;
mod inventory;
mod ls;
mod output;
mod plan;
mod pool;
mod refresh;
mod run;
mod schema;
mod ssh;
mod ssh_config;
mod state;
mod trace;
mod validate;

use std::{process::ExitCode, sync::Arc};

use clap::{Parser, Subcommand};

use self::context::{Context, stopped_code};
use crate::{
    cloud::retry,
    error::{Error, Result},
    event,
    lifecycle::Stop,
    secret::Redactor,
    ui::Ui,
};

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
    async fn run(&self, context: &Context) -> Result<u8> {
        match self {
            Self::Apply(command) => Box::pin(command.run(context)).await,
            Self::Destroy(command) => command.run(context).await,
            Self::Plan(command) => command.run(context).await,
            Self::Cost(command) => command.run(context).await,
            Self::Validate(command) => command.run(context).await,
            Self::Ls(command) => command.run(context).await,
            Self::State(command) => command.run(context).await,
            Self::Refresh(command) => command.run(context).await,
            Self::Import(command) => command.run(context).await,
            Self::Pool(command) => command.run(context).await,
            Self::Graph(command) => command.run(context).await,
            Self::Trace(command) => command.run(context).await,
            Self::Extend(command) => command.run(context).await,
            Self::Gc(command) => command.run(context).await,
            Self::History(command) => command.run(context).await,
            Self::Output(command) => command.run(context).await,
            Self::Ssh(command) => command.run(context).await,
            Self::SshConfig(command) => command.run(context).await,
            Self::Run(command) => command.run(context).await,
            Self::Inventory(command) => command.run(context).await,
            Self::Schema(command) => command.run(&context.ui),
            Self::Doctor(command) => command.run(context).await,
            Self::Completions(command) => command.run(&context.ui),
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
    // Timers belong to the runtime.
    let stop = runtime.block_on(async { Stop::within(cli.timeout) });
    let context = Context { ui: ui.clone(), redactor, diff: cli.diff, stop, watched: Arc::default() };
    let result = runtime.block_on(async {
        let command = Box::pin(retry::until(context.stop.deadline(), cli.command.run(&context)));
        tokio::select! {
            result = event::reminded("infra", "running", |event| ui.aside(event), command) => result,
            () = context.stop.time_is_long_up() => Err(Error::new("the time of `--timeout` is up")),
        }
    });
    // What still runs in the background, such as a read of standard input, must not hold up the end.
    runtime.shutdown_background();
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            ui.error(&error);
            match error.exit_code() {
                130 => ExitCode::from(stopped_code(&context.stop)),
                code => ExitCode::from(code),
            }
        }
    }
}
