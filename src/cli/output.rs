//! `infra output`: what an environment tells.

use clap::Args;

use super::session::{EnvironmentArgs, OverlayArgs, Session};
use crate::{
    configure,
    error::{Error, Result, did_you_mean},
    secret::Redactor,
    template::Engine,
    ui::{self, Mode, Ui},
};

/// Print the outputs of an applied environment, or one of them as it is
#[derive(Args, Debug)]
pub(super) struct Output {
    /// The environment
    environment: String,
    /// One output; `ca` is always there where the environment has an HTTPS front
    output: Option<String>,
    #[command(flatten)]
    overlay: OverlayArgs,
}

impl Output {
    pub(super) fn run(&self, ui: &Ui, redactor: &Redactor) -> Result<u8> {
        let arguments = EnvironmentArgs { environment: self.environment.clone(), overlay: self.overlay.clone() };
        let session = Session::open(&arguments, redactor)?;
        let inventory = configure::inventory(&session.environment, session.applied()?, &session.vault);
        let mut outputs = configure::outputs(&session.environment, inventory, &Engine::default())?;
        if let Some(ca) = session.vault.get("ca/certificate")
            && !outputs.iter().any(|(name, _)| name == "ca")
        {
            outputs.push(("ca".to_owned(), ca.expose().to_owned()));
        }
        let Some(wanted) = &self.output else {
            if ui.mode() == Mode::Json {
                let values = outputs.into_iter().map(|(name, value)| (name, value.into())).collect();
                ui.json(&serde_json::Value::Object(values));
            } else {
                ui.result(&ui::table(&outputs.into_iter().map(|(name, value)| vec![name, value]).collect::<Vec<_>>()));
            }
            return Ok(0);
        };
        match outputs.iter().find(|(name, _)| name == wanted) {
            Some((_, value)) => {
                // Who asks for one by name wants it as it is.
                ui.reveal(&format!("{}\n", value.trim_end_matches('\n')));
                Ok(0)
            }
            None => {
                let known: Vec<&str> = outputs.iter().map(|(name, _)| name.as_str()).collect();
                let hint = match did_you_mean(wanted, known.iter().copied()) {
                    Some(close) => format!("did you mean `{close}`?"),
                    None => format!("outputs: {}", known.join(", ")),
                };
                Err(Error::usage(format!("there is no output `{wanted}`")).hint(hint))
            }
        }
    }
}
