//! Images: whether one is there, and three ways to get one.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{Body, Method};

use super::{Client, Result};

/// How long a pull, an import or a build may take.
const IMAGE_TIMEOUT: Duration = Duration::from_mins(15);

impl Client {
    /// Whether the engine has an image.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn has_image(&self, image: &str) -> Result<bool> {
        match self.done(self.request(Method::GET, &format!("/images/{image}/json"))).await {
            Ok(()) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Pulls an image from its registry.
    ///
    /// # Errors
    /// When no registry answers or it has no such image.
    pub async fn pull_image(&self, repository: &str, tag: &str, tell: impl FnMut(&str)) -> Result<()> {
        let query = [("fromImage", repository), ("tag", tag)];
        let request = self.request(Method::POST, "/images/create").query(&query).timeout(IMAGE_TIMEOUT);
        self.progress(request, tell).await
    }

    /// Makes an image of one layer from a tar archive of a root file system.
    ///
    /// # Errors
    /// When the engine refuses, or the archive's stream breaks.
    pub async fn import_image(&self, repository: &str, tag: &str, tar: Body) -> Result<()> {
        let query = [("fromSrc", "-"), ("repo", repository), ("tag", tag)];
        let request = self.request(Method::POST, "/images/create").query(&query).timeout(IMAGE_TIMEOUT);
        self.progress(request.header("Content-Type", "application/x-tar").body(tar), |_| ()).await
    }

    /// Builds an image from a tar archive that holds a `Dockerfile`.
    ///
    /// # Errors
    /// When a step of the build fails.
    pub async fn build_image(&self, image: &str, tar: impl Into<Bytes>, tell: impl FnMut(&str)) -> Result<()> {
        let query = [("t", image), ("forcerm", "1"), ("networkmode", "host")];
        let request = self.request(Method::POST, "/build").query(&query).timeout(IMAGE_TIMEOUT);
        self.progress(request.header("Content-Type", "application/x-tar").body(tar.into()), tell).await
    }
}

impl Client {
    /// Gives an image another name.
    ///
    /// # Errors
    /// When the engine has no such image.
    pub async fn tag_image(&self, image: &str, repository: &str, tag: &str) -> Result<()> {
        let query = [("repo", repository), ("tag", tag)];
        self.done(self.request(Method::POST, &format!("/images/{image}/tag")).query(&query)).await
    }

    /// Takes a name from an image; without its last name, the image goes.
    ///
    /// # Errors
    /// When the engine has no such image.
    pub async fn untag_image(&self, image: &str) -> Result<()> {
        self.done(self.request(Method::DELETE, &format!("/images/{image}"))).await
    }
}
