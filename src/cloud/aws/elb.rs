//! Network load balancers: the Elastic Load Balancing API, version 2015-12-01.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Client, Result, Service,
    ec2::{Tag, Tags},
    typed,
};

/// How many objects' tags are asked for at a time.
const TAGS_AT_A_TIME: usize = 20;

macro_rules! objects {
    ($($(#[$about:meta])* $name:ident { $($field:ident : $type:ty),* $(,)? })+) => {
        $(
            $(#[$about])*
            #[derive(Clone, Debug, Default, Deserialize)]
            #[serde(rename_all = "PascalCase", default)]
            pub struct $name {
                $(
                    #[doc = concat!("`", stringify!($field), "`.")]
                    pub $field: $type,
                )*
            }
        )+
    };
}

objects! {
    /// A load balancer.
    LoadBalancer {
        load_balancer_arn: String, load_balancer_name: String, d_n_s_name: String, canonical_hosted_zone_id: String, created_time: String, state: State,
        availability_zones: Vec<Zone>, vpc_id: String,
    }
    /// Where a balancer is in a zone.
    Zone { zone_name: String, subnet_id: String }
    /// What a balancer is doing.
    State { code: String, reason: String }
    /// A group of balanced machines, for one port.
    TargetGroup {
        target_group_arn: String, target_group_name: String, port: String, load_balancer_arns: Vec<String>,
        health_check_protocol: String, health_check_interval_seconds: String, health_check_port: String,
        health_check_path: String, health_check_timeout_seconds: String, unhealthy_threshold_count: String,
    }
    /// A port that a balancer listens on.
    Listener { listener_arn: String, port: String, protocol: String, default_actions: Vec<Action> }
    /// What becomes of a connection.
    Action { r#type: String, target_group_arn: String }
    /// The tags of an object.
    TagDescription { resource_arn: String, tags: Vec<Tag> }
    /// How a target is.
    TargetHealthDescription { target: Target, target_health: TargetHealth }
    /// Whether it answers: `initial`, `healthy`, `unhealthy`, `unused`, `draining`, ...
    TargetHealth { state: String, description: String }
    /// A balanced machine.
    Target { id: String }
}

/// How a target group asks whether a machine answers.
fn health_check() -> Value {
    json!({ "HealthCheckProtocol": "TCP", "HealthCheckPort": "traffic-port", "HealthCheckIntervalSeconds": 10 })
}

impl TargetGroup {
    /// Whether it asks its machines as infra lets it.
    #[must_use]
    pub fn is_checked(&self) -> bool {
        self.health_check_protocol == "TCP"
            && self.health_check_port == "traffic-port"
            && self.health_check_interval_seconds == "10"
    }
}

/// Tags as this API writes them.
fn list(tags: &Tags) -> Value {
    tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect()
}

impl Client {
    async fn balancing(&self, action: &str, fields: Value) -> Result<Value> {
        self.call(Service::ElasticLoadBalancing, action, fields).await
    }

    async fn balancing_pages<T: serde::de::DeserializeOwned>(&self, action: &str, key: &str) -> Result<Vec<T>> {
        let fields = json!({ "PageSize": 400 });
        self.call_pages(Service::ElasticLoadBalancing, action, fields, key, ["Marker", "NextMarker"]).await
    }

    /// All load balancers of the account in the region.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn load_balancers(&self) -> Result<Vec<LoadBalancer>> {
        self.balancing_pages("DescribeLoadBalancers", "LoadBalancers").await
    }

    /// All target groups of the account in the region.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn target_groups(&self) -> Result<Vec<TargetGroup>> {
        self.balancing_pages("DescribeTargetGroups", "TargetGroups").await
    }

    /// The tags of balancers and target groups; those that do not exist are left out.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn balancing_tags(&self, arns: &[&str]) -> Result<Vec<TagDescription>> {
        let mut all = Vec::new();
        for arns in arns.chunks(TAGS_AT_A_TIME) {
            match self.described_tags(arns).await {
                // One that is gone fails the call for all of them.
                Err(error) if error.is_not_found() => {
                    for arn in arns {
                        match self.described_tags(&[arn]).await {
                            Err(error) if error.is_not_found() => {}
                            found => all.extend(found?),
                        }
                    }
                }
                found => all.extend(found?),
            }
        }
        Ok(all)
    }

    async fn described_tags(&self, arns: &[&str]) -> Result<Vec<TagDescription>> {
        let mut answer = self.balancing("DescribeTags", json!({ "ResourceArns": arns })).await?;
        typed(answer.get_mut("TagDescriptions").map_or_else(|| json!([]), Value::take))
    }

    /// Tags a balancer or a target group.
    ///
    /// # Errors
    /// When it does not exist.
    pub async fn tag_balancing(&self, arn: &str, tags: &Tags) -> Result<()> {
        self.balancing("AddTags", json!({ "ResourceArns": [arn], "Tags": list(tags) })).await.map(drop)
    }

    /// The target groups of these names; those that do not exist are left out.
    ///
    /// # Errors
    /// When the cloud refuses or does not answer.
    pub async fn target_groups_of(&self, arns: &[&str]) -> Result<Vec<TargetGroup>> {
        let fields = json!({ "TargetGroupArns": arns });
        let markers = ["Marker", "NextMarker"];
        let found =
            self.call_pages(Service::ElasticLoadBalancing, "DescribeTargetGroups", fields, "TargetGroups", markers);
        found.await.or_else(|error| if error.is_not_found() { Ok(Vec::new()) } else { Err(error) })
    }

    /// Creates a group for one TCP port of machines, or finds it by its name.
    ///
    /// # Errors
    /// When a group of that name has other settings.
    pub async fn create_target_group(&self, name: &str, port: u16, vpc: &str, tags: &Tags) -> Result<String> {
        self.create_checked_group(name, port, vpc, health_check(), tags).await
    }

    /// The same with a health check of one's own; its fields are those of `CreateTargetGroup`.
    ///
    /// # Errors
    /// When a group of that name has other settings.
    pub async fn create_checked_group(
        &self, name: &str, port: u16, vpc: &str, check: Value, tags: &Tags,
    ) -> Result<String> {
        let mut fields = check;
        let own = json!({
            "Name": name, "Protocol": "TCP", "Port": port, "VpcId": vpc, "TargetType": "instance", "Tags": list(tags),
        });
        if let (Some(fields), Value::Object(own)) = (fields.as_object_mut(), own) {
            fields.extend(own);
        }
        let answer = self.balancing("CreateTargetGroup", fields).await?;
        Ok(answer.pointer("/TargetGroups/0/TargetGroupArn").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    /// Creates a network load balancer, which the world can reach (`internet-facing`) or only its network (`internal`), or finds
    /// it by its name.
    ///
    /// # Errors
    /// When a balancer of that name has other settings.
    pub async fn create_load_balancer(
        &self, name: &str, scheme: &str, subnets: &[&str], tags: &Tags,
    ) -> Result<String> {
        let fields = json!({
            "Name": name, "Type": "network", "Scheme": scheme, "Subnets": subnets, "Tags": list(tags),
        });
        let answer = self.balancing("CreateLoadBalancer", fields).await?;
        Ok(answer.pointer("/LoadBalancers/0/LoadBalancerArn").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    /// Lets a balancer listen on a TCP port.
    ///
    /// # Errors
    /// When it listens there already, for another group.
    pub async fn create_listener(&self, balancer: &str, port: u16, group: &str) -> Result<()> {
        let fields = json!({
            "LoadBalancerArn": balancer, "Protocol": "TCP", "Port": port,
            "DefaultActions": [{ "Type": "forward", "TargetGroupArn": group }],
        });
        self.balancing("CreateListener", fields).await.map(drop)
    }

    /// The ports that a balancer listens on.
    ///
    /// # Errors
    /// When the balancer does not exist.
    pub async fn listeners(&self, balancer: &str) -> Result<Vec<Listener>> {
        let fields = json!({ "LoadBalancerArn": balancer, "PageSize": 400 });
        let markers = ["Marker", "NextMarker"];
        self.call_pages(Service::ElasticLoadBalancing, "DescribeListeners", fields, "Listeners", markers).await
    }

    /// Lets a listener forward TCP connections to this group.
    ///
    /// # Errors
    /// When it does not exist.
    pub async fn modify_listener(&self, listener: &str, group: &str) -> Result<()> {
        let fields = json!({
            "ListenerArn": listener, "Protocol": "TCP",
            "DefaultActions": [{ "Type": "forward", "TargetGroupArn": group }],
        });
        self.balancing("ModifyListener", fields).await.map(drop)
    }

    /// Removes a listener.
    ///
    /// # Errors
    /// When the cloud refuses.
    pub async fn delete_listener(&self, listener: &str) -> Result<Value> {
        self.balancing("DeleteListener", json!({ "ListenerArn": listener })).await
    }

    /// Lets a group ask its machines as infra lets it.
    ///
    /// # Errors
    /// When it does not exist.
    pub async fn restore_health_check(&self, group: &str) -> Result<()> {
        self.modify_health_check(group, health_check()).await
    }

    /// Gives a group another health check; its fields are those of `ModifyTargetGroup`.
    ///
    /// # Errors
    /// When it does not exist.
    pub async fn modify_health_check(&self, group: &str, check: Value) -> Result<()> {
        let mut fields = check;
        fields["TargetGroupArn"] = group.into();
        self.balancing("ModifyTargetGroup", fields).await.map(drop)
    }

    /// Changes the subnets of a balancer.
    ///
    /// # Errors
    /// When the cloud refuses.
    pub async fn set_subnets(&self, balancer: &str, subnets: &[&str]) -> Result<()> {
        self.balancing("SetSubnets", json!({ "LoadBalancerArn": balancer, "Subnets": subnets })).await.map(drop)
    }

    /// The ids of the machines of a group, without those that are on their way out of it.
    ///
    /// # Errors
    /// When the group does not exist.
    pub async fn targets(&self, group: &str) -> Result<Vec<String>> {
        Ok(self.target_health(group).await?.into_iter().map(|one| one.target.id).collect())
    }

    /// The machines of a group, and whether they answer.
    ///
    /// # Errors
    /// When the group does not exist.
    pub async fn target_health(&self, group: &str) -> Result<Vec<TargetHealthDescription>> {
        let mut answer = self.balancing("DescribeTargetHealth", json!({ "TargetGroupArn": group })).await?;
        let items = answer.get_mut("TargetHealthDescriptions").map_or(Value::Array(Vec::new()), Value::take);
        let mut all = typed::<Vec<TargetHealthDescription>>(items)?;
        all.retain(|one| one.target_health.state != "draining");
        Ok(all)
    }

    /// Adds machines to a group.
    ///
    /// # Errors
    /// When the group or a machine does not exist.
    pub async fn register_targets(&self, group: &str, machines: &[&str]) -> Result<()> {
        self.targets_call("RegisterTargets", group, machines).await
    }

    /// Takes machines out of a group.
    ///
    /// # Errors
    /// When the group does not exist.
    pub async fn deregister_targets(&self, group: &str, machines: &[&str]) -> Result<()> {
        self.targets_call("DeregisterTargets", group, machines).await
    }

    async fn targets_call(&self, action: &str, group: &str, machines: &[&str]) -> Result<()> {
        if machines.is_empty() {
            return Ok(());
        }
        let targets: Value = machines.iter().map(|id| json!({ "Id": id })).collect();
        self.balancing(action, json!({ "TargetGroupArn": group, "Targets": targets })).await.map(drop)
    }

    /// Removes a balancer and its listeners.
    ///
    /// # Errors
    /// When the cloud refuses; one that does not exist is no error.
    pub async fn delete_load_balancer(&self, arn: &str) -> Result<Value> {
        self.balancing("DeleteLoadBalancer", json!({ "LoadBalancerArn": arn })).await
    }

    /// Removes a target group that no balancer uses.
    ///
    /// # Errors
    /// When a balancer uses it.
    pub async fn delete_target_group(&self, arn: &str) -> Result<Value> {
        self.balancing("DeleteTargetGroup", json!({ "TargetGroupArn": arn })).await
    }
}
