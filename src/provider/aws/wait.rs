//! Waiting: every wait says what it waits for, has an end, and may be dropped at any moment.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;

use super::{Account, POLL, SETTLE};
use crate::{
    cloud::aws::{autoscaling::AutoScalingGroup, ec2::Instance, elb::LoadBalancer, rds::DbInstance},
    error::{Error, Result},
    event,
    name::Name,
    provider::{Driver, Object, Request, shared::Shared},
    resource::KindName,
};

/// Asks for something until it is there.
///
/// # Errors
/// When a question fails, or the time is over.
pub(super) async fn until<T, F: Future<Output = Result<Option<T>>>>(
    what: &str, interval: Duration, limit: Duration, ask: impl Fn() -> F,
) -> Result<T> {
    let end = Instant::now() + limit;
    let _wait = event::wait_for(what);
    loop {
        if let Some(found) = ask().await? {
            return Ok(found);
        }
        if Instant::now() > end {
            return Err(Error::new(format!("aws: {what} takes longer than {limit:?}"))
                .hint("run the same command again: it goes on from what it finds"));
        }
        tokio::time::sleep(interval).await;
    }
}

/// How long a list counts for all that was created before it.
const TOGETHER: Duration = Duration::from_millis(200);

/// What was just created, by environment and kind.
type Created = BTreeMap<(Name, KindName), Shared<Object>>;

/// What is waited for, kind by kind.
#[derive(Clone, Default)]
pub(super) struct Awaited {
    pub(super) machines: Shared<Instance>,
    pub(super) groups: Shared<AutoScalingGroup>,
    pub(super) servers: Shared<DbInstance>,
    pub(super) balancers: Shared<LoadBalancer>,
    /// What was just created, by environment and kind.
    created: Arc<Mutex<Created>>,
}

impl Awaited {
    /// What was just created of a kind.
    pub(super) fn created(&self, environment: &Name, kind: KindName) -> Shared<Object> {
        let mut created = self.created.lock().expect("no task panics while it looks this up");
        created.entry((environment.clone(), kind)).or_default().clone()
    }
}

impl Account {
    /// The object of a request, as it is after everything was done for it. What is created at the same time is listed together.
    pub(super) async fn made(&self, driver: &dyn Driver, request: &Request<'_>) -> Result<Object> {
        let ours = |object: &&Object| object.address == request.resource.address && object.token == request.token;
        let created = self.awaited.created(request.environment, request.resource.address.kind);
        let awaiting = created.awaiting(request.token);
        let look = || async {
            let listed = awaiting.recent(TOGETHER, |_| driver.list(Some(request.environment))).await?;
            Ok(listed.iter().find(ours).cloned())
        };
        super::shown(look).await?.ok_or_else(|| {
            Error::new(format!("aws: `{}` vanished while it was made", request.resource.address))
                .hint("another program may remove what it does not know; run the same command again")
        })
    }

    /// Looks at something until it has come to rest.
    pub(super) async fn settle<T, F: Future<Output = Result<Option<T>>>>(
        &self, what: &str, look: impl Fn() -> F,
    ) -> Result<T> {
        self.settle_within(SETTLE, what, look).await
    }

    /// The same for what may take longer or shorter than most things.
    pub(super) async fn settle_within<T, F: Future<Output = Result<Option<T>>>>(
        &self, limit: Duration, what: &str, look: impl Fn() -> F,
    ) -> Result<T> {
        until(what, POLL, limit, look).await
    }
}
