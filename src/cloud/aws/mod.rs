//! The APIs of Amazon Web Services: the calls that we need.
//!
//! EC2 and STS speak the query protocol (forms out, XML back), SSM speaks JSON. Names follow the service models that
//! botocore ships; the rules of retries follow <https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html>.

pub mod autoscaling;
pub mod catalogue;
pub mod credentials;
pub mod ec2;
pub mod elb;
pub mod iam;
mod machines;
pub mod rds;
pub mod route53;
pub mod s3;
mod section;
mod sign;
mod xml;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use reqwest::{Method, Response, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

pub use self::section::{AwsSettings, DESCRIPTOR};
use self::{
    credentials::{Chain, Keys, Sources},
    sign::{Signed, authorization},
};
use super::retry::{Attempts, is_unknown_host, retry_after};
use crate::{
    clock::Clock,
    encoding::encode,
    error::{Context, Error},
    secret::Secret,
};

/// How long a call is tried again when the cloud is overloaded or cannot be reached.
const BUDGET: Duration = Duration::from_mins(5);

/// The region that calls of global services are signed for.
const GLOBAL_REGION: &str = "us-east-1";

/// A service, with the name that its addresses and signatures have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Machines and networks.
    Ec2,
    /// Parameters, among them the ids of public images.
    Ssm,
    /// Temporary keys.
    Sts,
    /// Load balancers.
    ElasticLoadBalancing,
    /// Managed databases.
    Rds,
    /// Groups of machines.
    AutoScaling,
    /// Roles of machines.
    Iam,
    /// Zones of names.
    Route53,
    /// Quotas of other services.
    ServiceQuotas,
    /// Objects in buckets.
    S3,
}

impl Service {
    /// Its name in addresses and signatures.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ec2 => "ec2",
            Self::Ssm => "ssm",
            Self::Sts => "sts",
            Self::ElasticLoadBalancing => "elasticloadbalancing",
            Self::Rds => "rds",
            Self::AutoScaling => "autoscaling",
            Self::Iam => "iam",
            Self::Route53 => "route53",
            Self::ServiceQuotas => "servicequotas",
            Self::S3 => "s3",
        }
    }

    /// The version of its query protocol.
    fn version(self) -> &'static str {
        match self {
            Self::Ec2 => "2016-11-15",
            Self::Sts => "2011-06-15",
            Self::Ssm => "2014-11-06",
            Self::ElasticLoadBalancing => "2015-12-01",
            Self::Rds => "2014-10-31",
            Self::AutoScaling => "2011-01-01",
            Self::Iam => "2010-05-08",
            Self::Route53 => "2013-04-01",
            Self::ServiceQuotas => "2019-06-24",
            Self::S3 => "2006-03-01",
        }
    }

    /// Whether the elements of a list are called `member`. EC2 gives them no name, and RDS a name of each list's own.
    fn has_members(self) -> bool {
        !matches!(self, Self::Ec2 | Self::Rds)
    }

    /// Whether there is one for all regions.
    fn is_global(self) -> bool {
        matches!(self, Self::Iam | Self::Route53)
    }
}

/// Why a call failed.
#[derive(Debug)]
pub enum AwsError {
    /// The cloud refused.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The cloud's code, as `InvalidVpcID.NotFound`.
        code: String,
        /// The cloud's words.
        message: String,
        /// The id that the cloud's support asks for.
        request_id: Option<String>,
    },
    /// No one knows whether the call was carried out: it must be looked up before it is made again.
    Unknown(Error),
    /// The cloud could not be reached, or credentials could not be had.
    Other(Error),
}

impl AwsError {
    /// The cloud's code.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Refused { code, .. } => code,
            _ => "",
        }
    }

    /// Whether the object does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        let code = self.code();
        code.ends_with("NotFound")
            || code.ends_with("NotFoundFault")
            || code.contains(".NotFound")
            || matches!(code, "NoSuchEntity" | "NoSuchHostedZone")
    }

    /// Whether the cloud has refused the call before it did anything.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status < 500) || self.is_throttled()
    }

    /// Whether the caller may not make the call.
    #[must_use]
    pub fn is_not_permitted(&self) -> bool {
        matches!(self.code(), "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException")
    }

    /// Whether something still uses what was to be removed.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        matches!(
            self.code(),
            "DependencyViolation"
                | "ResourceInUse"
                | "VolumeInUse"
                | "InvalidIPAddress.InUse"
                | "AuthFailure.InUse"
                | "DeleteConflict"
                | "InvalidDBSubnetGroupStateFault"
                | "InvalidDBParameterGroupState"
                | "ScalingActivityInProgress"
        ) || self.code() == "IncorrectState"
    }

    /// Whether the rule or the association is there already.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        self.code().ends_with(".Duplicate")
            || self.code().ends_with("AlreadyExists")
            || self.code().ends_with("AlreadyExistsException")
            || self.code().ends_with("AlreadyExistsFault")
            || self.code() == "Resource.AlreadyAssociated"
    }

    fn is_throttled(&self) -> bool {
        matches!(
            self.code(),
            "RequestLimitExceeded"
                | "Throttling"
                | "ThrottlingException"
                | "RequestThrottled"
                | "TooManyRequestsException"
                | "Unavailable"
                | "ServiceUnavailable"
                | "EC2ThrottledException"
        )
    }
}

impl fmt::Display for AwsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { code, message, request_id, .. } => {
                write!(f, "aws: {} ({code}", message.trim())?;
                match request_id {
                    Some(id) => write!(f, ", request {id})"),
                    None => write!(f, ")"),
                }
            }
            Self::Unknown(error) | Self::Other(error) => write!(f, "{error}"),
        }
    }
}

impl From<Error> for AwsError {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<AwsError> for Error {
    fn from(error: AwsError) -> Self {
        let text = error.to_string();
        let hint = match &error {
            AwsError::Unknown(_) | AwsError::Other(_) => match error {
                AwsError::Unknown(error) | AwsError::Other(error) => return error,
                AwsError::Refused { .. } => return Self::new(text),
            },
            AwsError::Refused { code, .. } => match code.as_str() {
                "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" => {
                    "the caller lacks a permission: `aws sts decode-authorization-message` shows which"
                }
                "AuthFailure"
                | "InvalidClientTokenId"
                | "SignatureDoesNotMatch"
                | "ExpiredToken"
                | "RequestExpired" => {
                    "the credentials are not accepted: see `aws.profile`, AWS_PROFILE and this machine's clock"
                }
                code if code.ends_with("LimitExceeded") => {
                    "ask for more in the console (Service Quotas), or remove what uses it up"
                }
                "InsufficientInstanceCapacity" => {
                    "the zone has no such machine left: choose another zone or another size"
                }
                _ => return Self::new(text),
            },
        };
        Self::new(text).hint(hint)
    }
}

/// The result of a call.
pub type Result<T, E = AwsError> = std::result::Result<T, E>;

/// Whose credentials are used.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The number of the account.
    pub account: String,
    /// The caller's full name, which holds the account too.
    pub name: String,
}

/// How a client reaches the cloud.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The region.
    pub region: String,
    /// The address of all services.
    pub endpoint: Option<String>,
    /// Addresses of single services, by [`Service::name`].
    pub endpoints: BTreeMap<String, String>,
}

/// A client. Clones share its connections and its keys.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    settings: Settings,
    chain: Chain,
}

/// What is sent.
struct Exchange<'a> {
    service: Service,
    method: Method,
    path: String,
    /// Encoded and sorted.
    query: String,
    content_type: &'a str,
    target: Option<&'a str>,
    /// Further headers, in small letters.
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl<'a> Exchange<'a> {
    /// A body for the service itself.
    fn post(service: Service, content_type: &'a str, body: String) -> Self {
        let (path, query) = ("/".to_owned(), String::new());
        Self { service, method: Method::POST, path, query, content_type, target: None, headers: Vec::new(), body }
    }
}

impl Client {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn new(settings: Settings, sources: Sources) -> crate::error::Result<Self> {
        let http = super::http()?;
        Ok(Self(Arc::new(Inner { http, settings, chain: Chain::new(sources) })))
    }

    /// The region of its calls.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.0.settings.region
    }

    fn base(&self, service: Service) -> String {
        let settings = &self.0.settings;
        let own = settings.endpoints.get(service.name()).or(settings.endpoint.as_ref());
        own.map_or_else(
            || {
                let region = if service.is_global() { String::new() } else { format!(".{}", settings.region) };
                format!("https://{}{region}.amazonaws.com", service.name())
            },
            |endpoint| endpoint.trim_end_matches('/').to_owned(),
        )
    }

    async fn exchange(&self, exchange: &Exchange<'_>, keys: &Keys) -> reqwest::Result<Response> {
        let base = self.base(exchange.service);
        let host = base.split_once("://").map_or(base.as_str(), |(_, rest)| rest).to_owned();
        let time = Clock::System.now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let mut headers = BTreeMap::from([
            ("host".to_owned(), host),
            ("x-amz-date".to_owned(), time.clone()),
            ("content-type".to_owned(), exchange.content_type.to_owned()),
        ]);
        if let Some(target) = exchange.target {
            headers.insert("x-amz-target".to_owned(), target.to_owned());
        }
        if let Some(session) = &keys.session {
            headers.insert("x-amz-security-token".to_owned(), session.expose().to_owned());
        }
        headers.extend(exchange.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        if exchange.service == Service::S3 {
            headers.insert("x-amz-content-sha256".to_owned(), sign::sha256(exchange.body.as_bytes()));
        }
        let signed = Signed {
            method: exchange.method.as_str(),
            path: &exchange.path,
            query: &exchange.query,
            headers,
            body: exchange.body.as_bytes(),
            region: if exchange.service.is_global() { GLOBAL_REGION } else { &self.0.settings.region },
            service: exchange.service.name(),
            time: &time,
        };
        let mut address = format!("{base}{}", exchange.path);
        if !exchange.query.is_empty() {
            address = format!("{address}?{}", exchange.query);
        }
        let mut request = self.0.http.request(exchange.method.clone(), address);
        request = request.header("Authorization", authorization(&signed, keys));
        for (name, value) in signed.headers.iter().filter(|(name, _)| *name != "host") {
            request = request.header(name, value);
        }
        request.body(exchange.body.clone()).send().await
    }

    /// Sends a call of the query protocol. A call that may be repeated is sent again when its fate is unknown; any other one
    /// is only sent again when the cloud says that it was not carried out.
    async fn query(
        &self, service: Service, action: &str, fields: &Map<String, Value>, repeatable: bool,
    ) -> Result<Value> {
        self.query_with(service, action, fields, repeatable, Self::keys).await
    }

    async fn query_with<F: Future<Output = crate::error::Result<Keys>>>(
        &self, service: Service, action: &str, fields: &Map<String, Value>, repeatable: bool, keys: impl Fn(Self) -> F,
    ) -> Result<Value> {
        let mut pairs =
            vec![("Action".to_owned(), action.to_owned()), ("Version".to_owned(), service.version().to_owned())];
        flatten("", &Value::Object(fields.clone()), service.has_members(), &mut pairs);
        let body = pairs
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect::<Vec<_>>()
            .join("&");
        let form = "application/x-www-form-urlencoded; charset=utf-8";
        let answer = self.retried(&Exchange::post(service, form, body), action, repeatable, keys).await?;
        Ok(xml::parse(&answer)?)
    }

    /// The keys that calls are signed with.
    async fn keys(client: Self) -> crate::error::Result<Keys> {
        client.0.chain.keys(&client).await
    }

    /// Sends something until it is answered, as far as it may be sent again.
    async fn retried<F: Future<Output = crate::error::Result<Keys>>>(
        &self, exchange: &Exchange<'_>, action: &str, repeatable: bool, keys: impl Fn(Self) -> F,
    ) -> Result<String> {
        let mut attempts = Attempts::within(BUDGET);
        loop {
            let keys = keys(self.clone()).await?;
            let (error, asked, certain) = match self.exchange(exchange, &keys).await {
                Ok(response) if response.status().is_success() => match response.text().await {
                    Ok(text) => return Ok(text),
                    Err(error) => (AwsError::Unknown(error.into()), None, false),
                },
                Ok(response) => {
                    let asked = retry_after(response.headers());
                    let server = response.status().is_server_error();
                    let error = refusal(response).await;
                    if !server && !error.is_throttled() {
                        return Err(error);
                    }
                    let certain = error.is_throttled();
                    (error, asked, certain)
                }
                Err(error) => {
                    attempts.failed(&error);
                    let (certain, is_unknown_host) = (error.is_connect(), is_unknown_host(&error));
                    let mut error = Error::from(error).context(format!("aws: {action}"));
                    if is_unknown_host {
                        let region = self.region();
                        error = error.hint(format!("is `{region}` a region? Otherwise names cannot be resolved here"));
                    }
                    (AwsError::Unknown(error), None, certain)
                }
            };
            if !certain && !repeatable {
                return Err(AwsError::Unknown(error.into()));
            }
            if !attempts.pause(format!("aws to carry out {action} ({error})"), asked).await {
                return Err(error);
            }
        }
    }

    /// A call of a service whose answers are wrapped in `<ActionResult>`. Such calls name what they make, so that each may be
    /// repeated: what is there already is told so.
    async fn call(&self, service: Service, action: &str, fields: Value) -> Result<Value> {
        let Value::Object(fields) = fields else { return Err(Error::new("aws: parameters are a mapping").into()) };
        let mut answer = self.query(service, action, &fields, true).await?;
        Ok(answer.get_mut(format!("{action}Result")).map_or(Value::Null, Value::take))
    }

    /// All objects of a list, page by page: the next page is asked for with what the answer calls `next`, under the name
    /// `marker`.
    async fn call_pages<T: DeserializeOwned>(
        &self, service: Service, action: &str, mut fields: Value, key: &str, [marker, next]: [&str; 2],
    ) -> Result<Vec<T>> {
        let mut all = Vec::new();
        loop {
            let mut page = self.call(service, action, fields.clone()).await?;
            if let Some(items) = page.get_mut(key) {
                all.extend(typed::<Vec<T>>(items.take())?);
            }
            match page.get(next).and_then(Value::as_str) {
                Some(token) if !token.is_empty() => fields[marker] = token.into(),
                _ => return Ok(all),
            }
        }
    }

    /// A parameter of SSM, such as the id of a public image.
    ///
    /// # Errors
    /// When there is none of this name.
    pub async fn parameter(&self, name: &str) -> Result<String> {
        let answer = self.json(Service::Ssm, "AmazonSSM.GetParameter", &json!({ "Name": name })).await?;
        let value = answer.pointer("/Parameter/Value").and_then(Value::as_str);
        Ok(value.ok_or_else(|| Error::new("aws: a parameter without a value"))?.to_owned())
    }

    /// The quota of a service, by its code.
    ///
    /// # Errors
    /// When there is none of this code.
    pub async fn service_quota(&self, service: &str, code: &str) -> Result<f64> {
        let fields = json!({ "ServiceCode": service, "QuotaCode": code });
        let answer = self.json(Service::ServiceQuotas, "ServiceQuotasV20190624.GetServiceQuota", &fields).await?;
        let value = answer.pointer("/Quota/Value").and_then(Value::as_f64);
        Ok(value.ok_or_else(|| Error::new("aws: a quota without a value"))?)
    }

    /// A call of a service that speaks JSON; such calls only read.
    async fn json(&self, service: Service, target: &str, fields: &Value) -> Result<Value> {
        let exchange = Exchange {
            target: Some(target),
            ..Exchange::post(service, "application/x-amz-json-1.1", fields.to_string())
        };
        let text = self.retried(&exchange, target, true, Self::keys).await?;
        Ok(serde_json::from_str(&text).map_err(Error::from)?)
    }

    /// Who the credentials belong to.
    ///
    /// # Errors
    /// When they are not accepted.
    pub async fn caller_identity(&self) -> Result<Caller> {
        let answer = self.query(Service::Sts, "GetCallerIdentity", &Map::new(), true).await?;
        let text = |field: &str| {
            let found = answer.pointer(&format!("/GetCallerIdentityResult/{field}")).and_then(Value::as_str);
            found.unwrap_or_default().to_owned()
        };
        Ok(Caller { account: text("Account"), name: text("Arn") })
    }

    /// Temporary keys of a role.
    async fn assume_role(&self, keys: &Keys, role: &str, external_id: Option<&str>) -> crate::error::Result<Keys> {
        let mut fields =
            Map::from_iter([("RoleArn".to_owned(), role.into()), ("RoleSessionName".to_owned(), "infra".into())]);
        fields.extend(external_id.map(|id| ("ExternalId".to_owned(), id.into())));
        let given = |_| async { Ok(keys.clone()) };
        let answer = self.query_with(Service::Sts, "AssumeRole", &fields, true, given).await;
        let answer = answer.map_err(Error::from).context(|| format!("aws: the role `{role}` cannot be assumed"))?;
        let credentials = answer.pointer("/AssumeRoleResult/Credentials").cloned().unwrap_or_default();
        let text = |name: &str| credentials[name].as_str().unwrap_or_default().to_owned();
        Ok(Keys {
            id: text("AccessKeyId"),
            secret: Secret::new(text("SecretAccessKey")),
            session: Some(Secret::new(text("SessionToken"))),
            expires: text("Expiration").parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second),
        })
    }

    /// Keys of a role for the token of a single sign-on.
    async fn role_credentials(
        &self, region: &str, token: &Secret, account: &str, role: &str,
    ) -> crate::error::Result<Keys> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            role_credentials: Issued,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Issued {
            access_key_id: String,
            secret_access_key: Secret,
            session_token: Secret,
            expiration: i64,
        }
        let base = self.0.settings.endpoints.get("sso").cloned();
        let base = base.unwrap_or_else(|| format!("https://portal.sso.{region}.amazonaws.com"));
        let request = self.0.http.get(format!("{base}/federation/credentials"));
        let request = request.query(&[("role_name", role), ("account_id", account)]);
        let response = request.header("x-amz-sso_bearer_token", token.expose()).send().await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            return Err(Error::usage("aws: the login has expired").hint("log in again: `aws sso login`"));
        }
        let answer: Answer = response.error_for_status()?.json().await?;
        let issued = answer.role_credentials;
        Ok(Keys {
            id: issued.access_key_id,
            secret: issued.secret_access_key,
            session: Some(issued.session_token),
            expires: Some(issued.expiration / 1000),
        })
    }
}

/// Fields as the query protocol writes them: `Filter.1.Value.1=x`, or with members `Tags.member.1.Key=x`.
fn flatten(prefix: &str, value: &Value, members: bool, pairs: &mut Vec<(String, String)>) {
    let name = |part: &str| if prefix.is_empty() { part.to_owned() } else { format!("{prefix}.{part}") };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, inner)| flatten(&name(key), inner, members, pairs)),
        Value::Array(items) => {
            let member = if members { "member." } else { "" };
            items
                .iter()
                .enumerate()
                .for_each(|(at, item)| flatten(&name(&format!("{member}{}", at + 1)), item, members, pairs));
        }
        Value::Null => {}
        Value::String(text) => pairs.push((prefix.to_owned(), text.clone())),
        other => pairs.push((prefix.to_owned(), other.to_string())),
    }
}

/// Reads a refusal, in XML or in JSON.
async fn refusal(response: Response) -> AwsError {
    let status = response.status().as_u16();
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut request_id = header("x-amzn-requestid").or_else(|| header("x-amz-request-id"));
    let body = response.text().await.unwrap_or_default();
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let (code, message) = if let Ok(json) = serde_json::from_str::<Value>(&body) {
        let kind = text(json.get("__type"));
        let message = text(json.get("message").or_else(|| json.get("Message")));
        (kind.rsplit('#').next().unwrap_or_default().to_owned(), message)
    } else {
        let xml = xml::parse(&body).unwrap_or_default();
        let error = xml.pointer("/Errors/0").or_else(|| xml.get("Error")).unwrap_or(&xml).clone();
        let id = xml.get("RequestID").or_else(|| xml.get("RequestId")).and_then(Value::as_str).map(str::to_owned);
        request_id = id.or(request_id);
        (text(error.get("Code")), text(error.get("Message")))
    };
    let message = if message.is_empty() { format!("the answer was {status}") } else { message };
    AwsError::Refused { status, code, message, request_id }
}

/// A typed answer.
fn typed<T: DeserializeOwned>(value: Value) -> Result<T> {
    serde_json::from_value(value)
        .map_err(|error| AwsError::Other(Error::from(error).context("aws: an answer of another form")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::flatten;

    #[test]
    fn fields_are_numbered_from_one() {
        let mut pairs = Vec::new();
        let fields = json!({ "Filter": [{ "Name": "tag:a", "Value": ["x", "y"] }], "MaxResults": 5, "DryRun": false });
        flatten("", &fields, false, &mut pairs);
        let text: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut members = Vec::new();
        flatten("", &json!({ "Tags": [{ "Key": "a" }] }), true, &mut members);
        assert_eq!(members, [("Tags.member.1.Key".to_owned(), "a".to_owned())]);
        assert_eq!(
            text,
            ["Filter.1.Name=tag:a", "Filter.1.Value.1=x", "Filter.1.Value.2=y", "MaxResults=5", "DryRun=false"]
        );
    }
}
