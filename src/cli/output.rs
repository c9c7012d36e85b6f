//! `infra output`: the outputs of an environment.

use clap::{Args, ValueEnum};

use super::{arguments::OverlayArgs, context::Context};
use crate::{
    configure,
    error::{Error, Result, did_you_mean},
    remote::quote,
    template::Engine,
    ui::{self, Mode},
};

/// Print the outputs of an applied environment, or one of them as it is
#[derive(Args, Debug)]
pub(super) struct Output {
    /// The environment
    environment: String,
    /// Print all in a form that scripts read: `env` is for `eval` in a shell, `dotenv` for an `.env` file
    #[arg(long, value_enum, conflicts_with = "output")]
    format: Option<Format>,
    /// One output; `ca` is always there where the environment has an HTTPS front
    output: Option<String>,
    #[command(flatten)]
    overlay: OverlayArgs,
}

/// A form that scripts read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One `export NAME='value'` a line.
    Env,
    /// One JSON object.
    Json,
    /// One `NAME="value"` a line.
    Dotenv,
}

impl Format {
    /// The outputs in this form. Variables have large letters, and no other signs than `_`.
    fn write(self, outputs: &[(String, String)]) -> Result<String> {
        let variable = |name: &str| -> String {
            let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
            name.chars().map(letter).collect()
        };
        Ok(match self {
            Self::Env => {
                let line = |(name, value): &(String, String)| format!("export {}={}\n", variable(name), quote(value));
                outputs.iter().map(line).collect()
            }
            Self::Dotenv => {
                let escaped = |value: &str| {
                    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
                    value.replace('$', "\\$").replace('\n', "\\n")
                };
                let line = |(name, value): &(String, String)| format!("{}=\"{}\"\n", variable(name), escaped(value));
                outputs.iter().map(line).collect()
            }
            Self::Json => {
                let values = outputs.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
                serde_json::to_string_pretty(&serde_json::Value::Object(values))? + "\n"
            }
        })
    }
}

impl Output {
    pub(super) async fn run(&self, context: &Context) -> Result<u8> {
        let ui = &context.ui;
        let site = context.open(&self.overlay.over(&self.environment)?).await?;
        let inventory = configure::inventory(&site.environment, site.applied_here()?, &site.vault);
        let mut outputs = configure::outputs(&site.environment, inventory, &Engine::default())?;
        if let Some(ca) = site.vault.get("ca/certificate")
            && !outputs.iter().any(|(name, _)| name == "ca")
        {
            outputs.push(("ca".to_owned(), ca.expose().to_owned()));
        }
        if let Some(format) = self.format {
            // Scripts want the values as they are.
            ui.reveal(&format.write(&outputs)?);
            return Ok(0);
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

#[cfg(test)]
mod tests {
    use super::Format;

    #[test]
    fn outputs_are_written_for_scripts() {
        let outputs =
            [("main-url".to_owned(), "https://x/?a='b'".to_owned()), ("note".to_owned(), "a \"b\"\n$c".to_owned())];
        assert_eq!(
            Format::Env.write(&outputs).unwrap(),
            "export MAIN_URL='https://x/?a='\\''b'\\'''\nexport NOTE='a \"b\"\n$c'\n"
        );
        assert_eq!(
            Format::Dotenv.write(&outputs).unwrap(),
            "MAIN_URL=\"https://x/?a='b'\"\nNOTE=\"a \\\"b\\\"\\n\\$c\"\n"
        );
        let json: serde_json::Value = serde_json::from_str(&Format::Json.write(&outputs).unwrap()).unwrap();
        assert_eq!(json["main-url"], "https://x/?a='b'");
    }
}
