//! Removals: the engine works on one for a while, and whoever asked for it may have been killed meanwhile.

use std::time::Duration;

use crate::{
    cloud::{
        docker::{DockerError, Result as Answer},
        retry::Attempts,
    },
    error::Result,
};

/// How long a removal that is under way is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// The pause between two looks at it.
const PAUSE: Duration = Duration::from_millis(100);

/// Asks for a removal until the object is gone. A container that is being removed already, and the volumes and networks that it
/// still uses, are waited for.
pub(super) async fn until_gone<F: Future<Output = Answer<()>>>(remove: impl Fn() -> F) -> Result<()> {
    let mut attempts = Attempts::within(PATIENCE);
    loop {
        match remove().await {
            Ok(()) => return Ok(()),
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) if !is_under_way(&error) => return Err(error.into()),
            Err(error) => {
                if !attempts.pause(format!("what uses it to be gone ({error})"), Some(PAUSE)).await {
                    return Err(error.into());
                }
            }
        }
    }
}

/// Whether the refusal passes by itself when an earlier removal ends.
fn is_under_way(error: &DockerError) -> bool {
    ["already in progress", "volume is in use", "has active endpoints"].iter().any(|words| error.says(words))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use reqwest::StatusCode;

    use super::{DockerError, until_gone};

    fn refused(status: u16, message: &str) -> DockerError {
        DockerError::Refused { status: StatusCode::from_u16(status).unwrap(), message: message.to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_removal_that_is_under_way_is_waited_for() {
        for (status, message) in [
            (409, "removal of container 6f0 is already in progress"),
            (409, "remove infra-dev-data: volume is in use - [6f0]"),
            (403, "error while removing network: network infra-dev-main id 8a1 has active endpoints"),
        ] {
            let asked = Cell::new(0);
            let remove = || async {
                asked.set(asked.get() + 1);
                if asked.get() < 20 { Err(refused(status, message)) } else { Err(refused(404, "no such thing")) }
            };
            until_gone(remove).await.unwrap();
            assert_eq!(asked.get(), 20, "{message}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_pass_is_an_error() {
        let error = until_gone(|| async { Err(refused(500, "the disk is broken")) }).await.unwrap_err();
        assert!(error.to_string().contains("the disk is broken"));
        let error = until_gone(|| async { Err(refused(409, "volume is in use")) }).await.unwrap_err();
        assert!(error.to_string().contains("volume is in use"), "in the end, the reason is said");
    }
}
